"""The port to the coordination service: the one place that says which configuration is the present one."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol


class Versioned(NamedTuple):
    """A stored value and the number of its version; the first version is 1."""

    value: bytes
    version: int


class Change(NamedTuple):
    """A new value for one key.

    Attributes:
        value: The new bytes, or None to delete the key.
        expected_version: The version that must be there now; 0 if the key must not exist.
    """

    value: bytes | None
    expected_version: int


class Coordinator(Protocol):
    """Versioned values with compare-and-set over several keys at once."""

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def version(self, key: str) -> int:
        """The version of a key's value without the value, 0 if there is none; cheap.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def put(self, changes: Mapping[str, Change]) -> None:
        """Apply all changes, or none; durable when it returns.

        Raises:
            ConflictError: A key has another version than expected.
            CoordinationError: The store cannot be written.
        """
        ...

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[None]:
        """Hold a named lock over all processes of the cluster.

        Raises:
            ConflictError: Somebody else still holds it after `wait_s` seconds.
        """
        ...

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key, from a thread; returns the function that stops it."""
        ...

    def members(self) -> list[str]:
        """The ids of the nodes alive now."""
        ...
