"""Key slots and wrapped keys: what a slot is bound to, and its fields as the one blob of a KMS (format/envelope.md §3).

Pure. Whoever wraps and opens is behind `kms.data_keys`; `envelope.keys` brings the two together.
"""

import struct

from strongroom.crypto import labels
from strongroom.envelope import page_1, page_2
from strongroom.envelope.header import FORMAT_1, FORMAT_2, KeySlot, Placement, Prelude
from strongroom.kms.data_keys import AnyContext, ContextInKey, KeyContext, WrappedKey

SALT_BYTES = 32
NONCE_BYTES = 12

_ALGORITHMS = {FORMAT_1: page_1.SLOT_ALGORITHM, FORMAT_2: page_2.SLOT_ALGORITHM}
_SEQUENCE = struct.Struct(">Q")
_ALGORITHM = struct.Struct(">H")


def context(
    prelude: Prelude, placement: Placement, *, sequence: int, algorithm: int = 0
) -> AnyContext:
    """The context that a slot's wrap is bound to (§3.2, envelope-2.md §3.1).

    Args:
        prelude: The prelude of the file, which commits to the DEK.
        placement: The site and item to which the file belongs.
        sequence: 1 for a new file, else `header.next_sequence`.
        algorithm: The algorithm that the slot names; 0 for the one of the file's format.
    """
    named = algorithm or _ALGORITHMS[prelude.format]
    before = (prelude.encode(), _SEQUENCE.pack(sequence), _ALGORITHM.pack(named))
    if prelude.format == FORMAT_1:
        return KeyContext(labels.SLOT, b"".join(before), placement.encode())
    return ContextInKey(labels.SLOT_2, before, (placement.encode(),))


def context_of(slot: KeySlot, prelude: Prelude) -> AnyContext:
    """The context of a slot as it stands in a header."""
    return context(prelude, slot.placement, sequence=slot.sequence, algorithm=slot.algorithm)


def blob_of(slot: KeySlot) -> bytes:
    """The wrapped DEK as the KMS gave it out (§3.10, envelope-2.md §3.3)."""
    return slot.salt + slot.nonce + slot.wrapped_dek


def new_slot(
    wrapped: WrappedKey, prelude: Prelude, placement: Placement, *, sequence: int
) -> KeySlot:
    """The slot of a DEK that was wrapped for `context(prelude, placement, sequence=sequence)`."""
    key_id, blob = wrapped
    salt, rest = blob[:SALT_BYTES], blob[SALT_BYTES:]
    nonce_bytes = NONCE_BYTES if prelude.format == FORMAT_1 else 0
    nonce, wrapped_dek = rest[:nonce_bytes], rest[nonce_bytes:]
    algorithm = _ALGORITHMS[prelude.format]
    return KeySlot(sequence, algorithm, key_id, placement, salt, nonce, wrapped_dek)
