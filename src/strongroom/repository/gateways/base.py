"""The base of all table gateways: rows as dataclasses, look-up by id, filtered and paged lists."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    NestedTransaction,
    Select,
    Table,
    Text,
    UniqueConstraint,
    cast,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.repository.dialects.causes import Cause
from strongroom.repository.engine import cause_of, nul_refused, translated
from strongroom.repository.folding import fold
from strongroom.repository.rows import Filter, Page, Query

RowT = TypeVar("RowT")
_FOLDED = "_folded"
_OF_TRUTHS = frozenset({"eq", "cieq", "in"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
PIECE = 500
"""How many values a statement names: databases limit the number of parameters."""
_BEHIND = "\U0010ffff"
"""Sorts behind whatever may follow the beginning of a text."""


@dataclass(frozen=True)
class Field:
    """A field that lists may be filtered and sorted by.

    Attributes:
        column: The column that is compared.
        convert: Converts the text of a filter to the column's type.
        holds: For a column with several values in a row: the condition that one of them equals the filter's value,
            which then takes the place of any operator.
    """

    column: ColumnElement[Any]
    convert: Callable[[str], object] = str
    holds: Callable[[str], ColumnElement[bool]] | None = None


class TableGateway(Generic[RowT]):
    """Reads and writes the rows of one table within one transaction."""

    table: ClassVar[Table]
    row_type: ClassVar[type[Any]]
    noun: ClassVar[str]
    key: ClassVar[str] = "id"
    # Columns that may be null, each with its neighbour that holds "" instead: SQL's uniqueness ignores nulls.
    null_keys: ClassVar[Mapping[str, str]] = {}

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: str) -> RowT | None:
        """The row of that key; None if there is no such row."""
        return self._find(self.table.c[self.key] == key)

    def get(self, key: str) -> RowT:
        """The row of that key.

        Raises:
            NotFoundError: The table has no such row.
        """
        row = self.find(key)
        if row is None:
            raise NotFoundError(f"there is no {self.noun} {key[:64]!r}", about=self.noun)
        return row

    def get_all(self, keys: Iterable[str]) -> dict[str, RowT]:
        """The rows of those of these keys that are there, by key."""
        column = self.table.c[self.key]
        found = [
            row
            for piece in pieces(keys)
            for row in self._all(select(self.table).where(column.in_(piece)))
        ]
        return {getattr(row, self.key): row for row in found}

    def beginning_with(self, text: str, limit: int | None = None) -> list[str]:
        """The keys that begin with a text, in order."""
        return self._beginning(text, limit)

    def names_near(self, name: str, limit: int) -> list[str]:
        """Names that stand beside a name in the order of names, so many on each side."""
        shown, column = self.table.c.name, self.table.c.name_folded
        before = select(shown).where(column < fold(name)).order_by(column.desc()).limit(limit)
        behind = select(shown).where(column >= fold(name)).order_by(column).limit(limit)
        return [
            text for side in (before, behind) for text in self._connection.execute(side).scalars()
        ]

    def insert(self, row: RowT) -> RowT:
        """Add a row.

        Raises:
            ConflictError: The key or name is taken, or a row to which the new one refers does not exist.
        """
        values = {field.name: getattr(row, field.name) for field in self._fields()}
        with self._conflicts(values):
            self._connection.execute(insert(self.table).values(self._stored(values)))
        return row

    def update(self, key: str, **changes: object) -> RowT:
        """Change columns of a row, and return the changed row.

        Raises:
            NotFoundError: The table has no such row.
            ConflictError: The new name is taken.
        """
        if changes:
            self._change(self.table.c[self.key] == key, changes)
        return self.get(key)

    def delete(self, key: str) -> bool:
        """Delete a row and the rows that refer to it; False if there was no such row.

        Raises:
            ConflictError: A row that must not be deleted refers to it.
        """
        with self._conflicts({}):
            found = self._connection.execute(
                delete(self.table).where(self.table.c[self.key] == key)
            )
        return found.rowcount > 0

    def _fields(self) -> tuple[dataclasses.Field[Any], ...]:
        return dataclasses.fields(self.row_type)

    def _stored(self, values: Mapping[str, object]) -> dict[str, object]:
        """Values as the columns hold them, with the derived neighbours of names and null keys."""
        unknown = values.keys() - {field.name for field in self._fields()}
        if unknown:
            message = f"{self.table.name} has no column {sorted(unknown)}"
            raise TypeError(message)
        stored = {name: _plain(value) for name, value in values.items()}
        if any(_has_nul(value) for value in stored.values()):
            raise nul_refused()
        for name, value in values.items():
            if name + _FOLDED in self.table.c:
                stored[name + _FOLDED] = fold(str(value))
            if name in self.null_keys:
                stored[self.null_keys[name]] = value or ""
        return stored

    def _change(self, condition: ColumnElement[bool], changes: Mapping[str, object]) -> int:
        stored = self._stored(changes)
        statement = update(self.table).where(condition).values(stored)
        if stored.keys().isdisjoint(_ruled(self.table)):
            return self._connection.execute(statement).rowcount
        with self._conflicts(changes):
            return self._connection.execute(statement).rowcount

    def _find(self, *conditions: ColumnElement[bool]) -> RowT | None:
        rows = self._all(select(self.table).where(*conditions))
        return rows[0] if rows else None

    def _all(self, statement: Select[Any]) -> list[RowT]:
        names = [field.name for field in self._fields()]
        found = self._connection.execute(statement).mappings()
        return [self.row_type(**{name: row[name] for name in names}) for row in found]

    def _beginning(
        self, text: str, limit: int | None, *conditions: ColumnElement[bool]
    ) -> list[str]:
        column = self.table.c[self.key]
        statement = select(column).where(column >= text, column < text + _BEHIND, *conditions)
        found = self._connection.execute(statement.order_by(column).limit(limit))
        return list(found.scalars())

    def _page(
        self,
        conditions: Sequence[ColumnElement[bool]],
        query: Query,
        fields: Mapping[str, Field],
        total: int | None = None,
    ) -> Page[RowT]:
        """The rows of a page and the number of all rows, which a caller may know without the query's filters."""
        where = [*conditions, *(_condition(part, fields) for part in query.filters)]
        if total is None or query.filters:
            total = self._count(*where)
        order = [_order(name, fields, descending=down) for name, down in query.sort]
        # Ties are broken by the key, in the direction of the last sort field, so that of two jobs created in the same
        # second the newer comes first.
        backwards = bool(query.sort) and query.sort[-1][1]
        order += [key.desc() if backwards else key.asc() for key in self.table.primary_key]
        if query.limit is None or not query.offset:
            statement = select(self.table).where(*where).order_by(*order)
            return Page(self._all(statement.offset(query.offset).limit(query.limit)), total)
        # the rows before the page are passed over in the index alone; PostgreSQL would read each of them
        key = self.table.c[self.key]
        statement = select(key).where(*where).order_by(*order)
        on_page = statement.offset(query.offset).limit(query.limit)
        keys = list(self._connection.execute(on_page).scalars())
        rows = self.get_all(keys)
        return Page([rows[one] for one in keys if one in rows], total)

    def _count(self, *conditions: ColumnElement[bool]) -> int:
        statement = select(func.count()).select_from(self.table).where(*conditions)
        return self._connection.execute(statement).scalar_one()

    def _conflicts(self, values: Mapping[str, object]) -> "_Conflicts":
        return _Conflicts(self._connection, self.noun, values.get("name"))


def pieces(values: Iterable[str]) -> Iterator[list[str]]:
    """The values in an order of their own, so many at once as a statement may name."""
    ordered = sorted(set(values))
    for first in range(0, len(ordered), PIECE):
        yield ordered[first : first + PIECE]


def present_in(
    connection: Connection, column: ColumnElement[str], values: Iterable[str]
) -> frozenset[str]:
    """The values among these that a column has; the column needs an index."""
    return frozenset(
        one
        for piece in pieces(values)
        for one in connection.execute(select(column).where(column.in_(piece))).scalars()
    )


class _Conflicts:
    """Translates the database's refusal of a row into an error that names the object; the transaction goes on.

    PostgreSQL gives up a whole transaction at a refused statement, so there the block has a savepoint.
    """

    def __init__(self, connection: Connection, noun: str, name: object) -> None:
        self._connection = connection
        self._what = f"a {noun} named {name!r}" if name is not None else f"this {noun}"
        self._savepoint: NestedTransaction | None = None

    def __enter__(self) -> None:
        if self._connection.dialect.name == "postgresql":
            self._savepoint = self._connection.begin_nested()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._savepoint is not None:
            self._end(self._savepoint, error)
        if not isinstance(error, IntegrityError):
            return
        if cause_of(error) is not Cause.NOT_UNIQUE:
            raise translated(error) from error
        raise ConflictError(f"{self._what} exists already", hint="choose another name") from error

    def _end(self, savepoint: NestedTransaction, error: BaseException | None) -> None:
        if error is None:
            savepoint.commit()
        elif not self._connection.invalidated:
            savepoint.rollback()


def upsert(
    connection: Connection,
    table: Table,
    key: Mapping[str, object],
    values: Mapping[str, object],
    condition: ColumnElement[bool] | None = None,
) -> bool:
    """Insert a row, or change the row of that key, in one statement; whoever does the same meanwhile is waited for.

    Args:
        connection: The connection of the transaction.
        table: The table.
        key: The columns of its primary key.
        values: All other columns.
        condition: The condition on which a row that is there is changed; otherwise the row stays as it is.

    Returns:
        Whether the row now has these values by this call.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values({**key, **values})
    statement = statement.on_conflict_do_update(
        index_elements=list(key), set_=dict(values), where=condition
    )
    counted = statement.execution_options(preserve_rowcount=True)
    return connection.execute(counted).rowcount == 1


def folded(column: ColumnElement[Any]) -> Field:
    """A filter field over a folded column."""
    return Field(column, fold)


def fixed(value: object) -> Field:
    """A field with the same value in all rows, such as a count of objects that this server does not have."""
    if isinstance(value, bool):
        return Field(cast(literal(value), Boolean), truth)
    if isinstance(value, int):
        return Field(cast(literal(value), BigInteger), number)
    return Field(cast(literal(value), Text), fold)


#: A field of the public API that no row has; it is equal to no value.
UNKNOWN = Field(cast(null(), Text))


def truth(text: str) -> bool:
    """A filter's value as true or false.

    Raises:
        UsageError: The text is another word.
    """
    words = {"true": True, "1": True, "false": False, "0": False}
    try:
        return words[text.strip().lower()]
    except KeyError as error:
        raise UsageError(f"neither true nor false in a filter: {text[:40]!r}") from error


def number(text: str) -> int:
    """A filter's value as an integer.

    Raises:
        UsageError: The text is no integer, or one that is too large for a column.
    """
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"not a whole number in a filter: {text[:40]!r}")
    return int(text)


@cache
def _ruled(table: Table) -> frozenset[str]:
    """The columns that a rule of the schema may refuse: keys, unique names and references."""
    unique = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    ruled = {column.name for rule in unique for column in rule.columns}
    referring = {column.name for column in table.columns if column.foreign_keys}
    return frozenset(ruled | referring | {column.name for column in table.primary_key})


def _has_nul(value: object) -> bool:
    """Whether any text in a value has the character NUL, which PostgreSQL cannot hold."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(one) for pair in value.items() for one in pair)
    return isinstance(value, list) and any(_has_nul(one) for one in value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value


def _field(name: str, fields: Mapping[str, Field]) -> Field:
    try:
        return fields[name]
    except KeyError as error:
        known = ", ".join(sorted(fields))
        raise UsageError(f"unknown field {name!r} in a list", hint=f"known: {known}") from error


def _condition(part: Filter, fields: Mapping[str, Field]) -> ColumnElement[bool]:
    field = _field(part.field, fields)
    if field.holds is not None:
        return or_(*(field.holds(value) for value in part.values))
    values = [field.convert(value) for value in part.values]
    if field.convert is truth and part.operator not in _OF_TRUTHS:
        raise UsageError(f"the filter on {part.field!r} compares by eq", hint="write eq:true")
    if part.operator == "in":
        return field.column.in_(values)
    if len(values) != 1:
        raise UsageError(f"the filter on {part.field!r} takes one value")
    return _comparison(part.operator, field.column, values[0])


def _comparison(operator: str, column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    if operator == "has" and not isinstance(column.type, Text):
        raise UsageError("the operator 'has' is for texts", hint="use eq")
    comparisons: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: column == value,
        "cieq": lambda: column == value,
        "gt": lambda: column > value,
        "gte": lambda: column >= value,
        "lt": lambda: column < value,
        "lte": lambda: column <= value,
        "has": lambda: column.contains(str(value), autoescape=True),
    }
    if operator not in comparisons:
        raise UsageError(
            f"unknown operator {operator!r} in a filter",
            hint=f"known: in, {', '.join(comparisons)}",
        )
    return comparisons[operator]()


def _order(name: str, fields: Mapping[str, Field], *, descending: bool) -> ColumnElement[Any]:
    column = _field(name, fields).column
    return column.desc() if descending else column.asc()
