"""Detects a KMS store that was rolled back, by the highest epoch seen (docs/format/kms-store.md 4.3, R19).

Every change of the store raises its epoch by one. Somebody who can write to the coordination service, but holds no key,
can put back an older store, which is genuine and opens: a removed root, or a key that was rotated because it leaked,
would work again. The highest epoch and the digest of its store are therefore kept apart from the store, as a mark.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from strongroom.errors import IntegrityError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.kms import store as kms_store
from strongroom.kms.next_store import NextStore
from strongroom.kms.store import KmsStore


class EpochMarks(Protocol):
    """The mark: the highest epoch seen and the digest of its store, kept apart from the store."""

    def read(self) -> tuple[int, str] | None:
        """Epoch and digest of the marked store; None if no store was seen yet."""
        ...

    def write(self, epoch: int, digest: str) -> None:
        """Keep epoch and digest; durable when the call returns."""
        ...


class EpochGuard:
    """Compares the present store with the mark, and moves the mark behind each event of a change."""

    def __init__(
        self, current: Callable[[], tuple[KmsStore, bytes]], marks: EpochMarks, event_log: EventLog
    ) -> None:
        """Build the guard.

        Args:
            current: Returns the present store and its bytes.
            marks: Keeps the highest epoch seen.
            event_log: The log to which the changes are appended.
        """
        self._current = current
        self._marks = marks
        self._event_log = event_log

    def check(self) -> None:
        """Refuse a store that is older than one seen before (R19), and mark a newer one.

        Raises:
            IntegrityError: The store was rolled back or replaced.
        """
        store, raw = self._current()
        seen = (store.epoch, kms_store.digest(raw))
        mark = self._marks.read()
        if mark == seen:
            return
        # the same epoch with other bytes is refused as well: somebody replaced the marked store by another change
        if mark is not None and store.epoch <= mark[0]:
            raise IntegrityError(
                f"the KMS store has epoch {store.epoch}, but epoch {mark[0]} was seen before: "
                "it was rolled back or replaced",
                hint=f"find out why; then 'strongroom recover --accept-epoch {store.epoch}'",
            )
        # the process that committed this store died before it wrote the event and the mark: both are written now
        self._event_log.append(
            [events.kms_store_changed(events.SYSTEM, epoch=seen[0], digest=seen[1])]
        )
        self._marks.write(*seen)

    def accept(self, epoch: int, actor: str) -> None:
        """Mark the present store as the newest, though a higher epoch was seen; an administrator's decision.

        Raises:
            StateError: The present store has another epoch than the administrator named.
        """
        store, raw = self._current()
        if store.epoch != epoch:
            raise StateError(f"the KMS store has epoch {store.epoch}, not {epoch}")
        self._event_log.append([events.kms_epoch_accepted(actor, epoch=epoch)])
        self._marks.write(epoch, kms_store.digest(raw))

    def advance(self, to: NextStore, why: Sequence[Event]) -> None:
        """Log the events of a committed change, then move the mark to its store."""
        epoch, digest = to.store.epoch, kms_store.digest(to.raw)
        changed = events.kms_store_changed(why[0].actor, epoch=epoch, digest=digest)
        self._event_log.append([*why, changed])
        self._marks.write(epoch, digest)
