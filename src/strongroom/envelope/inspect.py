"""What the header page says without a key: unauthenticated (format/envelope.md §6)."""

from dataclasses import dataclass

from strongroom.crypto.stream import Layout
from strongroom.envelope.header import HEADER_BYTES, Header, KeySlot, body_aad
from strongroom.errors import IntegrityError


@dataclass(frozen=True)
class Inspection:
    """A header page, and what follows from the file's length.

    Attributes:
        header: As parsed.
        context: The body's associated data, as any Tink wants it (§4.3).
        plaintext_bytes: None if the length is one that no plaintext gives: the file was cut.
    """

    header: Header
    context: bytes
    plaintext_bytes: int | None

    def to_json(self) -> dict[str, object]:
        """For `inspect --json`; the first five names are an interface."""
        prelude = self.header.prelude
        return {
            "mek_id": self.header.newest.mek_id,
            "body_offset": HEADER_BYTES,
            "segment_bytes": prelude.segment_bytes,
            "context": self.context.hex(),
            "plaintext_bytes": self.plaintext_bytes,
            "authenticated": False,
            "format": prelude.format,
            "suite": prelude.suite,
            "file_id": prelude.file_id.hex(),
            "commitment": prelude.commitment.hex(),
            "slots": [self._slot(number) for number in range(len(self.header.slots))],
        }

    def _slot(self, number: int) -> dict[str, object]:
        slot = self.header.slots[number]
        if slot is None:
            return {"state": "damaged" if number in self.header.damaged else "empty"}
        return _slot_json(slot)


def inspect(header: Header, file_bytes: int) -> Inspection:
    """Describe a header and the length of its file."""
    return Inspection(header, body_aad(header.prelude), _plaintext_bytes(header, file_bytes))


def _plaintext_bytes(header: Header, file_bytes: int) -> int | None:
    layout = Layout(header.prelude.segment_bytes)
    try:
        return layout.plaintext_bytes(max(file_bytes - HEADER_BYTES, 0))
    except IntegrityError:
        return None


def _slot_json(slot: KeySlot) -> dict[str, object]:
    return {
        "state": "intact",
        "sequence": slot.sequence,
        "algorithm": slot.algorithm,
        "mek_id": slot.mek_id,
        "site_id": slot.placement.site_id or None,
        "extract_id": slot.placement.extract_id or None,
    }
