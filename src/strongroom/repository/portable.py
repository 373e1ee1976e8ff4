"""Exports and imports all rows of the repository as lines of JSON, the same for every database (docs/format/backup.md 3).

Rows that belong to a running node and not to its data are left out: sessions, uploads, intents, marks.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DefaultClause,
    Integer,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from strongroom import canonical
from strongroom.errors import FormatError, StateError
from strongroom.repository import tables
from strongroom.repository.engine import translated
from strongroom.repository.postgres import take_time

MAX_LINE_BYTES = 16 << 20
_BATCH = 500
_LARGEST_NUMBER = 2**63 - 1
#: In the order in which rows may be inserted.
PORTABLE = (
    tables.sites,
    tables.users,
    tables.site_users,
    tables.groups,
    tables.group_users,
    tables.projects,
    tables.contents,
    tables.credentials,
    tables.tokens,
    tables.jobs,
    tables.service_mounts,
    tables.service_keys,
    tables.service_key_versions,
    tables.service_secrets,
    tables.service_values,
    tables.service_policies,
    tables.service_roles,
    tables.service_secret_ids,
)
READABLE = frozenset({"0001", "0002", "0003", "0004", "0005"})
"""Schemas whose rows can be imported: that of this program, and earlier ones, whose missing columns have a default."""
NAMES = tuple(table.name for table in PORTABLE)
ADDED = frozenset(name for name in NAMES if name.startswith("service_"))
"""Tables that a backup of an earlier schema lacks."""
ADDED_BY = "0004"
"""The schema that added them."""
#: Columns that say who works on a row now, and so are no data.
_OF_THE_MOMENT = frozenset({"owner_node", "owner_boot", "owner_epoch"})
#: Tables that a restore empties and does not fill again, since their rows refer to the replaced data.
EMPTIED = (tables.sessions, tables.service_tokens, tables.upload_parts, tables.uploads)

Row = dict[str, Any]


class PortableRows:
    """Exports and replaces all rows within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lines(self, name: str) -> Iterator[bytes]:
        """The rows of a table, each as a line.

        Raises:
            StateError: A row is so long that a reader would refuse it.
        """
        table = _table(name)
        statement = select(*_columns(table).values()).order_by(*table.primary_key.columns)
        found = self._connection.execute(statement.execution_options(yield_per=_BATCH)).mappings()
        rows = (dict(row) for row in found)
        for row in parents_first(rows) if table is tables.projects else rows:
            line = _canonical(row) + b"\n"
            if len(line) > MAX_LINE_BYTES:
                key = " ".join(str(row[column.name]) for column in table.primary_key)
                raise StateError(
                    f"the row {key} of the table {name} has {len(line)} bytes, more than"
                    f" {MAX_LINE_BYTES}",
                    hint="no backup takes it: shorten it, or remove what it belongs to",
                )
            yield line

    def ids(self, name: str) -> set[str]:
        """The ids of a table's rows."""
        return set(self._connection.execute(select(_table(name).c.id)).scalars())

    def replace(self, rows_of: Callable[[str], Iterable[Row]]) -> dict[str, int]:
        """Replace all rows of the repository by these; returns their number by table.

        Args:
            rows_of: Returns the rows of a table, given its name.

        Raises:
            ConflictError: The rows break a rule of the schema.
        """
        take_time(self._connection)
        for table in (*EMPTIED, *reversed(PORTABLE)):
            self._connection.execute(delete(table))
        return {table.name: self._insert(table, iter(rows_of(table.name))) for table in PORTABLE}

    def _insert(self, table: Table, rows: Iterator[Row]) -> int:
        count = 0
        while batch := list(islice(rows, _BATCH)):
            try:
                self._connection.execute(insert(table), batch)
            except SQLAlchemyError as error:
                raise translated(error) from error
            count += len(batch)
        return count


def parse_line(name: str, line: bytes) -> Row:
    """Parse a line to a row.

    Raises:
        FormatError: The line is not canonical, or no row of this table.
    """
    table = _table(name)
    try:
        row = json.loads(line)
        same = isinstance(row, dict) and _canonical(row) + b"\n" == line
    except (ValueError, RecursionError) as error:
        raise _no_row(name) from error
    columns = _columns(table)
    if not same:
        raise _no_row(name)
    row = {**_defaults(table, row), **row}
    if row.keys() != columns.keys():
        raise _no_row(name)
    if not all(_fits(columns[key], value) for key, value in row.items()):
        raise _no_row(name)
    return dict(row)


def split_lines(name: str, pieces: Iterable[bytes | memoryview]) -> Iterator[Row]:
    """The rows of a table's bytes, which come in pieces of any size.

    Raises:
        FormatError: A line is no row of this table, is too long, or has no end.
    """
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + bytes(piece)).split(b"\n")
        for line in whole:
            yield parse_line(name, line + b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise _no_row(name)
    if rest:
        raise _no_row(name)


def _table(name: str) -> Table:
    return tables.metadata.tables[name]


def _columns(table: Table) -> dict[str, Column[Any]]:
    return {column.name: column for column in table.columns if column.name not in _OF_THE_MOMENT}


def _defaults(table: Table, row: Row) -> Row:
    """The values of columns that are newer than the program that wrote the row."""
    return {
        column.name: int(str(column.server_default.arg))
        for column in _columns(table).values()
        if isinstance(column.server_default, DefaultClause) and column.name not in row
    }


def _canonical(row: Mapping[str, object]) -> bytes:
    return canonical.dumps(row)


def parents_first(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of projects in an order in which they can be inserted: each after its parent."""
    waiting: dict[str | None, list[Row]] = {}
    for row in rows:
        waiting.setdefault(row["parent_id"], []).append(row)
    ready = waiting.pop(None, [])
    while ready:
        following: list[Row] = []
        for row in ready:
            yield row
            following += waiting.pop(row["id"], [])
        ready = following


def _fits(column: Column[Any], value: object) -> bool:
    if value is None:
        return bool(column.nullable)
    if isinstance(column.type, JSON):
        return isinstance(value, dict | list)
    if isinstance(column.type, Boolean):
        return isinstance(value, bool)
    if isinstance(column.type, BigInteger | Integer):
        return type(value) is int and abs(value) <= _LARGEST_NUMBER
    return isinstance(value, str)


def _no_row(name: str) -> FormatError:
    return FormatError(
        f"the backup holds something that is no row of the table {name}",
        hint="the file is damaged or was changed: use another backup",
    )
