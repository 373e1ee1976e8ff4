"""The data keys of envelopes: the header page on the one side, whoever wraps data keys on the other.

It holds no key: MEKs are behind the port `kms.data_keys`.
"""

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import slots
from strongroom.envelope.header import Header, KeySlot, Placement, Prelude
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.kms.data_keys import DataKeys


class EnvelopeKeys:
    """Makes headers with their data keys (DEKs), and opens the DEKs of headers.

    Args:
        data_keys: Wraps and unwraps DEKs; its versions are the MEKs.
    """

    def __init__(self, data_keys: DataKeys) -> None:
        self._data_keys = data_keys

    @property
    def active_mek_id(self) -> str:
        """The MEK that wraps new data keys (K-11)."""
        return self._data_keys.active_id

    def known_mek_ids(self) -> frozenset[str]:
        """The ids of all MEKs that open data keys now: the active one and those that were not retired."""
        return self._data_keys.ids()

    def new_envelope(
        self, placement: Placement, *, segment_bytes: int = headers.DEFAULT_SEGMENT_BYTES
    ) -> tuple[Header, SecretBytes]:
        """A header with a fresh file id and a fresh DEK in slot 0, wrapped by the active MEK; and the DEK.

        Args:
            placement: The site and item to which the file belongs.
            segment_bytes: The size of the body's segments.

        Raises:
            FormatError: The segment size is not allowed.
        """
        # the header commits to its DEK, so the DEK is made before that to which its wrap is bound
        dek = rng.new_key()
        file_id = rng.random_bytes(headers.FILE_ID_BYTES)
        prelude = headers.new_prelude(dek, file_id=file_id, segment_bytes=segment_bytes)
        return Header(prelude, (self._seal(dek, prelude, placement, sequence=1), None)), dek

    def open_envelope(self, header: Header, placement: Placement | None) -> SecretBytes:
        """The DEK of a header.

        The newest slot is opened first. If it does not open, the other slot is tried: a rewrap that was interrupted by
        a crash may have left the newest one incomplete, and the older one then still holds the same DEK (§3.6).

        Args:
            header: A parsed header.
            placement: The site and item to which the file must belong; None trusts the header (standalone files only).

        Raises:
            IntegrityError: No slot opens, or the file belongs to another site or item, which the message names.
            KeyNotFoundError: No MEK that the slots name is known.
        """
        failure: IntegrityError | KeyNotFoundError = IntegrityError()
        for _, slot in header.intact:
            try:
                # a genuine file in the place of another one opens by our keys, and would show a user another site's
                # data
                _check_placement(slot, placement)
                return self._open(slot, header.prelude)
            except (IntegrityError, KeyNotFoundError) as error:
                failure = error
        raise failure

    def rewrapped_slot(self, header: Header, placement: Placement | None) -> KeySlot:
        """The header's DEK, wrapped by the active MEK, as the slot to write next.

        Args:
            header: A parsed header.
            placement: The site and item to which the file must belong; None keeps the header's own.

        Raises:
            IntegrityError: No slot opens, or the file belongs to another site or item, which the message names.
            KeyNotFoundError: No MEK that the slots name is known.
            FormatError: The sequence of the slots has no next number.
        """
        dek = self.open_envelope(header, placement)
        place = header.newest.placement if placement is None else placement
        return self._seal(dek, header.prelude, place, sequence=headers.next_sequence(header))

    def _open(self, slot: KeySlot, prelude: Prelude) -> SecretBytes:
        context, blob = slots.context_of(slot, prelude), slots.blob_of(slot)
        dek = self._data_keys.unwrap(slot.mek_id, blob, context)
        headers.check_commitment(prelude, dek)
        return dek

    def _seal(
        self, dek: SecretBytes, prelude: Prelude, placement: Placement, *, sequence: int
    ) -> KeySlot:
        context = slots.context(prelude, placement, sequence=sequence)
        return slots.new_slot(self._data_keys.wrap(dek, context), placement, sequence=sequence)


def _check_placement(slot: KeySlot, placement: Placement | None) -> None:
    if placement is None or slot.placement == placement:
        return
    owner = slot.placement
    raise IntegrityError(
        f"the file belongs to {owner.describe()}, not to {placement.describe()}",
        hint="a file was moved or replaced in the file store",
    )
