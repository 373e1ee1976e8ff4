"""A table of which some rows are made when somebody asks for one that is not among the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from strongroom.system.compat import override

T = TypeVar("T")


class LateRows(Mapping[str, T]):
    """Rows by their names, sorted by these."""

    def __init__(self, rows: Mapping[str, T], more: Callable[[], Iterable[tuple[str, T]]]) -> None:
        """Take what is there.

        Args:
            rows: The rows that are known at once.
            more: Makes the others, with their names; called when a name is none of `rows`, or all are gone through.
        """
        self._rows = rows
        self._more = more
        self._whole: Mapping[str, T] | None = None

    @override
    def __getitem__(self, name: str) -> T:
        found = self._rows.get(name)
        return self._all()[name] if found is None else found

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    @override
    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, T]:
        if self._whole is None:
            self._whole = dict(sorted({**self._rows, **dict(self._more())}.items()))
        return self._whole
