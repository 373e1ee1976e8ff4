"""Opens the database of a URL, and translates its errors.

SQLite in a file is used with a write-ahead log, every commit synced (`synchronous=FULL`), foreign keys checked, and the
write lock taken at the start of a writing transaction (`BEGIN IMMEDIATE`). So a transaction that reads and then writes
never loses another's change, and never fails in the middle for a lock. For PostgreSQL see `repository.postgres`.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from strongroom import foreign_words
from strongroom.errors import (
    ConflictError,
    StorageError,
    StorageUnavailableError,
    StrongroomError,
    UsageError,
)
from strongroom.repository.dialects import postgres as postgres_codes
from strongroom.repository.dialects import sqlite
from strongroom.repository.dialects.causes import Cause
from strongroom.repository.postgres import PostgresDatabase, is_postgres
from strongroom.repository.postgres_address import Passwords
from strongroom.repository.reach import Reach
from strongroom.repository.watching import Look, SqliteLook
from strongroom.system import disk, durable

READ_ONLY = "strongroom_read_only"
BUSY_TIMEOUT_S = (
    30  # longer than any transaction of ours; then the writer is told, not left hanging
)
_POOL_SIZE = 8
# a connection for each thread of the pools of the web service and the backgrounder
_POOL_OVERFLOW = 56
_PASSING: Final = frozenset({Cause.UNREACHABLE, Cause.TOO_MANY, Cause.LOCKED, Cause.READ_ONLY})
"""Causes that end without a hand: a server that starts again, a standby that is to be the primary, transactions that end."""


def sqlite_url(path: Path) -> URL:
    """The URL of a database file.

    A URL object and not a text: in a text, `%2F` in the path would become a slash, and characters behind `?` options. A
    data directory may have any name that the file system allows, and must keep its databases inside.
    """
    return URL.create("sqlite", database=str(path))


class Database(Protocol):
    """A database: its connections and transactions, for all threads of a process."""

    @property
    def engine(self) -> Engine:
        """The connections."""
        ...

    def check(self, connection: Connection) -> None:
        """Refuse a database in which the repository's promises would not hold.

        Raises:
            StateError: The database is not as it has to be.
        """
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads, and sees one state."""
        ...

    def writing(self, reach: Reach, *, marked: bool = True) -> AbstractContextManager[Connection]:
        """A transaction that may write.

        Args:
            reach: The writers that it excludes.
            marked: Whether the table `commits` exists.

        Raises:
            OutcomeUnknown: The connection broke at the commit, and the outcome could not be found out.
        """
        ...

    def look(self) -> Look:
        """A connection that says whether anything was committed since (`repository.watching`)."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class SqliteDatabase:
    """A file of SQLite: one writer at a time, whatever it reaches."""

    def __init__(self, url: str | URL) -> None:
        self.engine = open_engine(url)

    def check(self, connection: Connection) -> None:
        """Nothing to refuse: how the file is opened decides."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and waits for nobody."""
        with self._begun(read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self, reach: Reach, *, marked: bool = True) -> Iterator[Connection]:  # noqa: ARG002  one writer at a time; COMMIT answers
        """A transaction that may write, when the one before has ended."""
        with self._begun(read_only=False) as connection:
            yield connection

    @contextmanager
    def _begun(self, *, read_only: bool) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            connection.execution_options(**{READ_ONLY: read_only})
            with connection.begin():
                yield connection

    def look(self) -> Look:
        """A connection that says whether anything was committed since."""
        return SqliteLook(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str | URL, passwords: Passwords | None = None) -> Database:
    """The database that the URL names; nothing is opened yet.

    Args:
        url: The address.
        passwords: For PostgreSQL: returns the passwords to try for each new connection.

    Raises:
        UsageError: The address is not allowed.
        StorageError: The library for the database is not installed.
    """
    return PostgresDatabase(url, passwords) if is_postgres(url) else SqliteDatabase(url)


def open_engine(url: str | URL) -> Engine:
    """An engine for a file of SQLite; nothing is opened yet."""
    engine = create_engine(
        url,
        hide_parameters=True,  # values must not get into messages and logs
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=BUSY_TIMEOUT_S,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def create_file(url: str | URL, file_modes: durable.FileModes) -> None:
    """Create SQLite's file with a mode that excludes other users; its log files get the same mode.

    Raises:
        StorageError: The file cannot be created.
    """
    path = _sqlite_file(url)
    if path is None:
        return
    durable.make_folder(path.parent, file_modes)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if file_modes.group is not None:
                os.fchown(descriptor, -1, file_modes.group)
            os.fchmod(descriptor, file_modes.file_mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk.problem(f"the repository {path} cannot be created", error) from error


def missing_file(url: str | URL) -> Path | None:
    """The path of SQLite's file if it is missing, else None: SQLite would silently create an empty database."""
    path = _sqlite_file(url)
    return None if path is None or path.exists() else path


def _sqlite_file(url: str | URL) -> Path | None:
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    return Path(parts.database)


def cause_of(error: SQLAlchemyError) -> Cause:
    """The cause for which the database refused, by the code of its driver's error."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return Cause.OTHER
    if postgres_codes.is_of_postgres(error.orig):
        return postgres_codes.cause_of(error.orig)
    return sqlite.cause_of(error.orig)


def translated(error: SQLAlchemyError, url: str | URL = "") -> StrongroomError:
    """The error of ours for a database error, without the values of the statement, which may be secret."""
    path = _sqlite_file(url) if url else None
    if isinstance(error, DBAPIError) and path is not None:
        told = disk.database_problem(error.orig or error, "the repository", path)
        if told is not None:
            return told
    if isinstance(error, PoolTimeoutError):
        return StorageUnavailableError("too many transactions at once", hint="try again")
    cause = cause_of(error)
    if cause is Cause.NO_REFERENCE:
        return ConflictError("something that this refers to is gone, or still referred to")
    if cause is Cause.NOT_UNIQUE:
        return ConflictError("it exists already", hint="choose another name")
    if cause is Cause.TEXT:
        return nul_refused()
    return _storage_error(error, cause)


def nul_refused() -> UsageError:
    """The error for a text that not every database can hold."""
    return UsageError("a text holds the character NUL", hint="leave it out")


def _storage_error(error: SQLAlchemyError, cause: Cause) -> StorageError:
    driver = error.orig if isinstance(error, DBAPIError) else None
    of_postgres = driver is not None and postgres_codes.is_of_postgres(driver)
    told = (postgres_codes.TOLD if of_postgres else sqlite.TOLD).get(cause)
    words = str(driver if driver is not None else error).splitlines() or [""]
    if told is None:
        return StorageError(f"the repository cannot be used: {words[0].lower()}")
    message, hint = told
    if cause in {Cause.UNREACHABLE, Cause.CANNOT_OPEN, Cause.NOT_ADMITTED} and of_postgres:
        message = f"{message}: {foreign_words.of(words[0])}"
    kind = StorageUnavailableError if of_postgres and cause in _PASSING else StorageError
    return kind(message, hint=hint)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    with contextlib.closing(cursor):
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
