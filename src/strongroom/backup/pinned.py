"""The entries of a backup whose extracts are pinned in an object store (docs/format/backup.md 7); pure."""

from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Kind
from strongroom.errors import UsageError
from strongroom.objectstore import head, registry

WHERE: Final = "pinned.json"
MAX_REFERENCE_BYTES: Final = head.MAX_BYTES
_VERSION: Final = 1
_KIND: Final = Kind("the backup's note of its pinned extracts", UTF_8, 4096)


class PinnedExtracts(NamedTuple):
    """Where the pinned extracts of a backup are.

    Attributes:
        store: The address of the object store.
        until: The time until which the pin keeps them there.
    """

    store: str
    until: str

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _KIND.dumps({**self._asdict(), "v": _VERSION})


def parse(data: bytes) -> PinnedExtracts:
    """The note of its bytes.

    Raises:
        FormatError: The bytes are none, or of a version that is not known here.
    """
    fields = _KIND.loads(data)
    fields.check_version("v", _VERSION)
    fields.check_names(("store", "until", "v"))
    store = fields.text("store")
    try:
        is_one = registry.parse(store).text == store
    except UsageError:
        is_one = False
    if not is_one:
        raise fields.refused("it names no object store")
    return PinnedExtracts(store, fields.time("until"))


def header_of(reference: bytes) -> bytes:
    """The header in the reference of a pinned extract.

    Raises:
        FormatError: The bytes are no reference.
    """
    return head.parse(reference).header


def size_of(reference: bytes) -> int:
    """Length of the pinned file in bytes.

    Raises:
        FormatError: The bytes are no reference.
    """
    return head.parse(reference).size
