"""The services of a node that the verbs of its socket may use; each is made at its first use, as in the node."""

from functools import cached_property
from typing import Protocol

from strongroom.runtime.paths import DataPaths
from strongroom.services.backups.own_part import OwnPart
from strongroom.services.directory.sign_in import AuthService
from strongroom.services.files.data_key_desk import DataKeyDesk
from strongroom.services.keys.identity import IdentityService
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.keys.meks import MeksService
from strongroom.services.keys.modes import ModesService
from strongroom.services.keys.peers import Peers
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.roots import RootsService
from strongroom.services.secrets.embedded import AssetService


class ControlServices(Protocol):
    """The services behind the verbs."""

    @cached_property
    def identity(self) -> IdentityService:
        """The identity of the installation."""
        ...

    @cached_property
    def kms_store(self) -> StoreKeeper:
        """The keeper of the KMS store."""
        ...

    @cached_property
    def meks(self) -> MeksService:
        """The MEKs: rotation, usage, retirement."""
        ...

    @cached_property
    def modes(self) -> ModesService:
        """The KMS mode: which root protects the RMK."""
        ...

    @cached_property
    def roots(self) -> RootsService:
        """The wraps of the RMK: recovery roots, closed stores."""
        ...

    @cached_property
    def regenerate(self) -> RegenerateService:
        """`regenerate-internal-tokens`."""
        ...

    @cached_property
    def peers(self) -> Peers:
        """The registry of the nodes."""
        ...

    @cached_property
    def assets(self) -> AssetService:
        """Credentials embedded in content."""
        ...

    @cached_property
    def data_key_desk(self) -> DataKeyDesk:
        """Data keys of standalone files, for programs that encrypt and decrypt by themselves."""
        ...

    @cached_property
    def backup_part(self) -> OwnPart:
        """The part of a backup of the cluster that the node alone has."""
        ...

    @cached_property
    def auth(self) -> AuthService:
        """Sign-in: pauses after wrong passwords."""
        ...


class SocketServices(ControlServices, Protocol):
    """The services behind the verbs, and the place of the node, for the socket itself."""

    paths: DataPaths
