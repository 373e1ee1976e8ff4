"""Compares what is there with the anchor, and with what the event log says (docs/format/anchor.md 3); pure.

The anchor in the coordination service is written in one put with every entry, so they must be equal. Logs, records and
repository are written at other moments: they may be further, never behind.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.floors import Point

_LOG = "the event log of "
_CHECKPOINT = "the checkpoint of "


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
    def is_of_log(self) -> bool:
        """Whether an event log or its checkpoint does not fit, and not what is served."""
        return self.what.startswith((_LOG, _CHECKPOINT))

    @property
    def text(self) -> str:
        """The sentence of this finding."""
        return f"{self.what} {self.fault} (as {self.by} says)"


class LogState(NamedTuple):
    """The event log of a node, as it is.

    Attributes:
        size: The number of lines.
        signed: The number of lines that the checkpoint signs; None without checkpoint, signing key or `EVENT_LOG_SIGNED`.
        goes_on: Whether lines were only added to an earlier state, or the log follows an archived one that goes on from it.
    """

    size: int
    signed: int | None
    goes_on: Callable[[LogPoint], bool]


class Witness(NamedTuple):
    """The rest of the state as the event logs tell it, archived ones included.

    Attributes:
        document: The highest version of the document that an event names; 0 for none.
        changed: Epoch and digest of the newest `KMS_STORE_CHANGED`, or of the acceptance after it.
        changing: The epoch of the newest `KMS_STORE_CHANGING`; 0 for none.
    """

    document: int = 0
    changed: Point | None = None
    changing: int = 0


class Observed(NamedTuple):
    """The state as it is; everything was proved by its own MAC before.

    Attributes:
        document: The configuration document; None if it is missing.
        entries: Every other entry but the anchor, with version and digest.
        kms: The KMS store; None if no store of format 2 can be read.
        follows: Whether the KMS store follows, by signatures, from one that is known or was accepted.
        logs: The event logs by their nodes.
        records: The configuration-key records.
        registry: The registry of nodes.
        witness: The state as the event logs tell it.
    """

    document: Point | None
    entries: Mapping[str, Point]
    kms: StorePoint | None
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
                *_anchors(entry, row),
                *(_by_entry(entry, observed) if entry else ()),
                *(_by_row(row, entry, observed) if row else ()),
                *_by_log(observed),
            ]
        )
    )


def compare_entries(
    entry: Anchor | None, row: Anchor | None, entries: Mapping[str, Point]
) -> tuple[Finding, ...]:
    """The part of the comparison that is made before each put: the anchors and the entries (3.2, 3.3).

    Args:
        entry: As for `compare`.
        row: As for `compare`.
        entries: Every entry but the anchor, with version and digest.
    """
    return (*_anchors(entry, row), *(_entries(entry.entries, entries) if entry else ()))


def compare_logs(
    entry: Anchor | None, row: Anchor | None, logs: Mapping[str, LogState]
) -> tuple[Finding, ...]:
    """The part of the comparison that is about the event logs.

    Args:
        entry: As for `compare`.
        row: As for `compare`.
        logs: The event logs by their nodes.
    """
    both = ((entry, "the anchor"), (row, "the repository"))
    return tuple(
        finding for anchor, by in both if anchor is not None for finding in _logs(anchor, logs, by)
    )


def _anchors(entry: Anchor | None, row: Anchor | None) -> Iterator[Finding]:
    """Compare the anchors with each other (3.2)."""
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


def _by_entry(anchor: Anchor, observed: Observed) -> Iterator[Finding]:
    """Compare with the anchor that was put together with the entries (3.3)."""
    yield from _same("the configuration document", anchor.document, observed.document)
    yield from _entries(anchor.entries, observed.entries)
    if anchor.kms or observed.kms:
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
        if row.kms:
            store = Point(row.kms.epoch, row.kms.digest)
            yield from _not_behind("the KMS store", store, _point(observed.kms), by)
        if row.registry:
            yield from _not_behind("the registry of nodes", row.registry, observed.registry, by)
    yield from _outside(row, observed, by)


def _outside(anchor: Anchor, observed: Observed, by: str) -> Iterator[Finding]:
    """Compare what is no entry: it may be further than the anchor."""
    records = "the configuration-key records"
    yield from _not_behind(records, anchor.records, observed.records, by)
    yield from _logs(anchor, observed.logs, by)


def _logs(anchor: Anchor, logs: Mapping[str, LogState], by: str) -> Iterator[Finding]:
    for node, point in anchor.logs.items():
        yield from _log(node, point, logs.get(node), by)


def _by_log(observed: Observed) -> Iterator[Finding]:
    """Compare the store and the document with what the event logs say, in both directions (3.5)."""
    witness, by = observed.witness, "the event log"
    if observed.kms:
        yield from _store_by_log(observed.kms, witness, by)
    if observed.document and observed.document.number < witness.document:
        yield Finding("the configuration document", Fault.BEHIND, by)


def _store_by_log(store: StorePoint, witness: Witness, by: str) -> Iterator[Finding]:
    changed = witness.changed or Point(1, store.digest)
    if store.epoch < changed.number:
        yield Finding("the KMS store", Fault.BEHIND, by)
    elif store.epoch == changed.number:
        if changed.digest != store.digest and witness.changed:
            yield Finding("the KMS store", Fault.DIFFERENT, by)
    elif witness.changing == store.epoch:
        yield Finding("the KMS store", Fault.UNFINISHED, by)
    else:
        yield Finding("the KMS store", Fault.UNWITNESSED, by)


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
    what, checkpoint = f"{_LOG}{node}", f"{_CHECKPOINT}{node}"
    if found and found.signed is not None and found.signed > found.size:
        yield Finding(what, Fault.BEHIND, "its checkpoint")
    if not known.size:
        return
    if found is None:
        yield Finding(what, Fault.MISSING, by)
        return
    is_shorter = found.size < known.size
    if not found.goes_on(known):
        if is_shorter:
            yield Finding(what, Fault.BEHIND, by)
        if found.signed is None:
            yield Finding(checkpoint, Fault.MISSING, by)
        elif found.signed < known.size:
            yield Finding(checkpoint, Fault.BEHIND, by)
        elif not is_shorter:
            yield Finding(what, Fault.DIFFERENT, by)


def _point(store: StorePoint | None) -> Point | None:
    return None if store is None else Point(store.epoch, store.digest)
