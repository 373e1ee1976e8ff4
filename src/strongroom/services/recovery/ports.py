"""The ports through which a recovery works; all of its steps share them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from strongroom.clock import Clock
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Coordinator
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.roots.base import RootProvider
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.keys.key_holders import Renewing
from strongroom.services.keys.roots import RootsService
from strongroom.services.recovery.opener import NodeOpener

Report = Callable[[str], None]


@dataclass(frozen=True)
class RecoverPorts:
    """The ports through which a recovery works.

    Attributes:
        opener: Opens the node by identities.
        directory: The keystore.
        open_keys: Opens the configuration keys of an installation by the keystore as it is now.
        coordinator: Holds the journal.
        keeper: The KMS store; usable as soon as the keystore is.
        roots: The use cases of roots, to adopt closed stores.
        record_files: The files of the configuration keys' records.
        local_root: Makes the local root that wraps by the configuration key of an id.
        clock: Gives the times of records and file names.
        renewing: Lets the put within it write every entry anew under the next configuration key.
        as_it_is: Takes the state as it is, for an actor and a reason; the puts within it make the anchor anew.
        leave_out: Has the other nodes wait for the new keys; leaves out those that cannot take them, and returns these.
        give: Keeps the new key files for the nodes that wait for them; may be repeated.
    """

    opener: NodeOpener
    directory: KeystoreDirectory
    open_keys: Callable[[str], ConfigurationKeys]
    coordinator: Coordinator
    keeper: StoreKeeper
    roots: RootsService
    local_root: Callable[[str], RootProvider]
    record_files: tuple[Path, ...]
    clock: Clock
    renewing: Renewing
    as_it_is: Callable[[str, str], AbstractContextManager[None]]
    leave_out: Callable[[str], tuple[str, ...]] = lambda _: ()
    give: Callable[[str], None] = lambda _: None

    def present_keys(self) -> ConfigurationKeys:
        """The configuration keys of the installation, by the keystore as it is now.

        Raises:
            StrongroomError: The configuration cannot be read.
        """
        return self.open_keys(self.keeper.configuration.document().installation_id)
