"""The part of a cluster's backup that a node alone has: its event log, and which keys its keystore opens.

Another node asks for it over the control service, as a node; no key and no secret is in it. The private keys of a node
never leave the node: a node that is lost is brought in anew.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from strongroom.errors import NotFoundError
from strongroom.eventlog import copies
from strongroom.joining.node_reports import KeysSeen
from strongroom.system import disk

PIECE_BYTES: Final = 256 << 10
_STAMP: Final = r"\.\d{8}T\d{6}Z"
Write = Callable[[bytes], object]


class PartSeen(NamedTuple):
    """The part of a node, as the node itself describes it.

    Attributes:
        files: Names of the files of its event log, in the order in which they are to be copied.
        keys: The configuration keys that its keystore opens.
    """

    files: tuple[str, ...]
    keys: KeysSeen


class Part(Protocol):
    """The part of a node: of this one, or of another that is asked for it."""

    def describe(self) -> PartSeen:
        """The files, and the keys.

        Raises:
            StrongroomError: The node cannot be asked, or cannot open its keys.
        """
        ...

    def copy(self, name: str, write: Write) -> None:
        """Write a file piece by piece.

        Raises:
            NotFoundError: The log has no file of this name any more.
            StrongroomError: The node cannot be asked, or gave something else than it has.
        """
        ...


class OwnPart:
    """The part of this node.

    Args:
        log: The event log.
        keys: Returns the configuration keys that the keystore opens now.
    """

    def __init__(self, log: Path, keys: Callable[[], KeysSeen]) -> None:
        self._log, self._keys = log, keys

    def describe(self) -> PartSeen:
        """The files, the checkpoint before the log: so the lines that it covers are in the copy of the log."""
        stem = re.escape(self._log.stem)
        archived = re.compile(rf"{stem}\.jsonl{_STAMP}(\.checkpoint)?")
        first = (f"{self._log.stem}.checkpoint", self._log.name)
        try:
            there = {one.name for one in self._log.parent.iterdir()}
        except OSError as error:
            raise disk.problem(f"{self._log.parent} cannot be read", error) from error
        present = [name for name in first if name in there]
        older = sorted(name for name in there if archived.fullmatch(name))
        return PartSeen((*present, *older), self._keys())

    def copy(self, name: str, write: Write) -> None:
        """Write a file piece by piece, as it is now."""
        if name not in self.describe().files:
            raise NotFoundError(f"{name[:80]!r} is no file of this node's event log")
        path = self._log.parent / name
        try:
            if path.suffix == ".checkpoint":
                write(copies.read_checkpoint(path))
                return
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    write(piece)
        except OSError as error:
            raise disk.problem(f"{path} cannot be read", error) from error
