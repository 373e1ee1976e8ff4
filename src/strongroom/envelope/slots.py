"""Key slots and wrapped keys: what a slot is bound to, and its three fields as the one blob of a KMS (format/envelope.md §3).

Pure. Whoever wraps and opens is behind `kms.data_keys`; `envelope.keys` brings the two together.
"""

from strongroom.crypto import labels
from strongroom.envelope import header as headers
from strongroom.envelope.header import KeySlot, Placement, Prelude
from strongroom.kms.data_keys import KeyContext, WrappedKey


def context(
    prelude: Prelude,
    placement: Placement,
    *,
    sequence: int,
    algorithm: int = headers.SLOT_ALGORITHM,
) -> KeyContext:
    """The context that a slot's wrap is bound to (§3.2).

    Args:
        prelude: The prelude of the file, which commits to the DEK.
        placement: The site and item to which the file belongs.
        sequence: 1 for a new file, else `header.next_sequence`.
        algorithm: The algorithm that the slot names.
    """
    head = prelude.encode() + headers.slot_aad_prefix(sequence, algorithm)
    return KeyContext(labels.SLOT, head, placement.encode())


def context_of(slot: KeySlot, prelude: Prelude) -> KeyContext:
    """The context of a slot as it stands in a header."""
    return context(prelude, slot.placement, sequence=slot.sequence, algorithm=slot.algorithm)


def blob_of(slot: KeySlot) -> bytes:
    """The wrapped DEK as the KMS gave it out: offsets 64 to 155 of the slot (§3.10)."""
    return slot.salt + slot.nonce + slot.wrapped_dek


def new_slot(wrapped: WrappedKey, placement: Placement, *, sequence: int) -> KeySlot:
    """The slot of a DEK that was wrapped for `context(…, placement, sequence=sequence)`."""
    key_id, blob = wrapped
    salt, rest = blob[: headers.SALT_BYTES], blob[headers.SALT_BYTES :]
    nonce, wrapped_dek = rest[: headers.NONCE_BYTES], rest[headers.NONCE_BYTES :]
    return KeySlot(sequence, headers.SLOT_ALGORITHM, key_id, placement, salt, nonce, wrapped_dek)
