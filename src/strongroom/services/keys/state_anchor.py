"""Compares the state of a node with its anchors, and takes it as it is where an administrator says so (format/anchor.md 3)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from strongroom.config import versions
from strongroom.coordination import comparison
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.anchoring import Anchoring, AnchorPorts, Found, Stored, points
from strongroom.coordination.comparison import Finding, LogState, Observed, Witness
from strongroom.coordination.entries import EntryKeys, UnprovedEntry
from strongroom.coordination.floors import Point
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.errors import FormatError, IntegrityError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.eventlog.events import log_events, secret_events
from strongroom.eventlog.merkle import Frontier
from strongroom.kms import store as kms_store
from strongroom.kms.links import Known
from strongroom.repository import marks_alone
from strongroom.repository.marks_alone import Marks
from strongroom.services.keys import follows, witness
from strongroom.services.keys.witness import StoreMark

_TOLD = (
    *witness.IDS,
    secret_events.CONFIGURATION_APPLIED,
    secret_events.SECRET_ROTATED,
    log_events.STATE_ACCEPTED,
)

Compare = Callable[[EntryKeys, Stored, Found], tuple[Finding, ...]]


class WholeLog(Protocol):
    """The event log, of which everything is looked at."""

    checkpoints: CheckpointFile

    def append(self, new: Sequence[Event]) -> None:
        """Write events."""
        ...

    def history(self, *ids: str) -> Iterator[Mapping[str, object]]:
        """The records of some events in the archived logs and in this one."""
        ...

    def extent(self) -> tuple[int, int | None]:
        """How many lines the log has, and how many its checkpoint signs; None without a checkpoint."""
        ...

    def signed_since(self, before: Frontier) -> Frontier:
        """The tree over all signed lines, proved to go on from an earlier state."""
        ...

    def take_as_it_is(self) -> None:
        """Append from now on without comparing the log with what was known of it."""
        ...


class StateAnchor:
    """The comparison of a node with its anchors."""

    def __init__(
        self,
        coordinator: ProvedCoordinator,
        anchoring: Anchoring,
        ports: AnchorPorts,
        log: WholeLog,
        open_store: Callable[[], bytes],
        place: tuple[str, Marks],
    ) -> None:
        """Take the ports.

        Args:
            coordinator: The coordination service.
            anchoring: Makes the anchors of the puts.
            ports: The rest of what an anchor speaks of.
            log: The event log of the node.
            open_store: Returns the bytes of the KMS store.
            place: The id of the node, and the marks of its repository.
        """
        self._coordinator = coordinator
        self._anchoring = anchoring
        self._ports = ports
        self._log = log
        self._open_store = open_store
        self._node_id, self._marks = place

    def faults(self) -> tuple[str, ...]:
        """Sentences on how all but the event logs contradicts the anchors, or an anchor itself; empty if nothing does.

        Raises:
            StrongroomError: A key cannot be opened, or a store cannot be read, so nothing was compared.
        """

        def compare(keys: EntryKeys, stored: Stored, found: Found) -> tuple[Finding, ...]:
            observed = self._observed(keys, stored)
            return comparison.compare(found.judged, found.row, observed)

        return self._told(compare, of_log=False)

    def log_faults(self) -> tuple[str, ...]:
        """The same of the event log: how it contradicts the anchors.

        Raises:
            StrongroomError: A key cannot be opened, or a store cannot be read, so nothing was compared.
        """

        def compare(_: EntryKeys, __: Stored, found: Found) -> tuple[Finding, ...]:
            logs = {self._node_id: self._log_state()}
            return comparison.compare_logs(found.entry, found.row, logs)

        return self._told(compare, of_log=True)

    def _told(self, compare: Compare, *, of_log: bool) -> tuple[str, ...]:
        try:
            keys, stored, found = self._found()
            if not stored and found.row is None:
                return ()
            findings = compare(keys, stored, found)
        except (IntegrityError, FormatError) as error:
            # an anchor that does not prove itself is no matter of the log
            return () if of_log else (error.message,)
        wanted = (one for one in findings if one.is_fault and one.is_of_log == of_log)
        return tuple(one.text for one in wanted)

    def accept(self, actor: str, reason: str, told: Sequence[str]) -> None:
        """Take the state as it is, though it contradicts its anchors as `told` says; an administrator's decision.

        Raises:
            StrongroomError: The event or the anchor cannot be written.
        """
        with self._taken(actor, reason, told):
            self._coordinator.put({})

    @contextmanager
    def taken_as_it_is(self, actor: str, reason: str) -> Iterator[None]:
        """Within the block, let each put make the anchor anew; an event says before what contradicted it, if anything did.

        Where the keys of store and event log are lost, as before a recovery, the entries alone are compared.

        Raises:
            StrongroomError: The event cannot be written.
        """
        try:
            told = (*self.faults(), *self.log_faults())
        except StrongroomError:
            told = self._entry_faults()
        with self._taken(actor, reason, told):
            yield

    def _entry_faults(self) -> tuple[str, ...]:
        try:
            _, stored, found = self._found()
        except StrongroomError as error:
            return (error.message,)
        return tuple(one.text for one in self._anchoring.check(stored, found))

    @contextmanager
    def _taken(self, actor: str, reason: str, told: Sequence[str]) -> Iterator[None]:
        self._log.take_as_it_is()
        if told:
            version, kms = self._present()
            accepted = log_events.state_accepted(
                actor,
                reason=reason,
                findings=told,
                version=version,
                epoch=kms.epoch if kms else 0,
                digest=kms.digest.hex() if kms else "",
            )
            self._log.append([accepted])
        with self._anchoring.anew():
            yield

    def _present(self) -> tuple[int, StorePoint | None]:
        """Version of the configuration, and its KMS store; 0 and None if they cannot be read."""
        try:
            keys, _, stored = self._coordinator.state(self._anchoring)
            document, kms = self._described(keys, stored)
        except StrongroomError:
            return 0, None
        return document.number if document else 0, kms

    # ---- what is there ---------------------------------------------------------------------------

    def _found(self) -> tuple[EntryKeys, Stored, Found]:
        def read() -> tuple[EntryKeys, Stored, Found]:
            keys, row, stored = self._coordinator.state(self._anchoring)
            return keys, stored, self._own(self._anchoring.found(stored, row, keys))

        try:
            return read()
        except IntegrityError:
            # a regeneration may have been between the reading of the entries and of their keys
            self._coordinator.authority.renew()
            return read()

    def _own(self, found: Found) -> Found:
        """The anchors without the logs of other nodes, which lie on their disks, and are compared there."""

        def own(anchor: Anchor | None) -> Anchor | None:
            if anchor is None:
                return None
            logs = {name: one for name, one in anchor.logs.items() if name == self._node_id}
            return anchor._replace(logs=logs)

        return found._replace(entry=own(found.entry), row=own(found.row))

    def _observed(self, keys: EntryKeys, stored: Stored) -> Observed:
        document, kms = self._described(keys, stored)
        marks = marks_alone.read(self._marks, (follows.NAME, follows.ACCEPTED))
        seen, accepted = (
            follows.parse(marks[name]) if name in marks else None
            for name in (follows.NAME, follows.ACCEPTED)
        )
        return Observed(
            document=document,
            entries=points(stored),
            kms=kms,
            follows=kms is None or seen is None or self._follows(seen, accepted),
            logs={self._node_id: self._log_state()},
            records=Point(keys.generation, keys.digest),
            registry=None,
            witness=_witness(self._log.history(*_TOLD), kms, seen),
        )

    def _described(self, keys: EntryKeys, stored: Stored) -> tuple[Point | None, StorePoint | None]:
        lies = stored.get(versions.CURRENT)
        if lies is None:
            return None, None
        payload = UnprovedEntry(versions.CURRENT, lies).prove(keys).payload
        return self._ports.describe(payload, keys, None)

    def _follows(self, seen: Known, accepted: Known | None) -> bool:
        raw = self._open_store()
        try:
            follows.check_follows(kms_store.parse(raw), raw, seen, accepted)
        except IntegrityError:
            return False
        return True

    def _log_state(self) -> LogState:
        size, signed = self._log.extent()
        return LogState(size, signed, self._goes_on)

    def _goes_on(self, known: LogPoint) -> bool:
        try:
            self._log.signed_since(Frontier(*known))
        except IntegrityError:
            return False
        return True


def _witness(
    history: Iterable[Mapping[str, object]], kms: StorePoint | None, seen: Known | None
) -> Witness:
    """The state as the event log tells it, from the newest acceptance of a state on.

    The mark of the store that was seen is written after the event, so with the mark an event may lie in an archived log
    that was moved away. What the log says of a later store counts whatever the mark says.
    """
    document, stores = 0, list[Mapping[str, object]]()
    for record in history:
        details = record["details"]
        if record["id"] in witness.IDS:
            stores.append(record)
        elif isinstance(details, Mapping) and isinstance(version := details.get("version"), int):
            is_accepted = record["id"] == log_events.STATE_ACCEPTED
            document = version if is_accepted else max(document, version)
            stores = [record] if is_accepted else stores
    told = witness.read(stores)
    changed = _point(told.counts, kms) if told.counts else None
    is_seen = kms and seen and (seen.epoch, seen.digest) == (kms.epoch, kms.digest.hex())
    if kms and is_seen and (changed is None or changed.number < kms.epoch):
        changed = Point(kms.epoch, kms.digest)
    return Witness(document, changed, told.intended.epoch if told.intended else 0)


def _point(mark: StoreMark, kms: StorePoint | None) -> Point:
    """The store that an event names; one of an earlier release names no digest, and means any of that epoch."""
    try:
        digest = bytes.fromhex(mark.digest)
    except ValueError:
        digest = b""
    return Point(mark.epoch, digest or (kms.digest if kms else b""))
