"""Asks whether anything was committed since: the one question by which rows in memory are known to be the present ones.

The databases answer it themselves, for all writers of all processes and nodes, so no writer has to announce anything
and none can forget it. SQLite counts the commits of other connections (`PRAGMA data_version`), and the connection that
asks commits nothing. PostgreSQL's snapshot names the next transaction and those that run: while both are the same, a
reader sees the same rows. A primary that was replaced shows one snapshot for ever, so it is also asked whether it takes
changes. Other databases of the same server change the snapshot too, which costs a look and no truth.
"""

import sqlite3
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError

from strongroom.repository.replacement import SERVES, Replacement

_SQLITE = "PRAGMA data_version"
_POSTGRES = f"SELECT pg_current_snapshot()::text, {SERVES}"


class Look(Protocol):
    """A connection that is used for nothing else."""

    def ask(self) -> Hashable:
        """The state; equal to the one before if nothing was committed in between."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


class SqliteLook:
    """A connection to a file of SQLite; two microseconds a question."""

    def __init__(self, engine: Engine) -> None:
        self._connection: Any = engine.raw_connection()
        self._cursor = self._connection.cursor()

    def ask(self) -> Hashable:
        """The count of commits of others, as this connection saw it."""
        try:
            return int(self._cursor.execute(_SQLITE).fetchone()[0])
        except sqlite3.Error as error:
            raise DBAPIError(_SQLITE, None, error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PostgresLook:
    """A connection to PostgreSQL, with no transaction open; a round trip a question."""

    def __init__(self, engine: Engine, replacement: Replacement) -> None:
        self._replacement = replacement
        self._connection: Connection = engine.connect()
        self._connection.execution_options(isolation_level="AUTOCOMMIT")

    def ask(self) -> Hashable:
        """The server's snapshot.

        Raises:
            DisconnectionError: The server takes no changes any more, so others may commit theirs elsewhere.
        """
        snapshot, serves = self._connection.exec_driver_sql(_POSTGRES).one()
        if not serves:
            self._replacement.found(self._connection)
            raise DisconnectionError("the server takes no changes any more")
        return str(snapshot)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Watch:
    """Asks from any thread, one at a time; a connection that broke is replaced, and then nothing before counts.

    Args:
        look: Opens a connection.
    """

    def __init__(self, look: Callable[[], Look]) -> None:
        self._open = look
        self._look: Look | None = None
        self._looks = 0
        self._lock = threading.Lock()

    def state(self) -> Hashable:
        """The state of the database at a moment within this call.

        Raises:
            SQLAlchemyError: The database cannot be asked, not even by a new connection.
        """
        with self._lock:
            if self._look is not None:
                try:
                    return self._looks, self._look.ask()
                except (
                    SQLAlchemyError
                ):  # the server was restarted; a new connection says whether it is there
                    self._drop()
            self._look = self._open()
            self._looks += 1
            try:
                return self._looks, self._look.ask()
            except SQLAlchemyError:
                self._drop()
                raise

    def close(self) -> None:
        """Give the connection up."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            with suppress(SQLAlchemyError, sqlite3.Error):
                look.close()
