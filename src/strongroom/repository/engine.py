"""Opens the database, and says what is wrong with it in our words.

The only place that knows which database there is: SQLite in a file now, PostgreSQL by the same code
later. SQLite is used with a write-ahead log, every commit synced (`synchronous=FULL`), foreign keys
checked, and the write lock taken at the start of a writing transaction (`BEGIN IMMEDIATE`): a
read-modify-write is never lost and never fails half-way for a lock.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from strongroom import durable
from strongroom.errors import ConflictError, StorageError, StrongroomError

READ_ONLY = "strongroom_read_only"
BUSY_TIMEOUT_S = (
    30  # longer than any transaction of ours; then the writer is told, not left hanging
)
_POOL_SIZE = 8
_POOL_OVERFLOW = 56  # one connection per thread of the web service's and backgrounder's pools

_CAUSES = (
    ("locked", "the repository is locked by another process", "try again"),
    ("busy", "the repository is locked by another process", "try again"),
    ("disk is full", "the disk of the repository is full", "free some space and try again"),
    ("disk i/o error", "the disk of the repository failed", "check the disk and the system's log"),
    ("malformed", "the repository is damaged", "restore it from a backup"),
    ("not a database", "the repository is damaged", "restore it from a backup"),
    ("readonly database", "the repository may not be written", "check owner and mode of the file"),
    ("unable to open", "the repository cannot be opened", "check the path, its owner and mode"),
    ("no such table", "the repository has no tables", "create the node with 'strongroom init'"),
)


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path}"


def open_engine(url: str) -> Engine:
    """An engine for the database that the URL names; nothing is opened yet."""
    engine = create_engine(
        url,
        hide_parameters=True,  # values must not get into messages and logs
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=BUSY_TIMEOUT_S,
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def create_file(url: str, access: durable.Access) -> None:
    """Create SQLite's file with a mode that keeps others out; its log files take the same mode.

    Raises:
        StorageError: The file cannot be created.
    """
    database = make_url(url).database
    if not url.startswith("sqlite") or not database:
        return
    path = Path(database)
    durable.make_folder(path.parent, access)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if access.group is not None:
                os.fchown(descriptor, -1, access.group)
            os.fchmod(descriptor, access.file_mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"the repository {path} cannot be created: {error.strerror}",
            hint="check the directory, its owner and mode",
        ) from error


def missing_file(url: str) -> Path | None:
    """SQLite's file if there is none: SQLite would make an empty one in silence."""
    database = make_url(url).database
    if not url.startswith("sqlite") or not database or Path(database).exists():
        return None
    return Path(database)


def translated(error: SQLAlchemyError) -> StrongroomError:
    """The database's error in our tree, in words and without the values of the statement."""
    cause = str(error.orig).lower() if isinstance(error, DBAPIError) else str(error).lower()
    if isinstance(error, IntegrityError):
        if "foreign key" in cause:
            return ConflictError("something that this refers to is gone, or still referred to")
        return ConflictError("it exists already", hint="choose another name")
    if isinstance(error, PoolTimeoutError):
        return StorageError("too many transactions at once", hint="try again")
    for pattern, message, hint in _CAUSES:
        if pattern in cause:
            return StorageError(message, hint=hint)
    return StorageError(f"the repository cannot be used: {cause.splitlines()[0]}")


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
