"""Where the files of extracts lie: on the disk of the node, or in an object store (format/object-store.md §8).

The place is an entry of the coordination service, so that all nodes know the same one. Without the entry it is the disk.
"""

from typing import Final, NamedTuple

from strongroom.canonical import ASCII, Kind
from strongroom.coordination.base import Coordinator
from strongroom.errors import StateError

ENTRY: Final = "extracts/store"
DISK: Final = "disk"
"""The address of the store on the disk of the node."""
VERSION: Final = 1
_MAX_BYTES: Final = 4096
KIND: Final = Kind("the entry of the file store", ASCII, _MAX_BYTES)


class Place(NamedTuple):
    """The address of the file store, and how far a move is.

    Attributes:
        address: The store whose files are in force: `disk`, or the address of an object store.
        coming: The store to which the files are being moved; empty if they are not.
        leaving: The store that was in force before, as long as files of it may be left there; else empty.
    """

    address: str = DISK
    coming: str = ""
    leaving: str = ""

    @property
    def object_stores(self) -> tuple[str, ...]:
        """The addresses of object stores in use: the one in force, and the one to which the files are being moved."""
        return tuple(one for one in (self.address, self.coming) if one not in {DISK, ""})

    def serialize(self) -> bytes:
        """The bytes of the entry."""
        return KIND.dumps({**self._asdict(), "v": VERSION})


def parse(data: bytes) -> Place:
    """The place of an entry's bytes.

    Raises:
        FormatError: The bytes are none, or of a version that is not known here.
    """
    fields = KIND.loads(data)
    fields.check_version("v", VERSION)
    fields.check_names((*Place._fields, "v"))
    return Place(*(fields.text(name) for name in Place._fields))


def read(coordinator: Coordinator) -> tuple[Place, int]:
    """The place and the version of its entry, 0 without one.

    Raises:
        FormatError: The entry is damaged, or of a version that is not known here.
    """
    found = coordinator.get(ENTRY)
    return (parse(found.value), found.version) if found else (Place(), 0)


def check_still(coordinator: Coordinator, address: str) -> None:
    """Refuse to go on with a store that is no longer the one to work with.

    Raises:
        StateError: The files are being moved, or were moved to another store.
    """
    present = in_force(coordinator)
    if present != address:
        raise StateError(
            f"the files of extracts were moved from {address} to {present} meanwhile",
            hint="run the command again",
        )


def in_force(coordinator: Coordinator) -> str:
    """The address of the store to work with.

    Raises:
        StateError: The files are being moved.
    """
    place = read(coordinator)[0]
    if place.coming:
        raise StateError(
            f"the files of extracts are being moved to {place.coming}",
            hint="run 'strongroom extracts move' with the same --to to its end, or with"
            f" --to '{place.address}' to undo it",
        )
    return place.address
