"""Data keys under the MEKs of a key ring, wherever the ring comes from: a cache, a backup, a test.

The blob is salt (32) ‖ nonce (12) ‖ key, encrypted (its length) ‖ tag (16): docs/format/envelope.md §3.1, §3.2, where it
stands in a key slot as it is. Under a `ContextInKey` it has no nonce: envelope-2.md §3.1, §3.2.
"""

from collections.abc import Callable

from strongroom.crypto import aead, kdf, labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.kms.data_keys import AnyContext, ContextInKey, KeyContext, WrappedKey
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek

SALT_BYTES = 32
NONCE_BYTES = aead.NONCE_BYTES


class RingKeys:
    """The port `kms.data_keys.DataKeys` over a ring.

    Args:
        ring: Gives the ring as it is at this moment; asked once by each call.
        ring_for: Gives the ring by which to open what the MEK of an id has sealed; by default the same.
    """

    def __init__(
        self,
        ring: Callable[[], KeyRing],
        ring_for: Callable[[str], KeyRing] | None = None,
    ) -> None:
        self._ring = ring
        self._ring_for = ring_for or (lambda _: ring())

    @property
    def active_id(self) -> str:
        """The MEK that encrypts (K-11)."""
        return self._ring().active.id

    def ids(self) -> frozenset[str]:
        """Every MEK of the ring that is not on its way out."""
        return frozenset(mek.id for mek in self._ring() if mek.retire_at is None)

    def generate(self, context: AnyContext) -> tuple[SecretBytes, WrappedKey]:
        """A fresh data key, and its wrap under the active MEK."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: AnyContext) -> WrappedKey:
        """A key under the active MEK."""
        salt, nonce = rng.random_bytes(SALT_BYTES), rng.random_bytes(NONCE_BYTES)
        if isinstance(context, ContextInKey):
            return wrap_in_key(self._ring().active, key, context, salt=salt)
        return wrap_under(self._ring().active, key, context, salt=salt, nonce=nonce)

    def check_opens(self, key_id: str) -> None:
        """Refuse a MEK by which nothing is opened now.

        Raises:
            KeyNotFoundError: The MEK is not in the ring, or is to be retired.
        """
        self._ring_for(key_id).for_reading(key_id)

    def unwrap(self, key_id: str, blob: bytes, context: AnyContext) -> SecretBytes:
        """The key of a blob.

        Raises:
            IntegrityError: The blob was not wrapped by this MEK and for this context.
            KeyNotFoundError: The MEK is not in the ring, or is to be retired.
        """
        mek = self._ring_for(key_id).for_reading(key_id)
        salt, sealed = blob[:SALT_BYTES], blob[SALT_BYTES:]
        if isinstance(context, ContextInKey):
            wrap_key, nonce = _wrap_key_and_nonce(mek, context, salt)
            return aead.unwrap(nonce + sealed, kek=wrap_key, aad=b"")
        aad = context.associated_data(key_id)
        return aead.unwrap(sealed, kek=_wrap_key(mek, context, salt), aad=aad)


def wrap_under(
    mek: Mek, key: SecretBytes, context: KeyContext, *, salt: bytes, nonce: bytes
) -> WrappedKey:
    """The deterministic core of `RingKeys.wrap`.

    Args:
        mek: The wrapping key.
        key: The key to wrap.
        context: The context that the wrap is bound to.
        salt: 32 fresh random bytes: one wrap key seals one key, so that nobody need count them.
        nonce: 12 fresh random bytes.
    """
    wrap_key, aad = _wrap_key(mek, context, salt), context.associated_data(mek.id)
    sealed = aead.seal_with_nonce(wrap_key, key.reveal(), aad=aad, nonce=nonce)
    return WrappedKey(mek.id, salt + sealed)


def wrap_in_key(mek: Mek, key: SecretBytes, context: ContextInKey, *, salt: bytes) -> WrappedKey:
    """The deterministic core of `RingKeys.wrap`, for a context that the wrap key is derived from.

    Args:
        mek: The wrapping key.
        key: The key to wrap.
        context: The context that the wrap is bound to.
        salt: 32 fresh random bytes; they make the nonce, too.
    """
    wrap_key, nonce = _wrap_key_and_nonce(mek, context, salt)
    sealed = aead.seal_with_nonce(wrap_key, key.reveal(), aad=b"", nonce=nonce)
    return WrappedKey(mek.id, salt + sealed[NONCE_BYTES:])


def _wrap_key(mek: Mek, context: KeyContext, salt: bytes) -> SecretBytes:
    return kdf.hkdf(mek.material, salt=salt, info=context.label)


def _wrap_key_and_nonce(mek: Mek, context: ContextInKey, salt: bytes) -> tuple[SecretBytes, bytes]:
    made = kdf.hkdf(mek.material, salt=salt, info=context.info(mek.id), length=labels.SEAL_BYTES)
    raw = made.reveal()
    return SecretBytes(raw[:-NONCE_BYTES]), raw[-NONCE_BYTES:]
