"""The data keys of envelopes: the header page on the one side, whoever wraps data keys on the other.

It holds no key: MEKs are behind the port `kms.data_keys`.
"""

from collections.abc import Callable
from typing import NamedTuple

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import slots
from strongroom.envelope.header import Header, KeySlot, Placement, Prelude
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.kms.data_keys import DataKeys


def present_format() -> int:
    """The format that new envelopes have."""
    return headers.FORMAT_2


class OpenedKey(NamedTuple):
    """A data key, and the slot that it came from.

    All of that slot is authenticated by it, and nothing of the other (envelope.md §3.11, envelope-2.md §3.6).

    Attributes:
        dek: The data key.
        slot: The slot that opened.
        number: The number of that slot.
    """

    dek: SecretBytes
    slot: KeySlot
    number: int


class EnvelopeKeys:
    """Makes headers with their data keys (DEKs), and opens the DEKs of headers.

    Args:
        data_keys: Wraps and unwraps DEKs; its versions are the MEKs.
        written_format: Says in which format a new envelope is written; every format is read.
    """

    def __init__(
        self, data_keys: DataKeys, written_format: Callable[[], int] = present_format
    ) -> None:
        self._data_keys, self._written_format = data_keys, written_format

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
        """A header with a fresh file id and a fresh DEK, wrapped by the active MEK; and the DEK.

        In format 1 the wrap stands in slot 0, in format 2 in both slots.

        Args:
            placement: The site and item to which the file belongs.
            segment_bytes: The size of the body's segments.

        Raises:
            FormatError: The segment size is not allowed.
        """
        # the header commits to its DEK, so the DEK is made before that to which its wrap is bound
        dek = rng.new_key()
        prelude = headers.new_prelude(
            dek,
            file_id=rng.random_bytes(headers.FILE_ID_BYTES),
            segment_bytes=segment_bytes,
            version=self._written_format(),
        )
        slot = self._seal(dek, prelude, placement, sequence=1)
        second = None if prelude.format == headers.FORMAT_1 else slot
        return Header(prelude, (slot, second)), dek

    def open_envelope(self, header: Header, placement: Placement | None) -> OpenedKey:
        """The DEK of a header, and the slot that it came from.

        The newest slot is opened first. If it does not open, the other slot is tried: a rewrap that was interrupted by
        a crash may have left the newest one incomplete, and the older one then still holds the same DEK (§3.6).

        Args:
            header: A parsed header.
            placement: The site and item to which the file must belong; None trusts the header (standalone files only).

        Raises:
            IntegrityError: No slot opens, or the file belongs to another site or item, which the message names.
            KeyNotFoundError: No MEK that the slots name is known.
        """
        failure: IntegrityError | KeyNotFoundError | None = None
        owner: Placement | None = None
        for number, slot in header.intact:
            try:
                dek = self._open(slot, header.prelude)
            except IntegrityError as error:
                failure = error
            except KeyNotFoundError as error:
                failure = failure or error
            else:
                if placement in (None, slot.placement):
                    return OpenedKey(dek, slot, number)
                owner = owner or slot.placement
        if owner is not None and placement is not None:
            # a genuine file in the place of another one opens by our keys, and would show a user another site's data;
            # only a slot that opened says where it belongs (findings X11)
            raise IntegrityError(
                f"the file belongs to {owner.describe()}, not to {placement.describe()}",
                hint="a file was moved or replaced in the file store",
            )
        raise failure or IntegrityError()

    def rewrapped_slot(self, prelude: Prelude, opened: OpenedKey) -> KeySlot:
        """The DEK of a header that was opened, wrapped by the active MEK, as the slot to write next.

        Raises:
            FormatError: The sequence of the slot that opened has no next number.
        """
        sequence = headers.next_sequence(opened.slot)
        return self._seal(opened.dek, prelude, opened.slot.placement, sequence=sequence)

    def _open(self, slot: KeySlot, prelude: Prelude) -> SecretBytes:
        context, blob = slots.context_of(slot, prelude), slots.blob_of(slot)
        dek = self._data_keys.unwrap(slot.mek_id, blob, context)
        headers.check_commitment(prelude, dek)
        return dek

    def _seal(
        self, dek: SecretBytes, prelude: Prelude, placement: Placement, *, sequence: int
    ) -> KeySlot:
        context = slots.context(prelude, placement, sequence=sequence)
        wrapped = self._data_keys.wrap(dek, context)
        return slots.new_slot(wrapped, prelude, placement, sequence=sequence)
