"""An event log of which nobody under test may read: a service writes events, and decides nothing by them."""

from collections.abc import Iterator, Mapping

from strongroom.eventlog.base import ALL, Query


class UnreadEvents:
    """The half of the port that raises."""

    def read(self, query: Query = ALL) -> Iterator[Mapping[str, object]]:
        raise NotImplementedError

    def history(self, *ids: str) -> Iterator[Mapping[str, object]]:
        raise NotImplementedError
