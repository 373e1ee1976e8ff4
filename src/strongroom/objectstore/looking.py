"""Looks at an object store that is in use, as it is now and by this process's own credentials; nothing is written."""

from contextlib import suppress
from typing import Final, NamedTuple

from strongroom.errors import StrongroomError
from strongroom.objectstore.base import Bucket, MissingError

_NO_OBJECT: Final = "probe/status"
"""A name that no object has: whoever may read is told so, and whoever may not is refused."""


class StoreState(NamedTuple):
    """An object store, by its own words.

    Attributes:
        address: The place in short, without region and credentials.
        problem: The reason for which it does not serve; empty if it does.
    """

    address: str
    problem: str = ""


def look(bucket: Bucket) -> StoreState:
    """The state of a store: whether it lets us list and read. A store that is silent is waited for as any request waits."""
    address = bucket.address.shown
    try:
        bucket.now()
        with suppress(MissingError):
            bucket.read(_NO_OBJECT)
    except StrongroomError as error:
        return StoreState(address, error.message)
    return StoreState(address)
