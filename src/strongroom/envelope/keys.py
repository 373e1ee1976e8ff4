"""The port to whoever holds the MEKs; `kms.accessor` is behind it, two layers up."""

from typing import Protocol

from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, KeySlot, Placement


class EnvelopeKeys(Protocol):
    """Wraps and unwraps the data keys of envelopes."""

    @property
    def active_mek_id(self) -> str:
        """The MEK that wraps new data keys."""
        ...

    def new_envelope(
        self, placement: Placement, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> tuple[Header, SecretBytes]:
        """A fresh file id and DEK, slot 0 sealed under the active MEK."""
        ...

    def open_envelope(self, header: Header, placement: Placement | None) -> SecretBytes:
        """The DEK of a header; with None the header's own placement is trusted.

        Raises:
            IntegrityError: No slot opens, or the placement is another one (told in words).
            KeyNotFoundError: The MEKs that the slots name are not known.
        """
        ...

    def rewrapped_slot(self, header: Header, placement: Placement | None) -> KeySlot:
        """The same DEK and placement under the active MEK, with the next sequence."""
        ...
