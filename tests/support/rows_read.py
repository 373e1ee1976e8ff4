"""Counts what a database does for a piece of work: statements, rows that came out, and the steps that SQLite took.

No clock: SQLite calls back at each step of its machine, so a walk over a table shows in the count, though one row comes
out of it. The counts are the same on every machine.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event

from strongroom.repository import engine as engines


@dataclass
class Statement:
    """One statement.

    Attributes:
        text: Its text.
        values: Its parameters.
        rows: How many rows came out.
        steps: How many steps SQLite took.
    """

    text: str
    values: Any
    rows: int = 0
    steps: int = 0

    @property
    def is_count(self) -> bool:
        """Whether it asks for the number of all rows, which no page can do without."""
        return self.text.lstrip().upper().startswith("SELECT COUNT(*)")


@dataclass
class Reading:
    """What was done for a piece of work."""

    statements: list[Statement] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that came out of all statements but counts."""
        return sum(one.rows for one in self._others)

    @property
    def steps(self) -> int:
        """Steps of all statements but counts."""
        return sum(one.steps for one in self._others)

    @property
    def _others(self) -> list[Statement]:
        return [one for one in self.statements if not one.is_count]

    def worst(self) -> str:
        """The statement with the most steps."""
        most = max(self._others, key=lambda one: one.steps, default=None)
        return "" if most is None else f"{most.steps} steps, {most.rows} rows: {most.text}"


class RowsRead:
    """Watches every engine for a file of SQLite that is opened within `watching`."""

    def __init__(self) -> None:
        self._reading = Reading()
        self._is_on = False
        self._current: dict[int, Statement] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Attach to each engine that is opened meanwhile."""
        before = engines.open_engine

        def open_engine(url: Any) -> Engine:
            engine = before(url)
            self._attach(engine)
            return engine

        engines.open_engine = open_engine
        try:
            yield
        finally:
            engines.open_engine = before

    def of(self, work: Callable[[], object]) -> Reading:
        """What was done for a piece of work."""
        self._reading, self._is_on = Reading(), True
        try:
            work()
        finally:
            self._is_on = False
        return self._reading

    def _attach(self, engine: Engine) -> None:
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "before_cursor_execute", self._asked)

    def _prepare(self, connection: sqlite3.Connection, _record: object) -> None:
        key = id(connection)

        def step() -> int:
            if self._is_on and (found := self._current.get(key)) is not None:
                found.steps += 1
            return 0

        def row(_cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> tuple[Any, ...]:
            if self._is_on and (found := self._current.get(key)) is not None:
                found.rows += 1
            return values

        connection.set_progress_handler(step, 1)
        connection.row_factory = row

    def _asked(self, connection: Any, _cursor: object, text: str, values: Any, *_: object) -> None:
        if self._is_on:
            found = Statement(text, values)
            self._reading.statements.append(found)
            self._current[id(connection.connection.dbapi_connection)] = found
