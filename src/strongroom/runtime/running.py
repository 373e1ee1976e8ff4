"""Finds whether a node is served now: a lock that the kernel releases with its holder, and a file with the address."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from strongroom.errors import ConflictError
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk, durable

MAINTAINED: Final = "in maintenance"
"""The word for a web service that turns clients away, as long as somebody wants that."""
OBJECT_STORE: Final = "object store"
"""The name under which a node tells, among its processes, how it reaches the store of its extracts."""


@dataclass(frozen=True)
class Running:
    """A node that is served.

    Attributes:
        url: The address on which the node listens; empty without a web service.
        pid: Process id of the web service.
        backgrounder_pid: Process id of the first backgrounder, its child.
        more_backgrounders: Process ids of the others, by their places from 1; 0 where there is none.
    """

    url: str
    pid: int
    backgrounder_pid: int
    more_backgrounders: tuple[int, ...] = ()

    @property
    def backgrounders(self) -> Mapping[str, int]:
        """The process ids by name: the first is always there, another one while it lives."""
        more = enumerate(self.more_backgrounders, 1)
        return {
            backgrounder(0): self.backgrounder_pid,
            **{backgrounder(place): pid for place, pid in more if pid},
        }

    @property
    def has_web(self) -> bool:
        """Whether the node has a web service; a server that is starting has not said its number yet."""
        return bool(self.url) or not self.pid


def backgrounder(place: int) -> str:
    """The name of a backgrounder in reports and messages, by its place."""
    return f"backgrounder {place}" if place else "backgrounder"


def lock_path(paths: DataPaths) -> Path:
    """The path of the lock that `serve` holds as long as it lives."""
    return paths.locks / "serve.lock"


def note_path(paths: DataPaths) -> Path:
    """The path of the file in which `serve` records where it listens."""
    return paths.tabsvc / "serve.json"


def control_note_path(paths: DataPaths) -> Path:
    """The path of the file in which `serve` records the name of its Unix socket."""
    return paths.tabsvc / "control.path"


def socket_name(paths: DataPaths) -> str:
    """The name of the node's Unix socket: `@` and an abstract name, which is no file (unix(7)).

    Raises:
        FileNotFoundError: No server has recorded a name.
    """
    return control_note_path(paths).read_text()


@contextmanager
def sole_server(paths: DataPaths) -> Iterator[None]:
    """Hold the node's serve lock; the kernel frees it when the process dies.

    Raises:
        ConflictError: Another process serves the node.
        StorageError: The lock file cannot be created.
    """
    handle = _open_lock(paths)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            found = _read_note(paths)
            where = f" at {found.url}, process {found.pid}" if found else ""
            raise ConflictError(f"the node {paths.root} is served already{where}") from error
        except OSError as error:
            raise disk.problem(f"{lock_path(paths)} cannot be locked", error) from error
        # the file of a dead server names a process id that may belong to another program by now
        note_path(paths).unlink(missing_ok=True)
        try:
            yield
        finally:
            note_path(paths).unlink(missing_ok=True)
    finally:
        os.close(handle)


def announce(paths: DataPaths, running: Running, file_modes: durable.FileModes) -> None:
    """Record where the node listens."""
    durable.write_file(note_path(paths), json.dumps(asdict(running)).encode(), file_modes)


def find(paths: DataPaths) -> Running | None:
    """The server of the node; None if the node is not served."""
    handle = _open_lock(paths)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # the server is starting, and has recorded nothing yet
        return _read_note(paths) or Running("", 0, 0)
    except OSError as error:
        raise disk.problem(f"{lock_path(paths)} cannot be locked", error) from error
    else:
        return None
    finally:
        os.close(handle)


def trouble(found: Running) -> dict[str, str]:
    """The processes of a served node that do not work; a process that was not started on purpose is left out.

    Returns:
        By `web service`, `backgrounder` and `backgrounder 1`, what is wrong with it.
    """
    told = {}
    for name, pid in (("web service", found.pid), *found.backgrounders.items()):
        state = disk.state_of(pid) if pid else "running"
        if state == "gone":
            told[name] = f"process {pid} has ended, and no other has taken its place yet"
        elif state == "stopped":
            told[name] = f"process {pid} is stopped by a signal or a debugger"
    return told


def _open_lock(paths: DataPaths) -> int:
    path = lock_path(paths)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise disk.problem(f"cannot open {path}", error) from error


def _read_note(paths: DataPaths) -> Running | None:
    try:
        return Running(**json.loads(note_path(paths).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
