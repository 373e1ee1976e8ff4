"""Files that hold secrets on their way out and in: a private regular file, or a named pipe that somebody reads.

Where they may go is `filestore.targets`' rule, with one sentence more: a pipe of which somebody else could read is
refused. What came out of a pipe too short, or was not taken out of it, is an error that counts the bytes (C-15, C-16).
"""

from pathlib import Path

from strongroom.cli.named_files import small_files
from strongroom.errors import UsageError
from strongroom.filestore import targets
from strongroom.system import durable
from strongroom.system.plural import counted


def check_target(path: Path) -> None:
    """Refuse a path that `write_private` would refuse, before any secret is opened.

    Raises:
        UsageError: The path is a link, a folder or a device, or its folder does not exist.
        PermissionDeniedError: The path is a pipe that other users can read.
    """
    targets.look(path, private=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all, or write to an existing pipe until its reader has taken everything.

    Raises:
        UsageError: The path is a link, a folder or a device.
        PermissionDeniedError: The path is a pipe that other users can read.
        StorageError: The file cannot be written, or the pipe's reader has ended or does not read.
    """
    if targets.look(path, private=True) is targets.Kind.PIPE:
        with targets.feeding(path, private=True) as sink:
            sink.write_at(0, data)
    else:
        durable.write_file(path, data)


def read_once(path: Path, limit: int) -> bytes:
    """All bytes of a file, a pipe or standard input (`-`), by one sequential read to its end.

    Raises:
        UsageError: The input has more than `limit` bytes, or is a folder or a device.
        StorageError: The input cannot be read.
    """
    data = small_files.read_bytes(str(path), "such a file", limit=limit)
    if len(data) > limit:
        raise UsageError(
            f"more than {limit} bytes read from {path}", hint="such a file is never that long"
        )
    return data


def written_sentence(count: int, path: Path) -> str:
    """How much was read, for every error about what was in it."""
    return f"{counted(count, 'byte')} read from {path}"
