"""The entries of a node while it is upgraded: without a MAC until `seal_all`, proved from then on (docs/format/format-2.md 11).

No other command gets this: a node that is not upgraded takes no entry without a MAC, whoever has put it there.
"""

from collections.abc import Callable, Mapping

from strongroom.coordination.anchoring import Anchoring, Put
from strongroom.coordination.base import Change, Coordinator, Lease, Versioned
from strongroom.coordination.entries import MAGIC, Author
from strongroom.coordination.proved import EntryAuthority, ProvedCoordinator
from strongroom.ids import new_id
from strongroom.system.compat import override

Payloads = Mapping[str, bytes]
"""The payloads of all entries by name."""
Convert = Callable[[Payloads], Payloads]


class UpgradingCoordinator(ProvedCoordinator):
    """A coordination service of either format; all entries are of one of them, and are read as those of the later one."""

    def __init__(
        self,
        store: Coordinator,
        authority: EntryAuthority,
        convert: Convert,
        find_anchoring: Callable[[], Anchoring | None] = lambda: None,
    ) -> None:
        """Take the store, and what knows the keys.

        Args:
            store: The entries as they lie.
            authority: Knows the keys of entries; asked only if these have MACs.
            convert: Returns the payloads of the later format, given all of the older one.
            find_anchoring: Returns what makes the anchor, from `seal_all` on.
        """
        super().__init__(store, authority, find_anchoring)
        self._convert = convert

    def is_sealed(self) -> bool:
        """Whether the entries have MACs."""
        return any(one.value.startswith(MAGIC) for one in self.store.list("").values())

    def seal_all(self) -> None:
        """Give every entry its later form and its MAC, in one put; entries that have them stay as they are.

        Raises:
            ConflictError: An entry changed meanwhile.
        """
        if self.is_sealed():
            return
        stored = self.store.list("")
        keys = self.authority.present()
        author = Author(keys.installation_id, keys.generation, keys.active)
        versions = {name: one.version for name, one in stored.items()}
        put = Put(keys, author, self._payloads(stored), versions, new_id())
        anchoring = self._find_anchoring()
        if anchoring is None:
            self.store.put(author.changes(put.payloads, put.versions, put.change_id))
            return
        made = anchoring.begin(put)
        self.store.put(made.changes)
        anchoring.keep(made)

    @override
    def get(self, key: str) -> Versioned | None:
        """The payload of an entry, in its later form; None if the entry does not exist."""
        return super().get(key) if self.is_sealed() else self._older("").get(key)

    @override
    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The payloads of entries whose keys begin with a prefix, in their later form."""
        return super().list(prefix) if self.is_sealed() else self._older(prefix)

    @override
    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        """Apply all changes in one transaction; before `seal_all` only the journal of the upgrade is put."""
        if self.is_sealed():
            super().put(changes, lease=lease)
        else:
            self.store.put(changes, lease=lease)

    def _older(self, prefix: str) -> Mapping[str, Versioned]:
        stored = self.store.list("")
        found = self._payloads(stored)
        return {
            name: Versioned(found[name], one.version)
            for name, one in stored.items()
            if name.startswith(prefix)
        }

    def _payloads(self, stored: Mapping[str, Versioned]) -> Payloads:
        return self._convert({name: one.value for name, one in stored.items()})
