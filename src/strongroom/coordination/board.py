"""The port to the board of a cluster, on which each node replaces a note about itself every few seconds (node-reports.md 1).

A note is no entry: a put of entries writes the anchor, is marked, and holds up whoever reads all of them. Notes prove
themselves by what they say, and are of use for seconds; so no anchor names them, and nothing rests on an old one.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class Posted(NamedTuple):
    """A note as it hangs there.

    Attributes:
        value: The bytes.
        version: The number of the note, one more with each that took the place of another.
        born: A number that another place of the same name, made after this one was removed, does not have.
        at_ms: When the note was written: milliseconds since the epoch, by the clock of the board alone.
    """

    value: bytes
    version: int
    born: int
    at_ms: int


class Board(Protocol):
    """The notes of a cluster, and which of its nodes are alive; every call ends within a limit of the implementation."""

    def read(self, name: str) -> Posted | None:
        """A note; None if it has no place as yet.

        Raises:
            CoordinationError: The board cannot be read.
        """
        ...

    def read_all(self) -> Mapping[str, Posted]:
        """All notes by name, each as it was at some moment of the call.

        Raises:
            CoordinationError: The board cannot be read.
        """
        ...

    def take_place(self, name: str) -> Posted:
        """A note, whose place is made with no bytes in it if there is none.

        Raises:
            CoordinationError: The board cannot be written.
        """
        ...

    def post(self, name: str, value: bytes, replaced: int) -> None:
        """Replace a note.

        Args:
            name: The name of the note.
            value: The new bytes.
            replaced: The version that must hang there now.

        Raises:
            ConflictError: Another version hangs there.
            CoordinationError: The board cannot be written; the note may have been replaced all the same.
        """
        ...

    def boots(self) -> Mapping[str, str]:
        """The id of the process that is alive for each node, by node.

        Raises:
            CoordinationError: The board cannot be read.
        """
        ...

    def changed_ms(self, key: str) -> int:
        """When an entry was put, by the clock of the board; 0 if the entry does not exist.

        Raises:
            CoordinationError: The board cannot be read.
        """
        ...

    def watch(self, name: str, notice: Callable[[Posted | None], None]) -> Callable[[], None]:
        """Call `notice` with each new note of a name, from a thread; returns the function that stops it."""
        ...
