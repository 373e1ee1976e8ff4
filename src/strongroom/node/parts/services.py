"""The part of a node for service keys, secrets of services, and the programs that use them."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.keys import KeysPart

if TYPE_CHECKING:
    from strongroom.services.service_keys.keys import ServiceKeysService
    from strongroom.services.service_keys.material import Material
    from strongroom.services.service_keys.mounts import MountsService
    from strongroom.services.service_keys.policies import PoliciesService
    from strongroom.services.service_keys.roles import ServiceRolesService
    from strongroom.services.service_keys.secrets import ServiceSecretsService
    from strongroom.services.service_keys.tokens import ServiceTokensService
    from strongroom.services.service_keys.use import KeyUse
    from strongroom.services.service_keys.wrapping import ServiceWrapping


class ServicesPart(KeysPart):
    """All that other people's programs use through a door."""

    @cached_property
    def _service_material(self) -> "Material":
        from strongroom.services.service_keys.material import Material

        return Material(self.data_keys)

    @cached_property
    def service_keys(self) -> "ServiceKeysService":
        """Service keys: made, changed, removed."""
        from strongroom.services.service_keys.keys import ServiceKeysService

        return ServiceKeysService(self.repository, self._service_material, self.clock)

    @cached_property
    def service_key_use(self) -> "KeyUse":
        """Values under service keys."""
        from strongroom.services.service_keys.use import KeyUse

        return KeyUse(self.repository, self._service_material, self.clock)

    @cached_property
    def service_secrets(self) -> "ServiceSecretsService":
        """Secrets of services."""
        from strongroom.services.service_keys.secrets import ServiceSecretsService

        return ServiceSecretsService(self.repository, self._service_material, self.clock)

    @cached_property
    def service_mounts(self) -> "MountsService":
        """The paths under which keys and secrets lie."""
        from strongroom.services.service_keys.mounts import MountsService

        return MountsService(self.repository, self.clock)

    @cached_property
    def service_policies(self) -> "PoliciesService":
        """Policies of services."""
        from strongroom.services.service_keys.policies import PoliciesService

        return PoliciesService(self.repository, self.clock)

    @cached_property
    def service_tokens(self) -> "ServiceTokensService":
        """Tokens of services."""
        from strongroom.services.service_keys.tokens import ServiceTokensService

        return ServiceTokensService(self.repository, self.clock)

    @cached_property
    def service_roles(self) -> "ServiceRolesService":
        """Roles by which services sign in."""
        from strongroom.services.service_keys.roles import ServiceRolesService

        return ServiceRolesService(self.repository, self.service_tokens, self.clock)

    @cached_property
    def service_wrapping(self) -> "ServiceWrapping":
        """Answers that wait for whoever has a token of one use."""
        from strongroom.services.service_keys.wrapping import ServiceWrapping

        return ServiceWrapping(self.repository, self._service_material, self.clock)
