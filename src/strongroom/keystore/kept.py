"""Keeps a copy of a key file beside it before the file is replaced (findings K7).

A keystore that opens nothing today may be the one that an older backup needs, or its password may be found again.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from strongroom.clock import format_utc
from strongroom.system import disk, durable

_MAX_BYTES = 1 << 20


def keep(path: Path, moment: datetime) -> Path | None:
    """Keep a file as `<name>.replaced-<time>`, readable by its owner only; returns that path, or None without a file.

    A file is copied and stays in its place; a link, a folder or an unreadable file is moved. Contents that were kept
    before are not kept twice, so that a repair that is killed and run again leaves one copy.

    Raises:
        StorageError: The copy cannot be made; the file stays where it was.
    """
    try:
        data = _read(path)
        if data is None:
            return _moved(path, path, moment)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.problem(f"cannot keep {path} aside", error) from error
    for earlier in sorted(path.parent.glob(f"{path.name}.replaced-*")):
        with suppress(OSError):
            if _read(earlier) == data:
                return earlier
    # written under a fixed name first, so that the next run replaces the leftover of a killed one
    staged = path.with_name(f"{path.name}.replaced")
    durable.write_file(staged, data, durable.PRIVATE)
    try:
        target = _moved(staged, path, moment)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise disk.problem(f"cannot keep {path} aside", error) from error
    return target


def _read(path: Path) -> bytes | None:
    """The bytes of a regular file of usual size; None if the path is something else, or cannot be read."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return None
    with os.fdopen(handle, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    return data if len(data) <= _MAX_BYTES else None


def _moved(source: Path, path: Path, moment: datetime) -> Path:
    """Rename a copy of `path` to a free name of the form `<name>.replaced-<time>`."""
    target = next(_names(path, moment))
    source.rename(target)
    if stat.S_ISREG(target.lstat().st_mode):
        target.chmod(durable.PRIVATE.file_mode)
    durable.sync_folder(path.parent)
    return target


def _names(path: Path, moment: datetime) -> Iterator[Path]:
    """Names to try, the simplest first."""
    stamp = format_utc(moment).replace(":", "")
    for number in count(1):
        target = path.with_name(f"{path.name}.replaced-{stamp}{f'-{number}' if number > 1 else ''}")
        if not os.path.lexists(target):
            yield target
