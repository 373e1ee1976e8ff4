"""The port to an object store: some 15 requests, each with its outcomes in words of ours (format/object-store.md §7).

A request that changes nothing, or that may be done twice, is repeated when the store does not answer. A conditional
write is sent once: its caller looks what became of it (§3.2).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from strongroom.errors import NotFoundError, StorageError
from strongroom.objectstore.address import Address

T = TypeVar("T")
ATTEMPTS: Final = 4
CONNECT_S: Final = 3
READ_S: Final = 20
REQUESTS_AT_ONCE: Final = 32
_PAUSE_S: Final = 0.2


class MissingError(NotFoundError):
    """The store has no object of this name."""


class ConditionError(Exception):
    """The store says that the condition of a write did not hold, which may be about an attempt whose answer was lost."""


class UnansweredError(StorageError):
    """The store did not answer, or not as a store does; a write may have been done all the same."""


class Object(NamedTuple):
    """An object that was read.

    Attributes:
        data: The bytes of the object.
        tag: The store's word for this version of the object, by which the object can be replaced.
    """

    data: bytes
    tag: str


class Listed(NamedTuple):
    """An object in a list.

    Attributes:
        name: The name of the object below the prefix.
        size: The length of the object in bytes.
        changed: The time of the last write, by the store's clock.
    """

    name: str
    size: int
    changed: datetime


class OpenUpload(NamedTuple):
    """An upload of parts that was not completed.

    Attributes:
        name: The name of the object that it would become, below the prefix.
        id: The store's id of the upload.
        begun: The time of its beginning, by the store's clock.
    """

    name: str
    id: str
    begun: datetime


class Bucket(Protocol):
    """The objects below the prefix of one address; threads share it."""

    @property
    def address(self) -> Address:
        """The address."""
        ...

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, name: str) -> Object:
        """A small object, whole.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """
        ...

    def read_range(self, name: str, start: int, count: int) -> bytes:
        """Bytes of an object from an offset on; the range must not be empty, and lie in the object.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, does not answer, or gives other bytes than those.
        """
        ...

    def size(self, name: str) -> int:
        """Length of an object in bytes.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """
        ...

    def changed(self, name: str) -> datetime:
        """The time of the last write of an object, by the store's clock.

        Raises:
            MissingError: No object has this name.
            StorageError: The store refuses, or does not answer.
        """
        ...

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder's name and a slash, in the order of their names.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def now(self) -> datetime:
        """The time of the store's clock.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    # ---- writing ---------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> None:
        """Write an object if there is none of this name.

        Raises:
            ConditionError: The store says that there is one.
            UnansweredError: The store did not answer.
            StorageError: The store refuses.
        """
        ...

    def replace(self, name: str, data: bytes, tag: str) -> None:
        """Write an object over the version with this tag.

        Raises:
            ConditionError: The store says that there is none, or another one.
            UnansweredError: The store did not answer.
            StorageError: The store refuses.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whatever is there.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    # ---- in parts --------------------------------------------------------------------------------

    def begin_parts(self, name: str) -> str:
        """Begin an upload of parts, the only one of this name; returns the id of it.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def write_part(self, name: str, upload_id: str, number: int, data: bytes) -> str:
        """Write the n-th part, from 1 on; returns what `complete_parts` needs to know of it.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def complete_parts(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        """Make the object of its parts; if it was made by an attempt whose answer was lost, nothing happens.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Forget an upload and its parts; a missing one is no error.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def open_uploads(self) -> Iterator[OpenUpload]:
        """The uploads of bodies that were begun and not completed.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...


def repeated(ask: Callable[[], T]) -> T:
    """The answer to a request that may be made again, as long as the store does not answer."""
    for attempt in range(1, ATTEMPTS):
        try:
            return ask()
        except UnansweredError:
            time.sleep(_PAUSE_S * 2**attempt)
    return ask()


def unanswered(address: Address, why: str) -> UnansweredError:
    """The error of a store that does not answer.

    Args:
        address: The address of the store.
        why: The rest of the sentence, behind the store's name.
    """
    return UnansweredError(
        f"the object store {address.shown} {why}",
        hint="look whether the store is up and can be reached, and try again",
    )


def missing(address: Address, name: str) -> MissingError:
    """The error of an object that is not there."""
    return MissingError(f"the object store {address.shown} has no {name}")
