"""Reads from the event log which KMS store counts (docs/format/kms-store.md 4.4): a witness beside the repository's mark.

Each change of the store writes its intent before the put and what was done after it. So a store that nobody announced
was put there by somebody else, and one that was announced and not told as done is that of a process that was killed.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from strongroom.errors import IntegrityError
from strongroom.eventlog.events import key_events

#: The ids of the events that are read.
IDS = (key_events.KMS_STORE_CHANGING, key_events.KMS_STORE_CHANGED, key_events.KMS_EPOCH_ACCEPTED)


class StoreMark(NamedTuple):
    """A KMS store, as a mark and an event name it.

    Attributes:
        epoch: The epoch of the store.
        digest: SHA-256 of its bytes, in hexadecimal digits; empty where an event of an earlier release names none.
    """

    epoch: int
    digest: str

    def is_of(self, other: "StoreMark") -> bool:
        """Whether both name one store; a mark without a digest goes by the epoch."""
        return self.epoch == other.epoch and (not self.digest or self.digest == other.digest)


class Told(Enum):
    """The answers of the log about a store."""

    DONE = "it was put, and the log says so"
    ANNOUNCED = "it was to be put, and its event is still to be written"


class Witness(NamedTuple):
    """The KMS store as the log tells of it.

    Attributes:
        counts: The store of the newest change, or of the acceptance after it; None if there was none.
        intended: The store of the newest intent; None if there is none.
    """

    counts: StoreMark | None = None
    intended: StoreMark | None = None

    def check(self, present: StoreMark) -> Told:
        """Refuse a store that the log speaks against.

        Raises:
            IntegrityError: The store is older than the log says, or another one, or nobody announced it.
        """
        found = f"the KMS store has epoch {present.epoch}"
        hint = (
            "find out why; if it is to count: tsm security kms accept"
            f" --epoch {present.epoch} --digest {present.digest}"
        )
        if self.counts is not None and self.counts.is_of(present):
            return Told.DONE
        if self.counts is not None and present.epoch <= self.counts.epoch:
            raise IntegrityError(
                f"{found}, but the event log tells of epoch {self.counts.epoch}: "
                "it was rolled back or replaced",
                hint=hint,
            )
        first = self.counts is None and present.epoch == 1
        if first or (self.intended is not None and self.intended.is_of(present)):
            return Told.ANNOUNCED
        raise IntegrityError(
            f"{found}, and no event announced that change: somebody else put it there",
            hint=hint,
        )


def read(history: Iterable[Mapping[str, object]]) -> Witness:
    """The KMS store by the records of `IDS`, in their order.

    The details of a record are those of whoever wrote the line: a record without a number says nothing.
    """
    found = Witness()
    for record in history:
        details = record["details"]
        if not isinstance(details, Mapping) or not isinstance(epoch := details.get("epoch"), int):
            continue
        mark = StoreMark(epoch, str(details.get("sha256", "")))
        is_intent = record["id"] == key_events.KMS_STORE_CHANGING
        found = found._replace(intended=mark) if is_intent else found._replace(counts=mark)
    return found
