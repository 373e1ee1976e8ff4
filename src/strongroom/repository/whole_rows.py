"""All rows of the repository with all their columns, for a move from one database into another.

Unlike `portable`, nothing is left out but what belongs to the database itself: a session goes on, an upload is finished,
and the marks by which a rollback is noticed stay what they were.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from strongroom import canonical
from strongroom.repository import tables
from strongroom.repository.engine import translated
from strongroom.repository.portable import parents_first
from strongroom.repository.postgres import take_time

_BATCH = 500
#: Rows of the database itself: the revision of its schema, the marks of its own commits, and how far the locks had been
#: counted where it was. Another place counts them anew, and would have nobody write until it has come as far.
_OF_THE_DATABASE = (tables.schema_version, tables.commits, tables.fence)

Row = dict[str, Any]


class Extent(NamedTuple):
    """How much a table holds, and its digest: equal for equal rows, whatever database holds them.

    Attributes:
        rows: The number of the rows.
        size: The bytes of the rows as canonical JSON.
        sha256: The digest of these bytes, in hexadecimal.
    """

    rows: int
    size: int
    sha256: str


class WholeRows:
    """Reads and replaces all rows within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def names(self) -> tuple[str, ...]:
        """The tables, each after those that it refers to."""
        return tuple(
            one.name for one in tables.metadata.sorted_tables if one not in _OF_THE_DATABASE
        )

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a table, by their keys; a project comes after its parent."""
        found = self._read(_table(name))
        return parents_first(found) if name == tables.projects.name else found

    def is_empty(self, name: str) -> bool:
        """Whether a table has no row."""
        return self._connection.execute(select(_table(name)).limit(1)).first() is None

    def extent(self, name: str) -> Extent:
        """How much a table holds, and its digest."""
        count = size = 0
        digest = hashlib.sha256()
        for row in self.rows(name):
            line = canonical.dumps(row) + b"\n"
            digest.update(line)
            count, size = count + 1, size + len(line)
        return Extent(count, size, digest.hexdigest())

    def replace(self, rows_of: Callable[[str], Iterable[Row]]) -> None:
        """Replace all rows by these.

        Args:
            rows_of: Returns the rows of a table, given its name.

        Raises:
            ConflictError: The rows break a rule of the schema.
            UsageError: A text holds a character that this database cannot hold.
        """
        take_time(self._connection)
        for name in reversed(self.names()):
            self._connection.execute(delete(_table(name)))
        for name in self.names():
            self._insert(_table(name), iter(rows_of(name)))

    def _read(self, table: Table) -> Iterator[Row]:
        statement = select(table).order_by(*table.primary_key.columns)
        # closed also where nobody reads to the end: a cursor of the server stays open else
        with self._connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
            for row in found.mappings():
                yield dict(row)

    def _insert(self, table: Table, rows: Iterator[Row]) -> None:
        while batch := list(islice(rows, _BATCH)):
            try:
                self._connection.execute(insert(table), batch)
            except SQLAlchemyError as error:
                raise translated(error) from error


def _table(name: str) -> Table:
    return tables.metadata.tables[name]
