"""Logs files that are encrypted outside the file store, so that a retirement of their MEK can count them (findings D5).

A file's MEK is taken before the file's event is written. In between, another process may rotate the keys, read the log
without that event, and retire the MEK, and the file would be lost. Therefore, after the event is written, this module
checks the MEK again. If it is still the active one, it can only be retired after a later rotation, and that retirement
will read the event. If it is no longer active, the lock of the key management is taken, and the MEK looked up: either
it is still there, and a later retirement reads the event, or it is gone, and the file is refused.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import ConflictError
from strongroom.eventlog.base import Event, EventLog

#: Holds the lock under which keys change, for a block.
Changing = Callable[[], AbstractContextManager[object]]


class SealedOutside:
    """Logs files outside the file store, and finds those whose MEK was retired before their event was written.

    Args:
        keys: The keys that encrypted the files.
        event_log: The log to which the events are appended.
        changing: The lock under which keys change.
    """

    def __init__(self, keys: EnvelopeKeys, event_log: EventLog, changing: Changing) -> None:
        self._keys, self._event_log, self._changing = keys, event_log, changing

    def tell(self, files: Sequence[tuple[str, Event]]) -> frozenset[str]:
        """Append the event of each file, given with the MEK of that file; returns the MEKs that were retired."""
        self._event_log.append([event for _, event in files])
        rotated = {mek_id for mek_id, _ in files} - {self._keys.active_mek_id}
        if not rotated:
            return frozenset()
        with self._changing():
            return frozenset(rotated - self._keys.known_mek_ids())

    def tell_one(self, mek_id: str, event: Event) -> None:
        """As `tell`, for one file.

        Raises:
            ConflictError: The file's MEK was retired.
        """
        if self.tell([(mek_id, event)]):
            raise retired(mek_id)


def retired(mek_id: str) -> ConflictError:
    """The error of a file whose MEK was retired while the file was made."""
    return ConflictError(
        f"MEK {mek_id} was retired while the file was brought under it",
        hint="run the command again: it takes the MEK that encrypts now",
    )
