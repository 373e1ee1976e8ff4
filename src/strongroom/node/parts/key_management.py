"""The part of a node that changes keys, and counts the files that use them."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.content import ContentPart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from strongroom.services.keys.history import Outside
    from strongroom.services.keys.key_files import KeyFilesService
    from strongroom.services.keys.mek_use import CountUse
    from strongroom.services.keys.meks import MeksService
    from strongroom.services.keys.modes import ModesService
    from strongroom.services.keys.older_store import OlderStore
    from strongroom.services.keys.received_keys import ReceivedKeys
    from strongroom.services.keys.regenerate import RegenerateService
    from strongroom.services.keys.roots import RootsService
    from strongroom.services.keys.spread_keys import PresentKeys, SpreadKeys
    from strongroom.services.keys.trial_of_change import TrialOfChange


class KeyManagementPart(ContentPart):
    """Rotation, modes and roots, regeneration, the files of the keys."""

    @cached_property
    def meks(self) -> "MeksService":
        """The MEKs: rotation, usage, retirement."""
        from strongroom.services.keys.mek_end import MekEnd
        from strongroom.services.keys.meks import MeksService

        return MeksService(
            self.kms_store,
            self._begin_count,
            self._count_outside,
            self._nodes_with_files,
            MekEnd(self.repository),
        )

    @cached_property
    def trial_of_change(self) -> "TrialOfChange":
        """The part of this node in the changes of keys that others make; for a node of a cluster.

        Raises:
            StateError: The node is a single one.
        """
        from strongroom.errors import StateError
        from strongroom.joining import own_keys
        from strongroom.services.keys.trial_of_change import TrialOfChange

        if self.spread is None:
            raise StateError("this node is a single one: no other node changes its keys")
        node = own_keys.read(self.paths), self.boot_id
        return TrialOfChange(self.kms_store, self._kms_ports, node)

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
        from strongroom.services.keys.key_recipients import KeyRecipients
        from strongroom.services.keys.roots import RootsService

        recipients = KeyRecipients(
            self.present_keys, self.keystore, self.coordinator, self._other_nodes()
        )
        return RootsService(self.kms_store, recipients)

    @cached_property
    def older_store(self) -> "OlderStore":
        """The KMS store of a node of an older format, for its upgrade."""
        from strongroom.services.keys.older_store import OlderStore

        return OlderStore(self.kms_store, self._kms_ports)

    @cached_property
    def regenerate(self) -> "RegenerateService":
        """`regenerate-internal-tokens`."""
        from strongroom.services.keys.key_holders import KeyHolders
        from strongroom.services.keys.regenerate import RegenerateService

        checkpoints, renewing = self.events.checkpoints, self.coordinator.renewing
        reseal, others = self._reseal_local, self._other_nodes()
        holders = KeyHolders(
            self.keystore,
            self.present_keys,
            checkpoints,
            renewing,
            reseal,
            others,
            self.log_key.renew,
        )
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

    def give_keys(self, actor: str) -> None:
        """Give the other nodes of a cluster the present key files; those that are stale take them at their next start.

        Raises:
            NodesError: An active node has not taken them.
        """
        if (others := self._other_nodes()) is not None:
            others.give(actor)

    def _other_nodes(self) -> "SpreadKeys | None":
        if self.outside is None:
            return None
        from strongroom.joining import own_keys
        from strongroom.services.keys.spread_keys import SpreadKeys

        return SpreadKeys(
            self.spread_ports,
            self._keys_to_give,
            self.kms_store.point,
            lambda: own_keys.read(self.paths),
            (self.coordinator.for_all, self.coordinator.having_given),
            self._taking_keys,
        )

    def _taking_keys(self) -> "AbstractContextManager[None]":
        from contextlib import nullcontext

        # a node that is not registered yet is given nothing
        return self.received_keys.alone() if self.paths.node_keys.exists() else nullcontext()

    def _keys_to_give(self) -> "PresentKeys":
        from strongroom.joining.key_bundles import KeyBundle
        from strongroom.services.keys.spread_keys import PresentKeys

        keys, directory = self.present_keys(), self.keystore
        records, present = keys.path.read_bytes(), keys.present
        bundle = KeyBundle(directory.primary.read_bytes(), directory.password(), records)
        newest = directory.load().newest
        return PresentKeys(bundle, present.installation_id, present.generation, newest)

    @cached_property
    def received_keys(self) -> "ReceivedKeys":
        """The part of this node in a regeneration that another one makes; for a node of a cluster."""
        from strongroom.joining import own_keys
        from strongroom.services.keys.received_keys import NodeFiles, ReceivedKeys

        checkpoints = self.events.checkpoints
        files = NodeFiles(self.keystore, self.present_keys, self._reseal_local, checkpoints)
        node = own_keys.read(self.paths), self.boot_id
        return ReceivedKeys(self.kms_store, self.peers, self._kms_ports, files, node)

    def _reseal_local(self, key_id: str) -> "Collection[str]":
        return () if self.outside is None else self.outside.reseal(key_id, self.file_modes)

    def _count_outside(self) -> "Mapping[str, Outside]":
        from strongroom.services.keys import history

        return history.outside(self.events.history(*history.IDS))

    def _begin_count(self) -> "CountUse":
        from strongroom.services.keys import usage

        # settles uploads that a full disk left unfinished, which would be counted as use
        self.stored_files.settle()
        headers = usage.Headers(self.files, self.vault)
        return lambda: usage.scan(self.repository, headers)
