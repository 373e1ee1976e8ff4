r"""Paging, filters and sorting as the clients write them (clients.md 1.1).

Most clients do not escape the values of filters, so a name may hold `,` and `:`. A new condition begins only where a
comma is followed by `field:operator:`. Those that do, write a comma within a value as `\,`; both are understood.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from strongroom.doors.tableau.errors import RefusalError
from strongroom.doors.tableau.message import Element, element, listing
from strongroom.doors.tableau.shape import READ, Rules
from strongroom.errors import UsageError
from strongroom.repository.rows import Filter, Query

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_MAX_DIGITS = 9
MAX_CONDITIONS = 20  # the clients send two; a database has a bound too, and a worse answer
MAX_SORTS = 10
_CONDITION = re.compile(r"(?:^|,)(\w+):(eq|cieq|gte|gt|lte|lt|in|has):")
_SORT = re.compile(r"(\w+):(asc|desc)")
_SEPARATOR = re.compile(r"(?<!\\),")
_ALL_FIELDS = {"_all_", "_default_"}
MAX_FIELDS = 100
#: The parameters of every list.
LISTING: Rules = dict.fromkeys(("pageNumber", "pageSize", "filter", "sort", "fields"), READ)
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

    def element(self, total: int) -> Element:
        """`<pagination>`, a direct child of the answer: tabcmd compares `totalAvailable` as a number."""
        return element(
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
    query: Mapping[str, str],
    window: Window,
    renamed: Mapping[str, str] | None = None,
    *,
    order: str = "",
) -> Query:
    """Filters, order and window as the repository takes them.

    Args:
        query: The request's query.
        window: The window.
        renamed: Fields whose name here is not just the client's in another spelling.
        order: The order if none is asked for, as a client would ask for it.

    Raises:
        UsageError: A filter or an order that cannot be read.
    """
    names = renamed or {}
    filters = tuple(_filters(query.get("filter", ""), names))
    sort = tuple(_sort(query.get("sort") or order, names)) or (("name", False),)
    return Query(filters, sort, window.offset, window.size)


def page_of(
    query: Mapping[str, str],
    window: Window,
    total: int,
    names: tuple[str, str],
    rows: Sequence[Element],
) -> list[Element]:
    """A page of a list as an answer: `<pagination>` and the rows, with the fields that were asked for.

    Args:
        query: The request's query.
        window: The window.
        total: How many rows there are in all.
        names: The names of the list's element and of a row's element.
        rows: The rows of the page.

    Raises:
        UsageError: More fields than any row has.
    """
    fields = fields_of(query)
    shown = [_projected(row, fields) for row in rows]
    return [window.element(total), listing(names[0], names[1], shown)]


def fields_of(query: Mapping[str, str]) -> frozenset[str]:
    """The fields that `fields=` names, as `name` or `owner.name`; empty for all of them."""
    names = [name.strip() for name in query.get("fields", "").split(",") if name.strip()]
    if len(names) > MAX_FIELDS:
        raise UsageError(f"more than {MAX_FIELDS} fields are asked for")
    return frozenset() if _ALL_FIELDS.intersection(names) else frozenset(names)


def _projected(row: Element, fields: frozenset[str]) -> Element:
    """A row with these attributes and children; of a child that is named with a dot, only those attributes."""
    if not fields:
        return row
    children: list[Element] = []
    for child in row.children:
        inner = {name.partition(".")[2] for name in fields if name.startswith(f"{child.tag}.")}
        if child.tag in fields:
            children.append(child)
        elif inner:
            kept = {key: value for key, value in child.attrib.items() if key in inner}
            children.append(Element(child.tag, kept))
    attributes = {key: value for key, value in row.attrib.items() if key in fields}
    return Element(row.tag, attributes, children, row.text, row.lists)


def _filters(text: str, renamed: Mapping[str, str]) -> list[Filter]:
    if not text:
        return []
    found = list(_conditions(text))
    if not found or found[0].start(1) != 0:
        raise UsageError(f"not a filter: {text[:80]!r}", hint="write field:operator:value")
    if len(found) > MAX_CONDITIONS:
        raise UsageError(f"a filter has more than {MAX_CONDITIONS} conditions")
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        _filter(_column(match[1], renamed), match[2], text[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    ]


def _conditions(text: str) -> Iterator[re.Match[str]]:
    """Where conditions begin: not at an escaped comma, and not within the brackets of `in`."""
    last: re.Match[str] | None = None
    for match in _CONDITION.finditer(text):
        if last is not None:
            value = text[last.end() : match.start()]
            if value.endswith("\\"):
                continue
            if last[2] == "in" and value.startswith("[") and not value.endswith("]"):
                continue
        last = match
        yield match


def _filter(column: str, operator: str, text: str) -> Filter:
    if operator == "in":
        inner = text.removeprefix("[").removesuffix("]")
        parts = (_unescaped(part.strip()) for part in _SEPARATOR.split(inner))
        return Filter(column, operator, tuple(parts))
    plain = _unescaped(text)
    if operator in {"eq", "cieq"} and plain != text:
        # escaped by a client that does so, or by nobody, and then the name itself has it
        return Filter(column, "in", (plain, text))
    return Filter(column, operator, (text,))


def _unescaped(text: str) -> str:
    return text.replace("\\,", ",")


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
    spelling = _snake(name)
    return {_snake(key): column for key, column in renamed.items()}.get(spelling, spelling)


def _snake(name: str) -> str:
    """`hasExtracts` and `has_extracts` are one name in two spellings."""
    return _HUMP.sub(r"_\1", name).lower()


def _positive(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) < 1:
        return None
    return int(text)
