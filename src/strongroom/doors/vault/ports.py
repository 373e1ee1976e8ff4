"""The services of a node that the Vault door may use."""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from strongroom.clock import Clock
from strongroom.doors.http.ports import ListenerServices
from strongroom.eventlog.base import Event
from strongroom.services.nodes.readiness import Readiness
from strongroom.services.service_keys.key_backups import KeyBackups
from strongroom.services.service_keys.keys import ServiceKeysService
from strongroom.services.service_keys.mounts import MountsService
from strongroom.services.service_keys.policies import PoliciesService
from strongroom.services.service_keys.present import Present
from strongroom.services.service_keys.roles import ServiceRolesService
from strongroom.services.service_keys.secrets import ServiceSecretsService
from strongroom.services.service_keys.tokens import ServiceTokensService
from strongroom.services.service_keys.use import KeyUse
from strongroom.services.service_keys.wrapping import ServiceWrapping


class AppendedLog(Protocol):
    """An event log that is only appended to."""

    def append(self, new: Sequence[Event], /) -> None:
        """Write all events; durable when it returns."""
        ...


class VaultServices(ListenerServices, Protocol):
    """A node as the Vault door sees it."""

    clock: Clock

    @cached_property
    def events(self) -> AppendedLog:
        """The event log."""
        ...

    @cached_property
    def readiness(self) -> Readiness:
        """Whether the node is able to do its work now."""
        ...

    @cached_property
    def service_rows(self) -> Present:
        """Rows of services in memory, while they are the present ones."""
        ...

    @cached_property
    def service_keys(self) -> ServiceKeysService:
        """Service keys: made, changed, removed."""
        ...

    @cached_property
    def service_key_use(self) -> KeyUse:
        """Values under service keys."""
        ...

    @cached_property
    def service_key_backups(self) -> KeyBackups:
        """Service keys that leave with all their versions."""
        ...

    @cached_property
    def service_secrets(self) -> ServiceSecretsService:
        """Secrets of services."""
        ...

    @cached_property
    def service_mounts(self) -> MountsService:
        """The paths under which keys and secrets lie."""
        ...

    @cached_property
    def service_policies(self) -> PoliciesService:
        """Policies of services."""
        ...

    @cached_property
    def service_tokens(self) -> ServiceTokensService:
        """Tokens of services."""
        ...

    @cached_property
    def service_roles(self) -> ServiceRolesService:
        """Roles by which services sign in."""
        ...

    @cached_property
    def service_wrapping(self) -> ServiceWrapping:
        """Answers that wait for whoever has a token of one use."""
        ...
