"""The part of a node that changes keys, and counts the files that use them."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.content import ContentPart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from strongroom.services.keys.history import Outside
    from strongroom.services.keys.key_files import KeyFilesService
    from strongroom.services.keys.mek_use import UseCount
    from strongroom.services.keys.meks import MeksService
    from strongroom.services.keys.modes import ModesService
    from strongroom.services.keys.older_store import OlderStore
    from strongroom.services.keys.regenerate import RegenerateService
    from strongroom.services.keys.roots import RootsService


class KeyManagementPart(ContentPart):
    """Rotation, modes and roots, regeneration, the files of the keys."""

    @cached_property
    def meks(self) -> "MeksService":
        """The MEKs: rotation, usage, retirement."""
        from strongroom.services.keys.meks import MeksService

        return MeksService(
            self.kms_store, self._count_use, self._count_outside, self._nodes_with_files
        )

    def _nodes_with_files(self) -> "tuple[str, ...]":
        """Other nodes on whose disks there are, or may be, extracts that this one cannot look at."""
        if self.shares_files:
            return ()
        known = [one for one in self.peers.all().values() if one.node_id != self.paths.node_id]
        present = self.peers.others()
        if known and not present:
            with self.repository.reading() as tx:
                # extracts of nodes that were left out, whose rows are still there
                away = tx.contents.storage_keys() - set(self.files.list())
            return tuple(one.node_id for one in known) if away else ()
        return tuple(one.node_id for one in present)

    @cached_property
    def modes(self) -> "ModesService":
        """The KMS mode: which root protects the RMK."""
        from strongroom.services.keys.modes import ModesService

        return ModesService(self.kms_store)

    @cached_property
    def roots(self) -> "RootsService":
        """The wraps of the RMK: recovery roots, closed stores."""
        from strongroom.services.keys.roots import RootsService

        return RootsService(self.kms_store, self.present_keys, self._check_alone)

    @cached_property
    def older_store(self) -> "OlderStore":
        """The KMS store of a node of an older format, for its upgrade."""
        from strongroom.services.keys.older_store import OlderStore

        return OlderStore(self.kms_store, self._kms_ports)

    @cached_property
    def regenerate(self) -> "RegenerateService":
        """`regenerate-internal-tokens`."""
        from strongroom.services.keys.regenerate import KeyHolders, RegenerateService

        checkpoints, renewing = self.events.checkpoints, self.coordinator.renewing
        reseal = self._reseal_local
        alone = self._check_alone
        holders = KeyHolders(self.keystore, self.present_keys, checkpoints, renewing, reseal, alone)
        return RegenerateService(
            holders, self.kms_store, self.assets, self.rotation, self._kms_ports
        )

    @cached_property
    def key_files(self) -> "KeyFilesService":
        """The check of every key file, by whether it opens the next one."""
        from strongroom.services.keys.key_files import KeyFilesService

        return KeyFilesService(
            self.configuration,
            self.keystore,
            self.coordinator,
            self.events,
            self.paths.recovery_records,
            self.claimed_installation,
        )

    def _reseal_local(self, key_id: str) -> "Collection[str]":
        return () if self.outside is None else self.outside.reseal(key_id, self.file_modes)

    def _count_outside(self) -> "Mapping[str, Outside]":
        from strongroom.services.keys import history

        return history.outside(self.events.history(*history.IDS))

    def _check_alone(self) -> None:
        self.peers.check_alone("a change of the key files")

    def _count_use(self) -> "UseCount":
        from strongroom.services.keys import usage

        # settles uploads that a full disk left unfinished, which would be counted as use
        self.stored_files.settle()
        return usage.scan(self.repository, self.files, self.vault)
