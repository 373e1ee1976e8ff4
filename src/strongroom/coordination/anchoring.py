"""Makes and compares the anchor at each put: what lies in the entries, and in the row beside them (docs/format/anchor.md).

The entry is written in the same put as what it speaks of, so no state of the entries is without an anchor that fits. The
row is written right after it, where whoever writes the coordination service cannot write.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from strongroom.coordination import anchor as anchors
from strongroom.coordination import comparison
from strongroom.coordination.anchor import ENTRY, Anchor, LogPoint, StorePoint
from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.comparison import Finding
from strongroom.coordination.entries import HEAD_BYTES, Author, EntryKeys, UnprovedEntry
from strongroom.coordination.floors import Point
from strongroom.errors import FormatError, IntegrityError, StateError

HINT = "find out why; if the state is to count as it is: strongroom anchor accept --reason TEXT"
_DIGEST_BYTES = 32
Stored = Mapping[str, Versioned]
"""All entries as they lie, unproved."""


class Row(NamedTuple):
    """The row of the repository.

    Attributes:
        raw: The stored bytes; None without a row.
        accepted: The KMS store that an administrator accepted without a signature; None if he accepted none.
        is_readable: Whether the repository could be read; if not, nothing is said of the row.
    """

    raw: bytes | None
    accepted: StorePoint | None = None
    is_readable: bool = True


class Described(NamedTuple):
    """A configuration document, as the anchor names it.

    Attributes:
        document: The version of the document, and SHA-256 of its payload.
        kms: The KMS store in it; None if the document holds no store of format 2.
    """

    document: Point
    kms: StorePoint | None


class Before(NamedTuple):
    """The document before, with what the anchor says of its store: an unchanged store is not opened again."""

    payload: bytes
    kms: StorePoint | None


class AnchorPorts(Protocol):
    """Everything of the anchor that lies outside the coordination service."""

    #: The name of the entry that holds the configuration document.
    document: str

    def row(self) -> Row:
        """The row of the repository as it lies now; without a repository there is none."""
        ...

    def keep_row(self, row: bytes, *, instead_of: bytes | None) -> None:
        """Keep a row, if it is newer than the one that lies there, or if that is the one that it is to stand instead of.

        A repository that refuses is no error: the put was made.
        """
        ...

    def describe(self, payload: bytes, keys: EntryKeys, before: Before | None) -> Described:
        """The configuration document and the KMS store of an entry's payload."""
        ...

    def logs(self, before: Mapping[str, LogPoint], *, anew: bool) -> Mapping[str, LogPoint]:
        """How far the event logs have come; a log that does not go on from `before` stays as it is there, unless `anew`."""
        ...

    def now(self) -> str:
        """The present time, as documents have it."""
        ...


class Found(NamedTuple):
    """Both anchors, each proved by its MAC.

    Attributes:
        entry: The anchor in the coordination service; None if it is missing.
        row: The anchor in the repository; None if there is none.
        beside: The row as it lies.
    """

    entry: Anchor | None
    row: Anchor | None
    beside: Row

    @property
    def judged(self) -> Anchor | None:
        """The anchor of the coordination service by which the row is judged: a repository that cannot be read lacks none."""
        if self.entry is None or self.beside.is_readable:
            return self.entry
        return self.entry._replace(repository=0)


class Made(NamedTuple):
    """The anchor of a put that is about to be made.

    Attributes:
        changes: The changes of the put, with that of the anchor.
        base_version: The version of the anchor's entry before; the put is made again if another one came between.
        row: The row to keep when the put was made.
        instead_of: The row that lay there before, which goes whatever number it claims to have; None for no such row.
    """

    changes: dict[str, Change]
    base_version: int
    row: bytes
    instead_of: bytes | None


class Put(NamedTuple):
    """A put that is to be made.

    Attributes:
        keys: The keys of entries.
        author: The writer of the entries.
        payloads: The new payload of each entry; None removes the entry.
        versions: The versions that these entries must have.
        change_id: The id of the put.
    """

    keys: EntryKeys
    author: Author
    payloads: Mapping[str, bytes | None]
    versions: Mapping[str, int]
    change_id: str


class _Anew(threading.local):
    everything = 0
    logs = 0


class Anchoring:
    """The anchor of one installation, for the puts of this process."""

    def __init__(self, ports: AnchorPorts) -> None:
        self._ports = ports
        self._anew = _Anew()

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Let the puts of this thread, within the block, make the anchor anew, whatever the present one says.

        Whoever uses this has told by an event what does not fit, and who took it as it is.
        """
        self._anew.everything += 1
        try:
            yield
        finally:
            self._anew.everything -= 1

    @contextmanager
    def anew_logs(self) -> Iterator[None]:
        """The same for the event logs alone: an administrator has archived the one before."""
        self._anew.logs += 1
        try:
            yield
        finally:
            self._anew.logs -= 1

    def row(self) -> Row:
        """The row of the repository. It is read before the entries: after them it may be that of a later put."""
        return self._ports.row()

    def found(self, stored: Stored, row: Row, keys: EntryKeys) -> Found:
        """Both anchors.

        Raises:
            FormatError: An anchor is damaged.
            IntegrityError: The MAC of an anchor does not fit; that is never "no anchor" (2.3).
        """
        lies = stored.get(ENTRY)
        entry = None
        if lies is not None:
            entry = anchors.parse(UnprovedEntry(ENTRY, lies).prove(keys).payload)
        of_row = None
        if row.raw is not None:
            taken = {one.id: one for one in (keys.active, keys.next) if one is not None}
            of_row = anchors.open_row(row.raw, keys.installation_id, taken)
        return Found(entry, of_row, row)

    def check(self, stored: Stored, found: Found) -> tuple[Finding, ...]:
        """All that contradicts the anchors, of what a put sees: the anchors and the entries. Without any entry nothing does."""
        if not stored and found.row is None:
            return ()
        return comparison.compare_entries(found.judged, found.row, points(stored))

    def make(self, stored: Stored, row: Row, put: Put) -> Made:
        """The changes of a put together with the anchor of the state after it.

        Args:
            stored: All entries as they lie.
            row: The row of the repository, read before them.
            put: The put that is to be made.

        Raises:
            IntegrityError: The entries are not those that the anchors name, or an anchor was changed.
        """
        is_anew = self._anew.everything > 0
        found = self._before(stored, row, put.keys, anew=is_anew)
        changes = put.author.changes(put.payloads, put.versions, put.change_id)
        made = self._next(stored, found, put, changes, anew=is_anew or self._anew.logs > 0)
        base = stored[ENTRY].version if ENTRY in stored else 0
        mine = put.author.changes({ENTRY: made.serialize()}, {ENTRY: base}, put.change_id)
        kept = made.row(put.keys.installation_id, put.author.by)
        # only that one: a row that another put has written meanwhile is newer, and stays
        return Made({**changes, **mine}, base, kept, row.raw if is_anew else None)

    def begin(self, put: Put) -> Made:
        """The first anchor, of a put that gives every entry its MAC: nothing is there that it could be compared with."""
        return self.make({}, Row(None), put)

    def keep(self, made: Made) -> None:
        """Keep the row of a put that was made."""
        self._ports.keep_row(made.row, instead_of=made.instead_of)

    def _before(self, stored: Stored, row: Row, keys: EntryKeys, *, anew: bool) -> Found:
        try:
            found = self.found(stored, row, keys)
        except (FormatError, IntegrityError):
            if not anew:
                raise
            return Found(None, None, row)
        findings = self.check(stored, found)
        if findings and not anew:
            raise refused(findings)
        return found

    def _next(
        self, stored: Stored, found: Found, put: Put, changes: Mapping[str, Change], *, anew: bool
    ) -> Anchor:
        numbers = (one.number for one in (found.entry, found.row) if one is not None)
        entry, row, keys = found.entry, found.row, put.keys
        described = self._described(stored, None if self._anew.everything else entry, put)
        logs = self._ports.logs(entry.logs if entry else {}, anew=anew)
        unread = 0 if entry is None or found.beside.is_readable else entry.repository
        if entry and (put.author.generation < keys.generation or not keys.digest):
            # the records that every node was given (key-changes.md 4.4), or that were there before a recovery
            records = entry.records
        else:
            records = Point(keys.generation, keys.digest or bytes(_DIGEST_BYTES))
        return Anchor(
            number=max(numbers, default=0) + 1,
            at=self._ports.now(),
            document=described.document,
            entries=_after(points(stored), changes),
            kms=described.kms,
            logs=logs,
            records=records,
            repository=row.number if row else unread,
            accepted=found.beside.accepted if described.kms else None,
        )

    def _described(self, stored: Stored, entry: Anchor | None, put: Put) -> Described:
        name = self._ports.document
        lies, new = stored.get(name), put.payloads.get(name)
        if new is None:
            if entry is not None:
                return Described(entry.document, entry.kms)
            if lies is None:
                raise StateError("there is no configuration, of which an anchor could speak")
            new, lies = UnprovedEntry(name, lies).prove(put.keys).payload, None
        before = None
        if entry is not None and lies is not None:
            before = Before(lies.value[HEAD_BYTES:], entry.kms)
        return self._ports.describe(new, put.keys, before)


def points(stored: Stored) -> dict[str, Point]:
    """Version and digest of every entry but the anchor."""
    return {name: _point(one) for name, one in stored.items() if name != ENTRY}


def refused(findings: Sequence[Finding]) -> IntegrityError:
    """The refusal of a state that contradicts its anchors."""
    told = "; ".join(one.text for one in findings)
    return IntegrityError(f"the state was put back or changed: {told}", hint=HINT)


def _after(before: dict[str, Point], changes: Mapping[str, Change]) -> dict[str, Point]:
    after = dict(before)
    for name, change in changes.items():
        if change.value is None:
            after.pop(name, None)
        else:
            after[name] = _point(Versioned(change.value, change.expected_version + 1))
    return after


def _point(stored: Versioned) -> Point:
    return Point(stored.version, hashlib.sha256(stored.value).digest())
