"""The database of the job engine: on a single node a file beside the repository; its tables belong to the engine.

It records how far each running job is. If it is lost, a job is run from its beginning, and decides anew on each
extract, so nothing is lost but time. A damaged file is therefore renamed and replaced, and never stops the node's jobs.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from strongroom.errors import StorageError, StrongroomError
from strongroom.repository.dialects.causes import Cause
from strongroom.repository.dialects.sqlite import cause_of
from strongroom.system import disk
from strongroom.system.compat import override
from strongroom.system.durable import FileModes

_BUSY_S: Final = 30.0
"""How long a thread waits for another one's transaction, which takes milliseconds."""
_SPARE_PAGES: Final = 64
"""How many empty pages stay in the file, since the next jobs need them again."""
_INCREMENTAL: Final = 2
"""The value of `auto_vacuum` with which empty pages can be returned to the file system a few at a time."""

_log = logging.getLogger("backgrounder.Jobs")


class WorkflowDatabase(Protocol):
    """Where the job engine keeps how far its workflows are."""

    @property
    def schema(self) -> str | None:
        """The schema of the engine's tables; None where the database is the engine's alone."""
        ...

    def open(self) -> Engine:
        """Connections for the engine.

        Raises:
            StorageError: The database cannot be opened.
        """
        ...

    def shrink(self) -> None:
        """Return empty pages to the file system."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...

    def problem(self, error: BaseException) -> StrongroomError | None:
        """The error of ours for an error of this database; None for any other."""
        ...


class WorkflowFile:
    """A file of SQLite; implements `WorkflowDatabase`."""

    def __init__(self, path: Path, file_modes: FileModes) -> None:
        """Keep the path; nothing is opened yet.

        Args:
            path: The file.
            file_modes: Mode and group of the file.
        """
        self.schema: str | None = None
        self._path = path
        self._file_modes = file_modes
        self._opened: Engine | None = None

    def open(self) -> Engine:
        """An engine over the file, which is created if missing; a damaged file is renamed first."""
        self._opened = open_workflow_database(self._path, self._file_modes)
        return self._opened

    def shrink(self) -> None:
        """Return empty pages to the file system; a file that is in use stays as it is."""
        shrink(self._path)

    def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            self._opened.dispose()

    def problem(self, error: BaseException) -> StrongroomError | None:
        """The error of ours for an error of SQLite or of the disk; None for any other."""
        return disk.database_problem(error, "the database of running jobs", self._path)


def open_workflow_database(path: Path, file_modes: FileModes) -> Engine:
    """An SQLAlchemy engine over the file, which is created if missing; a damaged file is renamed first.

    The path is passed in a function and not in a URL: the job engine prints URLs, and a path that is no UTF-8 cannot be
    printed.

    Raises:
        StorageError: The file can be neither created nor opened.
    """
    try:
        if _is_damaged(path):
            _put_aside(path)
        _create(path, file_modes)
        _give_back(path, whole=True)
    except sqlite3.Error as error:
        what = f"the database of running jobs {path}"
        told = disk.database_problem(error, what, path)
        raise told or StorageError(f"{what} cannot be used: {error}") from error
    except OSError as error:
        raise disk.problem(f"the database of running jobs {path} cannot be used", error) from error
    named = URL.create("sqlite", database=path.name)
    engine = create_engine(named, creator=lambda: _connect(path), poolclass=QueuePool)
    _Idle().follow(engine)
    return engine


def shrink(path: Path) -> None:
    """Return empty pages to the file system; a file that is in use stays as it is."""
    with contextlib.suppress(sqlite3.Error):
        _give_back(path, whole=False)


class _Idle:
    """Keeps track of the connections that no thread uses, and has every connection closed once the engine is disposed of.

    The job engine's own threads outlive the engine for a moment, and return their connections to a pool that is
    disposed of. Such a connection is closed by the thread that used it: if another thread closed it while a statement
    runs on it, the process would end with SIGSEGV.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: set[_Closable] = set()
        self._is_disposed = False

    def follow(self, engine: Engine) -> None:
        """Listen to the events of an engine's pools."""
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._returned)
        event.listen(engine, "engine_disposed", self._disposed)

    def _taken(self, connection: "_Closable", _record: object, _proxy: object) -> None:
        with self._lock:
            self._idle.discard(connection)
            if connection.is_closed:
                raise DisconnectionError  # the pool opens another one

    def _returned(self, connection: "_Closable | None", record: ConnectionPoolEntry) -> None:
        with self._lock:
            if not self._is_disposed:
                if connection is not None:
                    self._idle.add(connection)
                return
        record.invalidate()

    def _disposed(self, _engine: Engine) -> None:
        with self._lock:
            self._is_disposed = True
            while self._idle:
                self._idle.pop().close()


class _Closable(sqlite3.Connection):
    """A connection that knows whether it was closed."""

    is_closed = False

    @override
    def close(self) -> None:
        super().close()
        self.is_closed = True


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_S,
        isolation_level="IMMEDIATE",
        check_same_thread=False,
        factory=_Closable,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _is_damaged(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with contextlib.closing(_connect(path)) as connection:
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if cause_of(error) is Cause.DAMAGED:
                return True
            raise
    return bool(found[0] != "ok")


def _put_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    # a journal of the damaged file must not be applied to the new one
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _log.error(
        "the database of running jobs was damaged: it is kept as %s, and the jobs begin anew", aside
    )


def _create(path: Path, file_modes: FileModes) -> None:
    """Create the file with its mode, which SQLite also gives to the journal."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if file_modes.group is not None:
            os.fchown(handle, -1, file_modes.group)
        os.fchmod(handle, file_modes.file_mode)
    finally:
        os.close(handle)


def _give_back(path: Path, *, whole: bool) -> None:
    with contextlib.closing(_connect(path)) as connection:
        connection.isolation_level = None
        kind = connection.execute("PRAGMA auto_vacuum").fetchone()[0]
        if kind != _INCREMENTAL:
            if whole:  # of a program before this one, or new
                connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
                connection.execute("VACUUM")
            return
        spare = connection.execute("PRAGMA freelist_count").fetchone()[0] - _SPARE_PAGES
        if spare > 0:
            # by `executescript`: `execute` would run a single step of the statement, and each step returns a single
            # page
            connection.executescript(f"PRAGMA incremental_vacuum({spare})")
