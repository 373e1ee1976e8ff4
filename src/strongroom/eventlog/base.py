"""The port to the event log (C-23): every key and secret operation leaves one event; never a value."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

Detail = str | int | bool | None


class Event(NamedTuple):
    """What happened, to which ids, by whom.

    Attributes:
        id: One of the names in `eventlog.events`, such as `KEY_GENERATED`.
        actor: `os:NAME` for a local operating-system user, `user:NAME` for a signed-in user, `system` for ourselves.
        details: Ids, names, counts; never key material, never a secret's value.
    """

    id: str
    actor: str
    details: Mapping[str, Detail] = MappingProxyType({})


class EventLog(Protocol):
    """Appends events to the chain of this node and reads them back."""

    def append(self, events: Sequence[Event]) -> None:
        """Write all events, in order, synced to the disk when it returns.

        Raises:
            StorageError: The log cannot be written; the operation must then not report success.
        """
        ...

    def read(self) -> Iterator[Mapping[str, object]]:
        """Every record from the first on, as stored."""
        ...
