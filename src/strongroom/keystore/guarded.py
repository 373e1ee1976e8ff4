"""Reading files that guard keys: refused unless owner and mode keep others away (C-10, K-06)."""

import os
import stat
from pathlib import Path

from strongroom import os_users
from strongroom.errors import KeystoreError

_GROUP_WRITE = stat.S_IWGRP
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_REPAIR = "run 'tsm security keystore repair'"
_LEAKED = "if others may have read it, run 'tsm security regenerate-internal-tokens' afterwards"


class MissingFileError(KeystoreError):
    """The file is not there."""


def read(path: Path, limit: int) -> bytes:
    """The bytes of a file that nobody else may change and no stranger may read.

    Raises:
        MissingFileError: There is no such file.
        KeystoreError: Loose permissions, a strange owner, a link, too large, or not readable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing", hint=_REPAIR) from error
    except OSError as error:
        raise KeystoreError(
            f"{path} cannot be opened: {error.strerror}",
            hint="run this as the owner of the data directory; the file may not be a link",
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
        # one of root's too: a node's files are all its owner's, who alone works on it
        raise KeystoreError(
            f"{path} belongs to the user {os_users.user_name(status.st_uid)},"
            f" and this runs as {os_users.user_name(me)}",
            hint=f"find out why, then run 'chown {os_users.user_name(me)} {path}' as root; {_LEAKED}",
        )
