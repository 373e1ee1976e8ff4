"""Describes a file by its header page, without a key and so without authentication (format/envelope.md §6)."""

from dataclasses import dataclass

from strongroom.crypto.stream import Layout
from strongroom.envelope.header import Header, KeySlot, body_aad
from strongroom.errors import IntegrityError


@dataclass(frozen=True)
class Inspection:
    """The description of an encrypted file.

    Attributes:
        header: The parsed header.
        context: The associated data of the body, for use with another implementation of Tink (§4.3).
        plaintext_bytes: Length of the plaintext, by the file's length; None if no plaintext gives that length, since
            the file was cut.
    """

    header: Header
    context: bytes
    plaintext_bytes: int | None

    def to_json(self) -> dict[str, object]:
        """The members of `inspect --json`; the first five names are a documented interface for scripts."""
        prelude = self.header.prelude
        return {
            "mek_id": self.header.newest.mek_id,
            "body_offset": prelude.body_offset,
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

    def proved_by(self, slot: KeySlot) -> dict[str, object]:
        """The members that change once a slot opened: it authenticates the prelude and itself, and no other slot."""
        slots = [
            self._slot(number) | {"authenticated": found == slot}
            for number, found in enumerate(self.header.slots)
        ]
        return {"authenticated": True, "mek_id": slot.mek_id, "slots": slots}

    def slot_words(self) -> list[str]:
        """A sentence for each slot."""
        return [self._words(number) for number in range(len(self.header.slots))]

    def _words(self, number: int) -> str:
        slot, unknown = self.header.slots[number], self.header.unknown[number]
        if unknown is not None:
            return f"MEK {unknown.mek_id}, algorithm {unknown.algorithm}, which is not known"
        if slot is None:
            return "damaged" if number in self.header.damaged else "empty"
        return f"MEK {slot.mek_id}, number {slot.sequence}, {slot.placement.describe()}"

    def _slot(self, number: int) -> dict[str, object]:
        slot, unknown = self.header.slots[number], self.header.unknown[number]
        if unknown is not None:
            return {"state": "unknown", "algorithm": unknown.algorithm, "mek_id": unknown.mek_id}
        if slot is None:
            return {"state": "damaged" if number in self.header.damaged else "empty"}
        return _slot_json(slot)


def inspect(header: Header, file_bytes: int) -> Inspection:
    """Describe a header and the length of its file."""
    return Inspection(header, body_aad(header.prelude), _plaintext_bytes(header, file_bytes))


def _plaintext_bytes(header: Header, file_bytes: int) -> int | None:
    layout = Layout(header.prelude.segment_bytes)
    try:
        return layout.plaintext_bytes(max(file_bytes - header.prelude.body_offset, 0))
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
