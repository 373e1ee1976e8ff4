"""The port to the event log (C-23): every key and secret operation leaves one event; never a value."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

Detail = str | int | bool | None

SYSTEM = "system"  # the actor of events that the server causes itself, without a request


class Event(NamedTuple):
    """Something that happened: its name, who did it, and the ids concerned.

    Attributes:
        id: A name among those in `eventlog.events`, such as `KEY_GENERATED`.
        actor: `os:NAME` for a local operating-system user, `user:NAME` for a signed-in user, `system` for ourselves.
        details: Ids, names, counts; never key material, never a secret's value.
    """

    id: str
    actor: str
    details: Mapping[str, Detail] = MappingProxyType({})


class Query(NamedTuple):
    """A filter for records; an attribute that is empty filters nothing out.

    Attributes:
        since: From this time on, `YYYY-MM-DDTHH:MM:SSZ`.
        until: Up to this time.
        ids: With one of these ids.
        actor: Of this actor.
        limit: The last so many of those; None is all.
    """

    since: str = ""
    until: str = ""
    ids: frozenset[str] = frozenset()
    actor: str = ""
    limit: int | None = None


ALL = Query()


class EventLog(Protocol):
    """Appends events to the chain of this node and reads them back; for any number of threads and processes.

    The contract (tests/contract/eventlog/test_port.py) that every implementation keeps:

    - When `append` returns, its events are durable: no kill and no power cut takes them back. Before it returns
      there is no promise; after an error they may be in the log, or not.
    - The events of one append stand in their order one behind the other, and between no two of them stands
      another's. Of two appends of which one returned before the other began, the earlier stands first.
    - Appends that wait at the same time may be written together and share the cost of durability. An error in the
      events of one append is raised to the caller of that append only.
    - `read` gives the records that were appended before the call, the oldest first, and holds one record at a time:
      the implementation applies the filter, so that a caller need not read the whole log.
    """

    def append(self, events: Sequence[Event], /) -> None:
        """Write all events, in order; durable when it returns.

        Raises:
            StorageError: The log cannot be written; the operation must then not report success.
            FormatError: An event is too long, or has a detail that is neither text, whole number, boolean nor null; no
                event of this call is written.
        """
        ...

    def read(self, query: Query = ALL) -> Iterator[Mapping[str, object]]:
        """The records of the present log that are asked for, as stored, the oldest first.

        Raises:
            FormatError: A record that was looked at is damaged.
            StorageError: The log cannot be read.
        """
        ...

    def history(self, *ids: str) -> Iterator[Mapping[str, object]]:
        """The records with these ids of all times, those of archived logs first; damaged ones are left out.

        Raises:
            StorageError: A log cannot be read.
        """
        ...
