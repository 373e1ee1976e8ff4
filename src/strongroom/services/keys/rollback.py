"""Detects a KMS store that was rolled back, or does not follow from the one before it (docs/format/kms-store.md 6, R19).

Every change of the store raises its epoch by one, and the store before signs the next. Somebody who can write to the
coordination service, but holds no key, can put back an older store, which is genuine and opens: a removed root, or a key
that was rotated because it leaked, would work again. Somebody who holds the configuration key can make a store of his own.
What was seen last is therefore kept apart from the store, as a mark, and the present store must follow from it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from strongroom.errors import StateError
from strongroom.eventlog.base import SYSTEM, Event, EventLog
from strongroom.eventlog.events import key_events
from strongroom.kms.links import Known
from strongroom.kms.next_store import NextStore
from strongroom.kms.store import KmsStore
from strongroom.services.keys import witness
from strongroom.services.keys.follows import check_follows
from strongroom.services.keys.witness import StoreMark, Told


class EpochMarks(Protocol):
    """The mark: the store that was seen last, kept apart from the store."""

    def read(self) -> Known | None:
        """The marked store; None if no store was seen yet."""
        ...

    def accepted(self) -> Known | None:
        """The store that an administrator accepted last, which need not be there; None if he accepted none."""
        ...

    def accept(self, named: Known) -> None:
        """Keep a store as accepted; durable when the call returns."""
        ...

    def write(self, seen: Known) -> None:
        """Keep a store as the one that was seen last; durable when the call returns."""
        ...


class EpochGuard:
    """Compares the present store with the mark, and moves the mark behind each event of a change."""

    def __init__(
        self, current: Callable[[], tuple[KmsStore, bytes]], marks: EpochMarks, event_log: EventLog
    ) -> None:
        """Build the guard.

        Args:
            current: Returns the present store and its bytes.
            marks: Keeps the store that was seen last.
            event_log: The log to which the changes are appended.
        """
        self._current = current
        self._marks = marks
        self._event_log = event_log

    def check(self) -> None:
        """Refuse a store that does not follow from the one seen last (R19), and mark a newer one.

        Raises:
            IntegrityError: The store was rolled back, replaced or made by somebody without the keys of the one before it.
        """
        store, raw = self._current()
        mark, seen = self._marks.read(), store.known(raw)
        if mark is not None and not check_follows(store, raw, mark, self._marks.accepted()):
            return
        # The process that committed this store died before it wrote the mark, if the log has its event, or even that; both
        # are written now. The log is asked, for whoever put the store there may have removed the mark.
        present = StoreMark(seen.epoch, seen.digest)
        told = witness.read(self._event_log.history(*witness.IDS)).check(present)
        if told is not Told.DONE:
            self._event_log.append(
                [key_events.kms_store_changed(SYSTEM, epoch=seen.epoch, digest=seen.digest)]
            )
        self._marks.write(seen)

    def accept(self, epoch: int, digest: str, actor: str) -> None:
        """Mark the present store as the one that counts, whatever was seen before; an administrator's decision (6.5).

        Raises:
            StateError: The present store is another one than the administrator named.
        """
        store, raw = self._current()
        seen = store.known(raw)
        if (seen.epoch, seen.digest) != (epoch, digest):
            raise StateError(
                f"the KMS store has epoch {seen.epoch} and digest {seen.digest}: nothing was accepted"
            )
        self._event_log.append(
            [key_events.kms_epoch_accepted(actor, epoch=seen.epoch, digest=seen.digest)]
        )
        self._marks.write(seen)

    def foretell(self, to: NextStore) -> None:
        """Accept a store that breaks with the one before it, before it is put: the command that makes it is the decision.

        If the process dies between the put and `advance`, the next one finds it accepted.
        """
        self._marks.accept(to.store.known(to.raw))

    def announce(self, to: NextStore, why: Sequence[Event]) -> None:
        """Log that a store is about to be put: a store that no event announced is taken by nobody.

        Args:
            to: The next store, proved.
            why: The events of the change, which are logged when it is done.
        """
        seen = to.store.known(to.raw)
        self._event_log.append(
            [key_events.kms_store_changing(why[0].actor, epoch=seen.epoch, digest=seen.digest)]
        )

    def advance(self, to: NextStore, why: Sequence[Event]) -> None:
        """Log the events of a committed change, then move the mark to its store."""
        seen = to.store.known(to.raw)
        changed = key_events.kms_store_changed(why[0].actor, epoch=seen.epoch, digest=seen.digest)
        self._event_log.append([*why, changed])
        self._marks.write(seen)
