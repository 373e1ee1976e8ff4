"""A KMS store that is staged: every node of a cluster opens it before it comes into force (docs/format/key-changes.md 1); pure.

The store lies in an entry of its own, sealed at a place of its own, so nothing that is staged or was withdrawn can be put
in the place of the present store by copying it.
"""

from enum import StrEnum
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.coordination.floors import Point
from strongroom.crypto import places, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError

ENTRY = "kms/next"
FORMAT = "strongroom-staged-store-1"
_MAX_BYTES = 8 << 20
_KIND = Kind("the staged KMS store", ASCII, _MAX_BYTES)
_CONTENT = Kind("the content of the staged KMS store", ASCII, _MAX_BYTES)


class StagedState(StrEnum):
    """The states of a staged store; one that came into force has no entry any more."""

    #: The nodes are to open it.
    STAGED = "staged"
    #: The store never came into force, and its epoch is used up.
    WITHDRAWN = "withdrawn"


class Content(NamedTuple):
    """The secret part.

    Attributes:
        store: The bytes of the store.
        settings: The root settings that belong to it; None for the present ones.
    """

    store: bytes
    settings: bytes | None


class StagedStore(NamedTuple):
    """The entry of a staged store.

    Attributes:
        change_id: The id of the change.
        state: The state.
        at: The time since when it is in that state.
        by: The node whose process makes the change.
        nodes: The nodes that are to open the store.
        registry: SHA-256 over the entries of the registry, in hexadecimal digits.
        epoch: The epoch of the store.
        present: Epoch and digest of the store that is in force.
        key_id: The configuration key under which the content is sealed.
        sealed: The sealed content; empty once it was withdrawn.
    """

    change_id: str
    state: StagedState
    at: str
    by: str
    nodes: tuple[str, ...]
    registry: str
    epoch: int
    present: Point
    key_id: str
    sealed: bytes

    def with_content(
        self, content: Content, installation_id: str, key: SecretBytes
    ) -> "StagedStore":
        """The same with its content, sealed under the configuration key that it names."""
        settings = content.settings
        raw = _CONTENT.dumps(
            {
                "settings": None if settings is None else to_base64(settings),
                "store": to_base64(content.store),
            }
        )
        place = places.of_next_store(installation_id, self.key_id, self.change_id)
        return self._replace(sealed=seals.seal(key, place, raw))

    def opened(self, installation_id: str, key: SecretBytes) -> Content:
        """The content.

        Raises:
            FormatError: The content is damaged.
            IntegrityError: The content was sealed for another change, or under another key.
        """
        place = places.of_next_store(installation_id, self.key_id, self.change_id)
        fields = _CONTENT.loads(seals.open_(key, place, self.sealed))
        fields.check_names(Content._fields)
        return Content(fields.raw("store"), fields.optional("settings", Fields.raw))

    def withdrawn(self, at: str) -> "StagedStore":
        """The entry of a change that was taken back."""
        return self._replace(state=StagedState.WITHDRAWN, at=at, sealed=b"")

    def serialize(self) -> bytes:
        """The canonical bytes."""
        present = {"digest": self.present.digest.hex(), "epoch": self.present.number}
        return _KIND.dumps(
            {
                **self._asdict(),
                "format": FORMAT,
                "present": present,
                "sealed": to_base64(self.sealed),
            }
        )


def parse(data: bytes) -> StagedStore:
    """The staged store of an entry; its content is not opened.

    Raises:
        FormatError: The entry is damaged.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names((*StagedStore._fields, "format"))
    present = fields.inner("present")
    present.check_names(("digest", "epoch"))
    found = StagedStore(
        change_id=fields.id("change_id"),
        state=fields.one_of("state", StagedState),
        at=fields.time("at"),
        by=fields.text("by"),
        nodes=fields.texts("nodes"),
        registry=fields.hexadecimal("registry", 32),
        epoch=fields.number("epoch", least=2),
        present=Point(
            present.number("epoch", least=1), bytes.fromhex(present.hexadecimal("digest", 32))
        ),
        key_id=fields.id("key_id"),
        sealed=fields.raw("sealed"),
    )
    if (found.state is StagedState.STAGED) != bool(found.sealed):
        raise FormatError("the staged KMS store is damaged: its state and its content do not fit")
    return found
