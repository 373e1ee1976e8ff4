"""Proves, before anything lies in it, that an object store does what its users rely on (§7)."""

from typing import Final

from strongroom.errors import StorageError
from strongroom.ids import new_id
from strongroom.objectstore.base import Bucket, ConditionError, MissingError

_ONE: Final = b"one"
_TWO: Final = b"two"


def prove(bucket: Bucket) -> None:
    """Try each condition by objects that are removed again.

    Raises:
        StorageError: The store does not do what is needed, refuses, or does not answer; the message says which.
    """
    name = f"probe/{new_id().replace('-', '')}/one"
    try:
        _try_conditions(bucket, name)
    finally:
        bucket.delete(name)
    if name in {one.name for one in bucket.list("probe")} or _is_readable(bucket, name):
        raise _refused(bucket, "still shows an object that was removed")


def _try_conditions(bucket: Bucket, name: str) -> None:
    try:
        bucket.create(name, _ONE)
    except ConditionError:
        raise _refused(bucket, "refuses to create an object that is not there") from None
    try:
        bucket.create(name, _TWO)
    except ConditionError:
        pass
    else:
        raise _refused(bucket, "does not honour conditions: it let an object be created twice")
    found = bucket.read(name)
    if found.data != _ONE:
        raise _refused(bucket, "does not show what was written")
    _check_listed(bucket, name)
    try:
        bucket.replace(name, _TWO, found.tag)
    except ConditionError:
        raise _refused(bucket, "refuses to replace the version that is there") from None
    try:
        bucket.replace(name, _ONE, found.tag)
    except ConditionError:
        pass
    else:
        raise _refused(bucket, "does not honour conditions: it let another version be replaced")
    if bucket.read_range(name, 1, 2) != _TWO[1:]:
        raise _refused(bucket, "does not give the range of bytes that is asked for")


def _check_listed(bucket: Bucket, name: str) -> None:
    listed = {one.name for one in bucket.list("probe")}
    if name not in listed:
        raise _refused(bucket, "does not list what was written")
    if name.rpartition("/")[0] in listed:
        raise _refused(bucket, "makes folders of names, and lists them as objects")


def _is_readable(bucket: Bucket, name: str) -> bool:
    try:
        bucket.read(name)
    except MissingError:
        return False
    return True


def _refused(bucket: Bucket, why: str) -> StorageError:
    return StorageError(
        f"the object store {bucket.address.shown} {why}",
        hint="two nodes would take each other's files: use a store that honours conditional writes, and no proxy"
        " that drops their headers",
    )
