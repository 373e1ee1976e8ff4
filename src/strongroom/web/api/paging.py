"""Paging, filters and sorting as the clients write them (clients.md 1.1).

Filter values are not escaped by any client, so a name may hold `,` and `:`. A new condition begins only where a comma is
followed by `field:operator:`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.errors import UsageError
from strongroom.repository.rows import Filter, Query
from strongroom.web.api import xml
from strongroom.web.api.errors import RefusalError

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_MAX_DIGITS = 9
MAX_CONDITIONS = 20  # the clients send two; a database has a bound too, and a worse answer
MAX_SORTS = 10
_CONDITION = re.compile(r"(?:^|,)(\w+):(eq|cieq|gte|gt|lte|lt|in|has):")
_SORT = re.compile(r"(\w+):(asc|desc)")
_HUMP = re.compile(r"(?<!^)([A-Z])")


@dataclass(frozen=True)
class Window:
    """The part of a list that a client asks for."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """Rows before it."""
        return (self.number - 1) * self.size

    def element(self, total: int) -> xml.Element:
        """`<pagination>`, a direct child of the answer: tabcmd compares `totalAvailable` as a number."""
        return xml.element(
            "pagination",
            {"pageNumber": self.number, "pageSize": self.size, "totalAvailable": total},
        )


def window_of(query: Mapping[str, str], default_size: int = DEFAULT_PAGE_SIZE) -> Window:
    """The window that the query asks for.

    Raises:
        RefusalError: A page number or size that is none.
    """
    number = _positive(query.get("pageNumber", "1"))
    if number is None:
        raise RefusalError(400, "400006", "pageNumber must be a positive whole number")
    size = _positive(query.get("pageSize", str(default_size)))
    if size is None:
        raise RefusalError(400, "400007", "pageSize must be a positive whole number")
    if size > MAX_PAGE_SIZE:
        raise RefusalError(403, "403014", f"pageSize is at most {MAX_PAGE_SIZE}")
    return Window(number, size)


def query_of(
    query: Mapping[str, str], window: Window, renamed: Mapping[str, str] | None = None
) -> Query:
    """Filters, order and window as the repository takes them.

    Args:
        query: The request's query.
        window: The window.
        renamed: Fields whose name here is not just the client's in another spelling.

    Raises:
        UsageError: A filter or an order that cannot be read.
    """
    names = renamed or {}
    filters = tuple(_filters(query.get("filter", ""), names))
    sort = tuple(_sort(query.get("sort", ""), names)) or (("name", False),)
    return Query(filters, sort, window.offset, window.size)


def _filters(text: str, renamed: Mapping[str, str]) -> list[Filter]:
    if not text:
        return []
    found = list(_CONDITION.finditer(text))
    if not found or found[0].start(1) != 0:
        raise UsageError(f"not a filter: {text[:80]!r}", hint="write field:operator:value")
    if len(found) > MAX_CONDITIONS:
        raise UsageError(f"a filter has more than {MAX_CONDITIONS} conditions")
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Filter(_column(match[1], renamed), match[2], _values(match[2], text[match.end() : end]))
        for match, end in zip(found, ends, strict=True)
    ]


def _values(operator: str, text: str) -> tuple[str, ...]:
    if operator != "in":
        return (text,)
    return tuple(part.strip() for part in text.removeprefix("[").removesuffix("]").split(","))


def _sort(text: str, renamed: Mapping[str, str]) -> list[tuple[str, bool]]:
    if not text:
        return []
    order: list[tuple[str, bool]] = []
    parts = text.split(",")
    if len(parts) > MAX_SORTS:
        raise UsageError(f"an order has more than {MAX_SORTS} fields")
    for part in parts:
        match = _SORT.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"not an order: {text[:80]!r}", hint="write field:asc or field:desc")
        order.append((_column(match[1], renamed), match[2] == "desc"))
    return order


def _column(name: str, renamed: Mapping[str, str]) -> str:
    return renamed.get(name) or _HUMP.sub(r"_\1", name).lower()


def _positive(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) < 1:
        return None
    return int(text)
