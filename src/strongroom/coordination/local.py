"""The coordination service of a single node: an SQLite database and lock files.

It keeps the promises of the port with the standard library alone, since every command starts here
(F13). It never creates its database by the way: a missing one is an error, not an empty one.
A process may not be forked while it is open: SQLite's locks do not survive that (children are
started by exec).
"""

import fcntl
import hashlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from strongroom import durable
from strongroom.coordination.base import Change, Versioned
from strongroom.errors import ConflictError, CoordinationError, UsageError

_APPLICATION_ID = 0x5352434F
"""`SRCO`: the magic in the database's header."""
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""
_BUSY_S = 10.0
"""How long one process waits for another's transaction, which takes milliseconds."""
_LOCK_POLL_S = 0.02
_WATCH_POLL_S = 0.25
_HOLDER_BYTES = 200
_FILE_MODE = 0o600
_LOCK_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_HINT = "restore the coordination database from a backup"


class LocalCoordinator:
    """Versioned values in SQLite (WAL, synced at every commit), locks by `flock`."""

    def __init__(
        self, path: Path, locks_dir: Path, *, node_id: str = "node1", holder: str = ""
    ) -> None:
        """Take the places; nothing is opened before the first use.

        Args:
            path: The database, made by `create`.
            locks_dir: Folder of the lock files.
            node_id: The id of the one member.
            holder: Who holds our locks, in words that others may read.
        """
        self._path = path
        self._locks = locks_dir
        self._node_id = node_id
        self._holder = holder or f"process {os.getpid()}"
        self._connection: sqlite3.Connection | None = None
        self._guard = threading.Lock()

    @staticmethod
    def create(path: Path, locks_dir: Path) -> None:
        """Make an empty database and the folder of locks; may be repeated, keeps what is there."""
        for folder in (path.parent, locks_dir):
            durable.make_folder(folder)
        if path.exists() and path.stat().st_size:
            return
        # SQLite would take the umask; its -wal and -shm files take the mode of this one
        handle = os.open(path, os.O_RDWR | os.O_CREAT, _FILE_MODE)
        os.fchmod(handle, _FILE_MODE)
        os.close(handle)
        with _translated(path):
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                connection.execute(_SCHEMA)
                connection.execute("COMMIT")
            finally:
                connection.close()
        _sync_folder(path.parent)

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None."""
        with self._guard, _translated(self._path):
            return self._read(self._open(), key)

    def version(self, key: str) -> int:
        """The version of a key's value, 0 if there is none."""
        with self._guard, _translated(self._path):
            query = "SELECT version FROM entries WHERE key = ?"
            row = self._open().execute(query, (key,)).fetchone()
            return row[0] if row else 0

    def put(self, changes: Mapping[str, Change]) -> None:
        """Apply all changes in one transaction, or none; synced when it returns."""
        with self._guard, _translated(self._path):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                for key, change in changes.items():
                    self._apply(connection, key, change)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[None]:
        """Hold a named lock over all processes; the kernel frees it when its holder dies."""
        if re.fullmatch(_LOCK_NAME, name) is None:
            raise UsageError(f"{name[:80]!r} is no name of a lock")
        return self._hold(name, wait_s)

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key; returns the function that stops it."""
        stopped = threading.Event()
        seen = self.get(key)

        def follow() -> None:
            last = seen
            while not stopped.wait(_WATCH_POLL_S):
                # a database in trouble is the trouble of whoever reads it next; the watch goes on
                with suppress(CoordinationError):
                    present = self.get(key)
                    if present != last:
                        last = present
                        notice(present)

        thread = threading.Thread(target=follow, name=f"watch {key}", daemon=True)
        thread.start()

        def stop() -> None:
            stopped.set()
            if thread is not threading.current_thread():
                thread.join()

        return stop

    def members(self) -> list[str]:
        """This node, alone."""
        return [self._node_id]

    def close(self) -> None:
        """Close the database; it opens again at the next use."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._path.is_file():
                raise CoordinationError(
                    f"the coordination database {self._path} is missing", hint=_HINT
                )
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                _check_schema(connection, self._path)
                connection.execute("PRAGMA synchronous = FULL")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _read(self, connection: sqlite3.Connection, key: str) -> Versioned | None:
        row = connection.execute(
            "SELECT version, value, digest FROM entries WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        version, value, digest = row
        if _digest(key, version, value) != digest:
            raise CoordinationError(
                f"the entry {key!r} of the coordination database is damaged", hint=_HINT
            )
        return Versioned(value, version)

    def _apply(self, connection: sqlite3.Connection, key: str, change: Change) -> None:
        present = self._read(connection, key)
        version = present.version if present else 0
        if version != change.expected_version:
            raise ConflictError(
                f"somebody else changed {key!r}: it has version {version},"
                f" not {change.expected_version}",
                hint="look at the present state and try again",
            )
        if change.value is None:
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            return
        version += 1
        connection.execute(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
            (key, version, change.value, _digest(key, version, change.value)),
        )

    @contextmanager
    def _hold(self, name: str, wait_s: float) -> Iterator[None]:
        path = self._locks / f"{name}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise CoordinationError(f"the lock file {path} cannot be opened") from error
        try:
            self._acquire(handle, name, wait_s)
            # the file is never removed: else two processes could hold two files of one name
            with suppress(OSError):  # only tells others who holds it; a full disk stops no lock
                os.ftruncate(handle, 0)
                os.pwrite(handle, self._holder.encode()[:_HOLDER_BYTES], 0)
            yield
        finally:
            os.close(handle)

    def _acquire(self, handle: int, name: str, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, _HOLDER_BYTES, 0).decode(errors="replace")
                    raise ConflictError(
                        f"{name} is locked by {holder or 'another process'}",
                        hint="wait until it has finished, then try again",
                    ) from error
                time.sleep(_LOCK_POLL_S)
            else:
                return


def _digest(key: str, version: int, value: bytes) -> bytes:
    # SQLite has no checksum of its own: a flipped bit in a value would be read back as the truth
    return hashlib.sha256(b"%s\0%d\0%s" % (key.encode(), version, value)).digest()


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) != (_APPLICATION_ID, _SCHEMA_VERSION):
        raise CoordinationError(
            f"{path} is no coordination database of a version that is known here", hint=_HINT
        )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "no code")
        raise CoordinationError(
            f"the coordination database {path} cannot be used: {error} ({name})", hint=_HINT
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
