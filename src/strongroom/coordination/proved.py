"""The coordination service behind the MACs of its entries (docs/format/entries.md).

It gives out payloads that were proved, and authenticates what is put. Services know this one only; the store below, whose
bytes nobody has proved, is known to the composition root.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from strongroom.coordination.base import Change, Coordinator, Group, Lease, Versioned
from strongroom.coordination.entries import (
    Author,
    EntryKey,
    EntryKeys,
    ProvedEntry,
    UnprovedEntry,
)
from strongroom.coordination.proving import ProvingLoader, unproved
from strongroom.errors import ConflictError, FormatError, IntegrityError, KeystoreError
from strongroom.ids import new_id

if TYPE_CHECKING:
    from strongroom.coordination.anchoring import Anchoring, Made, Put, Row, Stored

Read = TypeVar("Read")
_ATTEMPTS = 100
"""How often a put is made again because another one wrote the anchor first: as many puts came between."""


class _Renewing(threading.local):
    key_id: str | None = None
    is_for_all: bool = False
    has_given: bool = False


class EntryAuthority(Protocol):
    """Knows the keys of entries, as the configuration-key records are now."""

    def present(self) -> EntryKeys:
        """The keys, read anew if the records changed.

        Raises:
            KeystoreError: Keystore or records cannot be used.
            IntegrityError: The records are older than the keystore.
        """
        ...

    def renew(self) -> None:
        """Look at every copy of keystore and records, and take the newest records from now on."""
        ...


class ProvedCoordinator:
    """A coordination service whose entries are proved; implements `Coordinator`."""

    def __init__(
        self,
        store: Coordinator,
        authority: EntryAuthority,
        find_anchoring: "Callable[[], Anchoring | None]" = lambda: None,
        *,
        is_shared: bool = False,
    ) -> None:
        """Take the store of unproved entries.

        Args:
            store: The store.
            authority: Knows the keys of entries.
            find_anchoring: Returns what makes the anchor of each put; it is asked by the first put, since whoever only
                reads must not pay for it.
            is_shared: Whether nodes read the entries whose records may be of an earlier generation for a while.
        """
        self.store = store
        self.authority = authority
        self._find_anchoring = find_anchoring
        self._is_shared = is_shared
        self._renewing = _Renewing()

    def members(self, group: Group = Group.NODES) -> list[str]:
        """The ids of the nodes alive now, or of those that are in another group."""
        return self.store.members(group)

    def alive(self, group: Group = Group.NODES) -> AbstractContextManager[None]:
        """Be a member, for this process's node, until the end of the block or of this process."""
        return self.store.alive(group)

    def outcome(self, change_id: str) -> bool:
        """Whether a put of unknown outcome was made; a put that was not made cannot be made any more afterwards."""
        return self.store.outcome(change_id)

    def get(self, key: str) -> Versioned | None:
        """The payload of an entry; None if the entry does not exist.

        Raises:
            FormatError: The stored bytes are no entry of format 2.
            IntegrityError: The entry is another one's, of another time, or was changed.
        """
        found = self._again(lambda: self._load(key))
        return None if found is None else Versioned(found.payload, found.version)

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The payloads of entries whose keys begin with a prefix, as of one moment.

        Raises:
            FormatError: A stored value is no entry of format 2.
            IntegrityError: An entry is refused, or two are of different keys.
        """
        found = self._again(lambda: self._loader().list(prefix))
        return {name: Versioned(one.payload, one.version) for name, one in found.items()}

    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        """Apply all changes in one transaction, each authenticated by the key in force, together with the anchor.

        Raises:
            IntegrityError: The state contradicts its anchors (docs/format/anchor.md 3); nothing was changed.
        """
        anchoring = self._find_anchoring()
        if anchoring is None:
            self.store.put(self._authored(changes), lease=lease)
            return
        from strongroom.coordination.anchor import ENTRY

        for attempt in range(_ATTEMPTS):
            made = self._again(lambda: self._anchored(anchoring, changes))
            try:
                self.store.put(made.changes, lease=lease)
            except ConflictError:
                # another put, of other entries, may have written the anchor in between
                if self.store.version(ENTRY) == made.base_version or attempt == _ATTEMPTS - 1:
                    raise
            else:
                anchoring.keep(made)
                return

    def _authored(self, changes: Mapping[str, Change]) -> dict[str, Change]:
        put = self._put_of(changes, self.authority.present(), self.store.list(""))
        return put.author.changes(put.payloads, put.versions, put.change_id)

    def _anchored(self, anchoring: "Anchoring", changes: Mapping[str, Change]) -> "Made":
        keys, row, stored = self.state(anchoring)
        return anchoring.make(stored, row, self._put_of(changes, keys, stored))

    def state(self, anchoring: "Anchoring") -> "tuple[EntryKeys, Row, Stored]":
        """The keys of entries, the row of the repository, and all entries as they lie, as of one moment.

        While others put, the row may be older or newer than the entries; it is read until it does not change meanwhile.
        Of a row that cannot be read nothing is said, so it is not asked for again: a server may take long to refuse.
        """
        keys, row = self.authority.present(), anchoring.row()
        stored = self.store.list("")
        for _ in range(_ATTEMPTS if row.is_readable else 0):
            again = anchoring.row()
            if again == row:
                break
            row, stored = again, self.store.list("")
        return keys, row, stored

    def _put_of(self, changes: Mapping[str, Change], keys: EntryKeys, stored: "Stored") -> "Put":
        from strongroom.coordination.anchor import ENTRY
        from strongroom.coordination.anchoring import Put

        payloads = {name: change.value for name, change in changes.items()}
        versions = {name: change.expected_version for name, change in changes.items()}
        by = self._in_force(keys, stored)
        if (key_id := self._renewing.key_id) is not None:
            by = _next_key(keys, key_id)
            for name, lies in stored.items():
                if name not in changes and name != ENTRY:
                    payloads[name] = UnprovedEntry(name, lies).prove(keys).payload
                    versions[name] = lies.version
        author = Author(keys.installation_id, self._generation(keys, stored), by)
        return Put(keys, author, payloads, versions, new_id())

    def _generation(self, keys: EntryKeys, stored: "Stored") -> int:
        """The generation that a put gives to its entries (docs/format/key-changes.md 4.4)."""
        from strongroom.coordination.anchor import ENTRY

        if self._renewing.is_for_all and stored:
            found = (UnprovedEntry(name, lies).prove(keys) for name, lies in stored.items())
            return min(one.generation for one in found)
        is_own = self._renewing.has_given or self._renewing.key_id is not None
        if is_own or not self._is_shared or ENTRY not in stored:
            return keys.generation
        # records on the disk of this node alone are not given yet, and each put has written the anchor
        try:
            given = UnprovedEntry(ENTRY, stored[ENTRY]).prove(keys).generation
        except (FormatError, IntegrityError):
            # an administrator puts it anew, or the making of the next anchor refuses it
            return keys.generation
        return min(keys.generation, given)

    @contextmanager
    def having_given(self) -> Iterator[None]:
        """Let each put of this thread, within the block, be read by nobody whose records are older than those of this node.

        Every other node has been given them (docs/format/key-changes.md 4.4).
        """
        before, self._renewing.has_given = self._renewing.has_given, True
        try:
            yield
        finally:
            self._renewing.has_given = before

    @contextmanager
    def renewing(self, key_id: str) -> Iterator[None]:
        """Let each put of this thread, within the block, write all entries anew under the next configuration key.

        A regeneration's one put is made within it (docs/format/configuration-keys.md 4.3).
        """
        before, self._renewing.key_id = self._renewing.key_id, key_id
        try:
            yield
        finally:
            self._renewing.key_id = before

    @contextmanager
    def for_all(self) -> Iterator[None]:
        """Let each put of this thread, within the block, be one that nodes read whose records are still those before.

        The entries get the lowest generation of all that is there (docs/format/key-changes.md 4.4).
        """
        before, self._renewing.is_for_all = self._renewing.is_for_all, True
        try:
            yield
        finally:
            self._renewing.is_for_all = before

    def version(self, key: str) -> int:
        """The version of an entry, 0 if it does not exist; nothing is proved."""
        return self.store.version(key)

    def recent_version(self, key: str, age_s: float) -> int:
        """The version of an entry at some moment of the last `age_s` seconds; nothing is proved."""
        return self.store.recent_version(key, age_s)

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[Lease]:
        """Hold a named lock over all processes of the cluster."""
        return self.store.lock(name, wait_s=wait_s)

    def under(self, lease: Lease) -> AbstractContextManager[None]:
        """Have the puts of the calling thread made under a lease, until the end of the block."""
        return self.store.under(lease)

    def is_in_force(self, lease: Lease) -> bool:
        """Whether a lease is in force still."""
        return self.store.is_in_force(lease)

    def holder(self, name: str) -> str:
        """The node one of whose processes holds a lock; empty if no process does."""
        return self.store.holder(name)

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of an entry; with None if it is gone, or is refused, which `get` says."""

        def proved(_: Versioned | None) -> None:
            try:
                present = self.get(key)
            except (FormatError, IntegrityError, KeystoreError):
                present = None
            notice(present)

        return self.store.watch(key, proved)

    @staticmethod
    def _in_force(keys: EntryKeys, stored: "Stored") -> EntryKey:
        """The key of what is there: while a regeneration is under way, its put was made or was not."""
        if keys.next is None or not stored:
            return keys.active
        name = next(iter(stored))
        of_any = UnprovedEntry(name, stored[name]).prove(keys)
        return keys.next if of_any.key_id == keys.next.id else keys.active

    def latest_generation(self) -> int:
        """The latest generation of records in any entry; 0 without entries."""
        found = self._loader().list("").values()
        return max((entry.generation for entry in found), default=0)

    def _again(self, read: Callable[[], Read]) -> Read:
        """Read once more after a refusal, by the newest keys.

        A regeneration may have been between the reading of the entry and of its keys, or the copy of the records that
        is read first is an older one.
        """
        try:
            return read()
        except IntegrityError:
            self.authority.renew()
            return read()

    def _load(self, key: str) -> ProvedEntry | None:
        found = unproved(self.store, key)
        # an entry that is missing needs no keys: a directory without any says so
        return None if found is None else found.prove(self.authority.present())

    def _loader(self) -> ProvingLoader:
        return ProvingLoader(self.store, self.authority.present())


def _next_key(keys: EntryKeys, key_id: str) -> EntryKey:
    if keys.next is None or keys.next.id != key_id:
        raise ConflictError(f"the configuration key {key_id} is not the one that becomes active")
    return keys.next
