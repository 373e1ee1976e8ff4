"""The coordination service of a single node: an SQLite database and lock files.

Only the standard library is used, since every command starts here (F13). A missing database is an error and is never
created silently: an empty configuration would look like a new installation. A lock is a lock of the kernel, which
releases it when its holder dies and never before; a token in the database counts the holders, so a lease is lost only
if somebody removes the lock's file. A process must not fork while the coordinator is open, since SQLite's locks do not
survive that; children are started by exec.
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from strongroom.coordination import locks
from strongroom.coordination.base import LOCKS, Change, Group, Lease, Versioned
from strongroom.coordination.kernel_locks import KernelLocks
from strongroom.coordination.leases import Leases, lease_lost
from strongroom.errors import (
    ConflictError,
    CoordinationError,
    OutcomeUnknown,
    StorageError,
    UsageError,
)
from strongroom.system import disk, durable

_APPLICATION_ID = 0x5352434F
"""`SRCO`, the number in the database's header that marks it as ours."""
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL, digest BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""
_BUSY_S = 10.0
"""How long one process waits for another's transaction, which takes milliseconds."""
_WIPE_BUSY_MS = 200
_WATCH_POLL_S = 0.25
_FILE_MODE = 0o600
_COLUMNS = "key, version, value, digest"
_NOT_SYNCED = "SQLITE_IOERR_FSYNC"
"""SQLite's error for a commit that is written, and that the disk does not confirm."""
_HINT = "restore the coordination database from a backup"


class LocalCoordinator:
    """Versioned values in SQLite (WAL, synced at every commit), locks by `flock`."""

    def __init__(
        self, path: Path, locks_dir: Path, *, node_id: str = "node1", holder: str = ""
    ) -> None:
        """Take the paths; nothing is opened before the first use.

        Args:
            path: The database, made by `create`.
            locks_dir: Folder of the lock files.
            node_id: The id of the only member.
            holder: Words for the holder of our locks, shown to other users who wait for one.
        """
        self._path = path
        self._node_id = node_id
        self._holder = holder or f"process {os.getpid()}"
        self._locks = KernelLocks(locks_dir, self._holder)
        self._connection: sqlite3.Connection | None = None
        self._guard = threading.Lock()
        #: Each stands on the descriptor of a locked file.
        self._leases = Leases[int]()

    @property
    def board(self) -> None:
        """A single node has no board."""
        return

    @staticmethod
    def create(path: Path, locks_dir: Path) -> None:
        """Make an empty database and the folder of locks; leaves a database that exists, so that a call may be repeated."""
        for folder in (path.parent, locks_dir):
            durable.make_folder(folder)
        if path.exists() and path.stat().st_size:
            return
        # SQLite would create the file by the umask; its -wal and -shm files get the mode of this one
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
        """The value of a key; None if the key does not exist."""
        with self._guard, _translated(self._path):
            return _read(self._open(), key)

    def members(self, group: Group = Group.NODES) -> list[str]:  # noqa: ARG002  it is in each of them
        """The id of this node, the only member."""
        return [self._node_id]

    def alive(self, group: Group = Group.NODES) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing is to be done: the only node is alive as long as anybody asks."""
        return nullcontext()

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The entries whose keys begin with a prefix, by key, as one query sees them; without one, all but locks."""
        if prefix and not prefix.endswith("/"):
            raise UsageError(f"{prefix[:80]!r} is no prefix of keys: it does not end with '/'")
        wanted = "key > ? AND key < ?" if prefix else "NOT (key > ? AND key < ?)"
        query = f"SELECT {_COLUMNS} FROM entries WHERE {wanted} ORDER BY key"  # noqa: S608
        # "0" is the character after "/", so exactly the keys that begin with the prefix lie between these bounds
        bounded = prefix or LOCKS
        bounds = (bounded, f"{bounded[:-1]}0")
        with self._guard, _translated(self._path):
            rows = self._open().execute(query, bounds).fetchall()
            return {row[0]: _checked(*row) for row in rows}

    def version(self, key: str) -> int:
        """The version of a key's value, 0 if the key does not exist."""
        with self._guard, _translated(self._path):
            query = "SELECT version FROM entries WHERE key = ?"
            row = self._open().execute(query, (key,)).fetchone()
            return row[0] if row else 0

    def recent_version(self, key: str, age_s: float) -> int:  # noqa: ARG002  it lies beside us: the present one costs no more
        """The present version of a key's value, 0 if the key does not exist."""
        return self.version(key)

    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        """Apply all changes in one transaction, or none; synced when it returns."""
        for key in changes:
            if key.startswith(LOCKS):
                raise UsageError(f"the entry {key[:80]!r} is written by the coordination alone")
        leases = self._leases.of_put(lease)
        with self._guard, _translated(self._path):
            with _transaction(self._open()) as connection:
                for one in leases:
                    _check_lease(connection, one)
                for key, change in changes.items():
                    _apply(connection, key, change)
            if any(change.value is None for change in changes.values()):
                _wipe(self._open())

    def outcome(self, change_id: str) -> bool:
        """Refuse to say: an outcome that a failing disk left open is decided when the disk works again.

        Raises:
            CoordinationError: Always.
        """
        raise CoordinationError(
            f"the coordination database keeps no record of the change {change_id!r}",
            hint="look at the present state",
        )

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[Lease]:
        """Hold a named lock over all processes; the kernel frees it when its holder dies."""
        locks.check_name(name)
        return self._hold(name, wait_s)

    def under(self, lease: Lease) -> AbstractContextManager[None]:
        """Have the puts of the calling thread made under a lease, until the end of the block."""
        return self._leases.under(lease)

    def epochs(self) -> Mapping[str, int]:
        """None: a lock of the kernel is not lost while its holder lives."""
        return {}

    def is_in_force(self, lease: Lease) -> bool:
        """Whether a lease is in force still: the kernel takes no lock away, unless its file is removed."""
        handle = self._leases.find(lease)
        return (
            handle is not None
            and self._locks.is_held(handle, lease.name)
            and self.version(LOCKS + lease.name) == lease.token
        )

    def holder(self, name: str) -> str:
        """The id of this node, if one of its processes holds a lock; else empty."""
        locks.check_name(name)
        return self._node_id if self._locks.is_taken(name) else ""

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key; returns the function that stops it."""
        stopped = threading.Event()
        seen = self.get(key)

        def follow() -> None:
            last = seen
            while not stopped.wait(_WATCH_POLL_S):
                # an unreadable database is reported by the next call that reads it; the watch goes on until it works
                # again
                with suppress(CoordinationError, StorageError):
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

    def collect(self) -> int:
        """Nothing is left over: each transaction is all or nothing, and keeps no mark."""
        return 0

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
                # a value that was deleted or replaced is overwritten in its page, whatever this SQLite does by default
                connection.execute("PRAGMA secure_delete = ON")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _hold(self, name: str, wait_s: float) -> Iterator[Lease]:
        # both scopes of locks are the kernel's here, since all processes are on this machine
        with (
            self._locks.hold(name, wait_s) as handle,
            self._leases.held(self._new_lease(name), handle) as lease,
        ):
            yield lease

    def _new_lease(self, name: str) -> Lease:
        """Increase the lock's token, so that no earlier holder of the lock can put anything from now on."""
        key = LOCKS + name
        with self._guard, _translated(self._path):
            opened = self._open()
            # Not synced, which would cost each command a disk write. A power cut may take the new token back, but it
            # also ends every earlier holder against whom the token protects.
            opened.execute("PRAGMA synchronous = NORMAL")
            try:
                with _transaction(opened) as connection:
                    present = _read(connection, key)
                    token = present.version if present else 0
                    _apply(connection, key, Change(self._holder.encode(), token))
            finally:
                opened.execute("PRAGMA synchronous = FULL")
            return Lease(name, token + 1)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        if getattr(error, "sqlite_errorname", "") == _NOT_SYNCED:
            _overwrite_last(connection)
        raise


def _wipe(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log behind a removal: older values lie in it, also that of a key that was retired.

    A reader in another process may keep it busy for a moment; then the next removal empties it, or the last process that
    closes the database. The removal itself was made, whatever a disk says here.
    """
    with suppress(sqlite3.Error):
        connection.execute(f"PRAGMA busy_timeout = {_WIPE_BUSY_MS}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with suppress(sqlite3.Error):
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")


def _overwrite_last(connection: sqlite3.Connection) -> None:
    """Write over a transaction that stands in the log and could not be synced.

    Nobody sees that transaction now. But the log on the disk may hold all of it, and whoever opens the database after a
    crash would apply it.

    Raises:
        OutcomeUnknown: The disk refuses this, too.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        # changes nothing, and is written all the same: to the place in the log where that transaction stands
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise OutcomeUnknown(
            f"the disk of the coordination database failed while it was synced: {error}; the change is not"
            " visible now, and may be there after a restart",
            hint="check the disk and the system's log, then look at the present state",
        ) from error


def _read(connection: sqlite3.Connection, key: str) -> Versioned | None:
    query = f"SELECT {_COLUMNS} FROM entries WHERE key = ?"  # noqa: S608
    row = connection.execute(query, (key,)).fetchone()
    return _checked(*row) if row else None


def _checked(key: str, version: int, value: bytes, digest: bytes) -> Versioned:
    if _digest(key, version, value) != digest:
        raise CoordinationError(
            f"the entry {key!r} of the coordination database is damaged", hint=_HINT
        )
    return Versioned(value, version)


def _apply(connection: sqlite3.Connection, key: str, change: Change) -> None:
    present = _read(connection, key)
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


def _check_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    present = _read(connection, LOCKS + lease.name)
    if present is None or present.version != lease.token:
        raise lease_lost(lease.name)


def _digest(key: str, version: int, value: bytes) -> bytes:
    # SQLite has no checksums: a flipped bit in a value would be read without an error, and become the configuration
    # (coordination.md 1.3)
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
        problem = disk.database_problem(error, "the coordination database", path)
        # the database is whole in these cases, so the hint must not be to restore a backup with older values
        if problem is not None:
            raise problem from error
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
