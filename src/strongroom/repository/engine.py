"""Opens the database, and translates its errors.

Only this module knows the kind of database: SQLite in a file now, PostgreSQL perhaps later. SQLite is used with a
write-ahead log, every commit synced (`synchronous=FULL`), foreign keys checked, and the write lock taken at the start
of a writing transaction (`BEGIN IMMEDIATE`). So a transaction that reads and then writes never loses another's change,
and never fails in the middle for a lock.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from strongroom.errors import ConflictError, StorageError, StrongroomError
from strongroom.repository.dialects import sqlite
from strongroom.repository.dialects.causes import Cause
from strongroom.system import disk, durable

READ_ONLY = "strongroom_read_only"
BUSY_TIMEOUT_S = (
    30  # longer than any transaction of ours; then the writer is told, not left hanging
)
_POOL_SIZE = 8
# a connection for each thread of the pools of the web service and the backgrounder
_POOL_OVERFLOW = 56

_CAUSES_OF: Final[Mapping[str, Callable[[BaseException], Cause]]] = {"sqlite": sqlite.cause_of}
"""By the name of SQLAlchemy's dialect; a further database is a module of `dialects`, and a line here."""
_TOLD: Final = {
    Cause.LOCKED: ("the repository is locked by another process", "try again"),
    Cause.NO_ROOM: ("the disk of the repository is full", disk.FREE_SPACE),
    Cause.DAMAGED: ("the repository is damaged", "restore it from a backup"),
    Cause.READ_ONLY: ("the repository may not be written", "check owner and mode of the file"),
    Cause.CANNOT_OPEN: ("the repository cannot be opened", "check the path, its owner and mode"),
}


def sqlite_url(path: Path) -> URL:
    """The URL of a database file.

    A URL object and not a text: in a text, `%2F` in the path would become a slash, and characters behind `?` options. A
    data directory may have any name that the file system allows, and must keep its databases inside.
    """
    return URL.create("sqlite", database=str(path))


def open_engine(url: str | URL) -> Engine:
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


def cause_of(error: SQLAlchemyError, dialect: str = "sqlite") -> Cause:
    """The cause for which the database refused, by the code of its driver's error."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return Cause.OTHER
    return _CAUSES_OF[dialect](error.orig)


def translated(error: SQLAlchemyError, url: str | URL = "") -> StrongroomError:
    """The error of ours for a database error, without the values of the statement, which may be secret."""
    path = _sqlite_file(url) if url else None
    if isinstance(error, DBAPIError) and path is not None:
        told = disk.database_problem(error.orig or error, "the repository", path)
        if told is not None:
            return told
    if isinstance(error, PoolTimeoutError):
        return StorageError("too many transactions at once", hint="try again")
    cause = cause_of(error)
    if cause is Cause.NO_REFERENCE:
        return ConflictError("something that this refers to is gone, or still referred to")
    if cause is Cause.NOT_UNIQUE:
        return ConflictError("it exists already", hint="choose another name")
    if cause in _TOLD:
        message, hint = _TOLD[cause]
        return StorageError(message, hint=hint)
    words = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return StorageError(f"the repository cannot be used: {words.splitlines()[0].lower()}")


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
