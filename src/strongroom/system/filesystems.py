"""Operations that some file systems lack: FAT, CIFS, NFS and FUSE may have no links, modes, locks or syncs.

Where the file system has the operation, each function uses it. Where not, the function does something else that keeps
the same promise (a file appears whole and replaces no other; other users cannot read it), or raises before anything is
lost.
"""

import errno
import fcntl
import os
import stat
from typing import NoReturn

NO_SUCH_CALL = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
"""The error numbers by which a file system reports that it lacks an operation."""
_NO_LINKS = NO_SUCH_CALL | {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV, errno.ENOENT}
_NO_LOCKS = NO_SUCH_CALL | {errno.ENOLCK}
_NO_MODES = NO_SUCH_CALL | {errno.EPERM}
_NO_REPLACE = 1  # RENAME_NOREPLACE
_BITS = 0o777


def has_no_links(error: OSError) -> bool:
    """Whether a link failed because the file system has no links, and not because of the disk."""
    return error.errno in _NO_LINKS


def rename_new(folder: int, source: str, target: str) -> None:
    """Rename a file of a folder to a name that must not exist.

    Args:
        folder: A descriptor of the folder.
        source: The present name.
        target: The new name.

    Raises:
        FileExistsError: A file of the new name exists.
        OSError: The disk refuses.
    """
    try:
        _rename_without_replacing(folder, source, target)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise
    else:
        return
    # An empty file reserves the name (O_EXCL fails if it exists), and the rename then replaces that file. A check
    # followed by a rename would replace a file that appears in between.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    os.close(os.open(target, flags, 0o600, dir_fd=folder))
    try:
        os.rename(source, target, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(target, dir_fd=folder)
        raise


def sync(handle: int) -> None:
    """Make a file or a folder durable, if its file system supports that.

    Raises:
        OSError: The disk refuses.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise


def lock(handle: int) -> bool:
    """Wait for the exclusive lock of a file; False where the file system has no locks.

    Raises:
        OSError: The disk refuses.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def give_access(handle: int, mode: int, group: int | None) -> None:
    """Set permission bits and group of an open file; where they cannot be set, refuse if the present ones allow more.

    Raises:
        PermissionError: Other users could use the file, and that cannot be changed.
        OSError: The disk refuses.
    """
    try:
        if group is not None:
            os.fchown(handle, -1, group)
        os.fchmod(handle, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
        has = os.fstat(handle)
        if stat.S_IMODE(has.st_mode) & _BITS & ~mode:
            _refuse_mode(stat.S_IMODE(has.st_mode), error)


def _refuse_mode(mode: int, error: OSError) -> NoReturn:
    raise PermissionError(
        errno.EPERM,
        f"its file system keeps no permissions (files are {mode:04o}: others could use them)",
    ) from error


def _rename_without_replacing(folder: int, source: str, target: str) -> None:
    import ctypes  # rarely needed, and loaded by every command if it stood above

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (folder, os.fsencode(source), folder, os.fsencode(target))
    if call(*names, ctypes.c_uint(_NO_REPLACE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
