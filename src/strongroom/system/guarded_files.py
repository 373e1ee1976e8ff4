"""Reads files that protect keys, and refuses them if owner or mode let other users in (C-10, K-06).

A key file that others could read may have leaked, and one that they could write may be theirs: the administrator must
know before the node goes on using it.
"""

import os
import stat
from pathlib import Path

from strongroom.errors import KeystoreError
from strongroom.system import disk, os_users

_GROUP_WRITE = stat.S_IWGRP
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_REPAIR = "run 'tsm security keystore repair'"
_NOT_OPENED = "run this as the owner of the data directory; the file may not be a link"
_LEAKED = "if others may have read it, run 'tsm security regenerate-internal-tokens' afterwards"


class MissingFileError(KeystoreError):
    """The key file does not exist."""


def read(path: Path, limit: int) -> bytes:
    """Read a file that no other user may change, and that only its group may read.

    Raises:
        MissingFileError: The file does not exist.
        KeystoreError: The file has loose permissions or another owner, is a link, is too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing", hint=_REPAIR) from error
    except OSError as error:
        raise KeystoreError(
            f"{path} cannot be opened: {disk.reason(error)}",
            hint=disk.hint_for(error, _NOT_OPENED),
        ) from error
    try:
        status = os.fstat(handle)
        _check(path, status)
        if status.st_size > limit:
            raise KeystoreError(f"{path} has {status.st_size} bytes, more than {limit}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)


def _check(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise KeystoreError(f"{path} is not an ordinary file")
    if mode & (_GROUP_WRITE | _OTHERS):
        who = "others on this machine" if mode & _OTHERS else "its group"
        what = "read" if not mode & (_GROUP_WRITE | stat.S_IWOTH) else "change"
        good = mode & ~(_GROUP_WRITE | _OTHERS | 0o111)
        raise KeystoreError(
            f"{path} has mode {mode:04o}: {who} may {what} it",
            hint=f"run 'chmod {good:04o} {path}'; {_LEAKED}",
        )
    me = os.geteuid()
    if status.st_uid != me:
        # even root's file is refused: all files of a node belong to the user who runs it
        raise KeystoreError(
            f"{path} belongs to the user {os_users.user_name(status.st_uid)},"
            f" and this runs as {os_users.user_name(me)}",
            hint=f"find out why, then run 'chown {os_users.user_name(me)} {path}' as root; {_LEAKED}",
        )
