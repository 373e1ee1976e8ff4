"""Whether a node is served now: a lock that dies with its holder, and a note of where it listens."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from strongroom import durable
from strongroom.errors import ConflictError, StorageError
from strongroom.topology.paths import DataPaths


@dataclass(frozen=True)
class Running:
    """A node that is served.

    Attributes:
        url: Where it listens.
        pid: Process id of the web service.
        backgrounder_pid: Process id of the backgrounder, its child.
    """

    url: str
    pid: int
    backgrounder_pid: int


def lock_path(paths: DataPaths) -> Path:
    """The lock that `serve` holds as long as it lives."""
    return paths.locks / "serve.lock"


def note_path(paths: DataPaths) -> Path:
    """Where `serve` says where it listens."""
    return paths.tabsvc / "serve.json"


def control_note_path(paths: DataPaths) -> Path:
    """Where `serve` says what its Unix socket is called."""
    return paths.tabsvc / "control.path"


def socket_name(paths: DataPaths) -> str:
    """The name of the node's Unix socket, by what `serve` said: `@` and its name, which is no file's (unix(7)).

    Raises:
        FileNotFoundError: It said nothing.
    """
    return control_note_path(paths).read_text()


def socket_address(name: str) -> str:
    """The name as the kernel takes it: its first byte is zero instead of `@`."""
    return "\0" + name.removeprefix("@")


@contextmanager
def sole_server(paths: DataPaths) -> Iterator[None]:
    """Hold the node's serve lock; the kernel frees it when the process dies.

    Raises:
        ConflictError: Another process serves the node.
        StorageError: The lock file cannot be made.
    """
    handle = _open_lock(paths)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            found = _read_note(paths)
            where = f" at {found.url}, process {found.pid}" if found else ""
            raise ConflictError(f"the node {paths.root} is served already{where}") from error
        yield
    finally:
        os.close(handle)


def announce(paths: DataPaths, running: Running, access: durable.Access) -> None:
    """Say where the node listens."""
    durable.write_file(note_path(paths), json.dumps(asdict(running)).encode(), access)


def find(paths: DataPaths) -> Running | None:
    """Who serves the node, or None if nobody does."""
    handle = _open_lock(paths)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_note(paths) or Running("", 0, 0)  # it is starting
    else:
        return None
    finally:
        os.close(handle)


def _open_lock(paths: DataPaths) -> int:
    path = lock_path(paths)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from error


def _read_note(paths: DataPaths) -> Running | None:
    try:
        return Running(**json.loads(note_path(paths).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
