"""The services of a node that the commands of keys and of standalone files may use."""

from functools import cached_property
from typing import Protocol

from strongroom.services.files.one import StandaloneFiles
from strongroom.services.keys.identity import IdentityService
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.keys.key_files import KeyFilesService
from strongroom.services.keys.meks import MeksService
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.service_keys.keys import ServiceKeysService
from strongroom.services.service_keys.mounts import MountsService
from strongroom.services.service_keys.parquet import ParquetKeysService
from strongroom.services.service_keys.policies import PoliciesService
from strongroom.services.service_keys.roles import ServiceRolesService
from strongroom.services.service_keys.secrets import ServiceSecretsService
from strongroom.services.service_keys.tokens import ServiceTokensService


class OpenedKeys(Protocol):
    """Keys that this process holds in memory."""

    def forget(self) -> None:
        """Let go of them: the next use reads the store anew."""
        ...


class KeyUse(Protocol):
    """The service that encrypts and decrypts files that belong to no site."""

    @cached_property
    def standalone_files(self) -> StandaloneFiles:
        """Encrypts and decrypts such files."""
        ...


class KeyCommands(Protocol):
    """The services behind the commands of key management."""

    @cached_property
    def kms_cache(self) -> OpenedKeys:
        """The keys in this process's memory."""
        ...

    @cached_property
    def kms_store(self) -> StoreKeeper:
        """The keeper of the KMS store."""
        ...

    @cached_property
    def identity(self) -> IdentityService:
        """The identity of the installation."""
        ...

    @cached_property
    def meks(self) -> MeksService:
        """The MEKs: rotation, usage, retirement."""
        ...

    @cached_property
    def regenerate(self) -> RegenerateService:
        """`regenerate-internal-tokens`."""
        ...

    @cached_property
    def key_files(self) -> KeyFilesService:
        """Every file of the keys, judged by what it opens."""
        ...

    @cached_property
    def service_keys(self) -> ServiceKeysService:
        """Service keys: made, changed, removed."""
        ...

    @cached_property
    def parquet_keys(self) -> ParquetKeysService:
        """Keys of Parquet datasets."""
        ...

    @cached_property
    def service_secrets(self) -> ServiceSecretsService:
        """Secrets of services."""
        ...

    @cached_property
    def service_mounts(self) -> MountsService:
        """The paths under which keys and secrets of services lie."""
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
