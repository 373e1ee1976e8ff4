"""Compares what is there with the anchor, and with what the event log says (docs/format/anchor.md 3); pure.

The anchor in the coordination service is written in one put with every entry, so they must be equal. Logs, records and
repository are written at other moments: they may be further, never behind.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.floors import Point


class Fault(StrEnum):
    """Faults of a part of the state, in words that follow its name."""

    MISSING = "is missing"
    UNKNOWN = "is there, and the anchor does not know it"
    BEHIND = "is older than it was"
    AHEAD = "is newer than the put that should have written it"
    DIFFERENT = "is another one"
    UNWITNESSED = "has no event in the log"
    UNACCEPTED = "does not follow from the one before it, and nobody accepted it"
    #: No fault: a change was killed between its put and its event, and the next writer completes it.
    UNFINISHED = "was put, and its event is still to be written"


class Finding(NamedTuple):
    """A part of the state that does not fit.

    Attributes:
        what: The name of the part: `the KMS store`, `the entry 'pending'`.
        fault: The fault.
        by: The witness that says so: the anchor, the repository, or the event log.
    """

    what: str
    fault: Fault
    by: str = "the anchor"

    @property
    def is_fault(self) -> bool:
        """Whether the finding ends a start with exit code 20."""
        return self.fault is not Fault.UNFINISHED

    @property
    def text(self) -> str:
        """The sentence of this finding."""
        return f"{self.what} {self.fault} (as {self.by} says)"


class LogState(NamedTuple):
    """The event log of a node, as it is.

    Attributes:
        size: The number of lines.
        signed: The number of lines that the checkpoint signs; None without checkpoint, signing key or `EVENT_LOG_SIGNED`.
        root_at: The root of the tree over so many first lines; None if there are fewer.
    """

    size: int
    signed: int | None
    root_at: Callable[[int], bytes | None]


class Witness(NamedTuple):
    """The rest of the state as the event logs tell it, archived ones included.

    Attributes:
        anchor: The highest number of an anchor that an event names; 0 for none.
        document: The highest version of the document that an event names; 0 for none.
        changed: Epoch and digest of the newest `KMS_STORE_CHANGED`, or of the acceptance after it.
        changing: The epoch of the newest `KMS_STORE_CHANGING`; 0 for none.
    """

    anchor: int = 0
    document: int = 0
    changed: Point | None = None
    changing: int = 0


class Observed(NamedTuple):
    """The state as it is; everything was proved by its own MAC before.

    Attributes:
        document: The configuration document; None if it is missing.
        entries: Every other entry but the anchor, with version and digest.
        kms: The KMS store.
        follows: Whether the KMS store follows, by signatures, from one that is known or was accepted.
        logs: The event logs by their nodes.
        records: The configuration-key records.
        registry: The registry of nodes.
        witness: The state as the event logs tell it.
    """

    document: Point | None
    entries: Mapping[str, Point]
    kms: StorePoint
    follows: bool
    logs: Mapping[str, LogState]
    records: Point
    registry: Point | None
    witness: Witness


def compare(entry: Anchor | None, row: Anchor | None, observed: Observed) -> tuple[Finding, ...]:
    """Everything that does not fit, the anchors themselves first.

    Args:
        entry: The anchor in the coordination service, proved; None if it is missing.
        row: The anchor in the repository, proved; None if there is none.
        observed: The state as it is.
    """
    return tuple(
        dict.fromkeys(
            [
                *_anchors(entry, row, observed.witness),
                *(_by_entry(entry, observed) if entry else ()),
                *(_by_row(row, entry, observed) if row else ()),
                *_by_log(observed),
            ]
        )
    )


def _anchors(entry: Anchor | None, row: Anchor | None, witness: Witness) -> Iterator[Finding]:
    """Compare the anchors with each other, and with the number that the log names (3.2)."""
    if entry is None:
        yield Finding("the anchor", Fault.MISSING, "every entry")
        return
    if row is None:
        if entry.repository:
            yield Finding("the anchor in the repository", Fault.MISSING)
    elif row.number > entry.number:
        yield Finding("the anchor", Fault.BEHIND, "the repository")
    elif row.number == entry.number:
        if row._replace(at=entry.at, logs=entry.logs) != entry:
            yield Finding("the anchor in the repository", Fault.DIFFERENT)
    elif row.number < entry.repository:
        yield Finding("the anchor in the repository", Fault.BEHIND)
    if witness.anchor > entry.number:
        yield Finding("the anchor", Fault.BEHIND, "the event log")


def _by_entry(anchor: Anchor, observed: Observed) -> Iterator[Finding]:
    """Compare with the anchor that was put together with the entries (3.3)."""
    yield from _same("the configuration document", anchor.document, observed.document)
    yield from _entries(anchor.entries, observed.entries)
    yield from _same("the KMS store", _point(anchor.kms), _point(observed.kms))
    if not observed.follows:
        yield Finding("the KMS store", Fault.UNACCEPTED)
    if anchor.registry or observed.registry:
        yield from _same("the registry of nodes", anchor.registry, observed.registry)
    yield from _outside(anchor, observed, "the anchor")


def _by_row(row: Anchor, entry: Anchor | None, observed: Observed) -> Iterator[Finding]:
    """Compare with the repository's anchor: nothing may be behind it (3.4)."""
    by = "the repository"
    if entry is None or row.number > entry.number:
        yield from _not_behind("the configuration document", row.document, observed.document, by)
        yield from _not_behind("the KMS store", _point(row.kms), _point(observed.kms), by)
        if row.registry:
            yield from _not_behind("the registry of nodes", row.registry, observed.registry, by)
    yield from _outside(row, observed, by)


def _outside(anchor: Anchor, observed: Observed, by: str) -> Iterator[Finding]:
    """Compare what is no entry: it may be further than the anchor."""
    records = "the configuration-key records"
    yield from _not_behind(records, anchor.records, observed.records, by)
    for node, point in anchor.logs.items():
        yield from _log(node, point, observed.logs.get(node), by)


def _by_log(observed: Observed) -> Iterator[Finding]:
    """Compare the store and the document with what the event logs say, in both directions (3.5)."""
    witness, epoch, by = observed.witness, observed.kms.epoch, "the event log"
    changed = witness.changed or Point(1, observed.kms.digest)
    if epoch < changed.number:
        yield Finding("the KMS store", Fault.BEHIND, by)
    elif epoch == changed.number:
        if witness.changed and changed.digest != observed.kms.digest:
            yield Finding("the KMS store", Fault.DIFFERENT, by)
    elif witness.changing == epoch:
        yield Finding("the KMS store", Fault.UNFINISHED, by)
    else:
        yield Finding("the KMS store", Fault.UNWITNESSED, by)
    if observed.document and observed.document.number < witness.document:
        yield Finding("the configuration document", Fault.BEHIND, by)


def _entries(known: Mapping[str, Point], found: Mapping[str, Point]) -> Iterator[Finding]:
    for name in sorted(known.keys() | found.keys()):
        what = f"the entry {name!r}"
        if name not in known:
            yield Finding(what, Fault.UNKNOWN)
        else:
            yield from _same(what, known[name], found.get(name))


def _same(what: str, known: Point | None, found: Point | None) -> Iterator[Finding]:
    if known is None:
        yield Finding(what, Fault.UNKNOWN)
    elif found and found.number > known.number:
        yield Finding(what, Fault.AHEAD)
    else:
        yield from _not_behind(what, known, found, "the anchor")


def _not_behind(what: str, known: Point, found: Point | None, by: str) -> Iterator[Finding]:
    if found is None:
        yield Finding(what, Fault.MISSING, by)
    elif found.number < known.number:
        yield Finding(what, Fault.BEHIND, by)
    elif found.number == known.number and found.digest != known.digest:
        yield Finding(what, Fault.DIFFERENT, by)


def _log(node: str, known: LogPoint, found: LogState | None, by: str) -> Iterator[Finding]:
    what, checkpoint = f"the event log of {node}", f"the checkpoint of {node}"
    if found and found.signed is not None and found.signed > found.size:
        yield Finding(what, Fault.BEHIND, "its checkpoint")
    if not known.size:
        return
    if found is None:
        yield Finding(what, Fault.MISSING, by)
        return
    if found.size < known.size:
        yield Finding(what, Fault.BEHIND, by)
    elif found.root_at(known.size) != known.root:
        yield Finding(what, Fault.DIFFERENT, by)
    if found.signed is None:
        yield Finding(checkpoint, Fault.MISSING, by)
    elif found.signed < known.size:
        yield Finding(checkpoint, Fault.BEHIND, by)


def _point(store: StorePoint) -> Point:
    return Point(store.epoch, store.digest)
