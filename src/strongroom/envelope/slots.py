"""Seals and opens the key slots of a header (format/envelope.md §3.1, §3.2).

Pure: MEK, salt and nonce come in as arguments; `kms.accessor` supplies them.
"""

from strongroom.crypto import aead, kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope.header import KeySlot, Placement, Prelude
from strongroom.ids import id_bytes

SLOT_LABEL = b"strongroom/v1/slot"


def seal_slot(  # noqa: PLR0913 each is bound by the wrap, and none has a default
    *,
    mek: SecretBytes,
    mek_id: str,
    dek: SecretBytes,
    prelude: Prelude,
    placement: Placement,
    sequence: int,
    salt: bytes,
    nonce: bytes,
) -> KeySlot:
    """Wrap a DEK under a MEK.

    Args:
        mek: The master extract key.
        mek_id: Its UUID.
        dek: The data key; the prelude commits to it.
        prelude: Of the file.
        placement: Where the file belongs.
        sequence: 1 for a new file, else `header.next_sequence`.
        salt: 32 fresh random bytes.
        nonce: 12 fresh random bytes.
    """
    algorithm = headers.SLOT_ALGORITHM
    unsealed = KeySlot(sequence, algorithm, mek_id, placement, salt, nonce, b"")
    sealed = aead.seal_with_nonce(
        _wrap_key(mek, salt), dek.reveal(), aad=_slot_aad(unsealed, prelude), nonce=nonce
    )
    wrapped = sealed[len(nonce) :]
    return KeySlot(sequence, algorithm, mek_id, placement, salt, nonce, wrapped)


def open_slot(slot: KeySlot, prelude: Prelude, *, mek: SecretBytes) -> SecretBytes:
    """The DEK of a slot, checked against the prelude's commitment (§2.5).

    Raises:
        IntegrityError: Wrong MEK, or a header that was changed.
    """
    dek = SecretBytes(
        aead.open_(
            _wrap_key(mek, slot.salt), slot.nonce + slot.wrapped_dek, aad=_slot_aad(slot, prelude)
        )
    )
    headers.check_commitment(prelude, dek)
    return dek


def _wrap_key(mek: SecretBytes, salt: bytes) -> SecretBytes:
    return kdf.hkdf(mek, salt=salt, info=SLOT_LABEL)


def _slot_aad(slot: KeySlot, prelude: Prelude) -> bytes:
    return (
        SLOT_LABEL
        + prelude.encode()
        + headers.slot_aad_prefix(slot.sequence, slot.algorithm)
        + id_bytes(slot.mek_id)
        + slot.placement.encode()
    )
