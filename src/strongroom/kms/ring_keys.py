"""Data keys under the MEKs of a key ring, wherever the ring comes from: a cache, a backup, a test.

The blob is salt (32) ‖ nonce (12) ‖ key, encrypted (its length) ‖ tag (16): docs/format/envelope.md §3.1, §3.2, where it
stands in a key slot as it is.
"""

from collections.abc import Callable

from strongroom.crypto import aead, kdf, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.kms.data_keys import KeyContext, WrappedKey
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek

SALT_BYTES = 32
NONCE_BYTES = aead.NONCE_BYTES


class RingKeys:
    """The port `kms.data_keys.DataKeys` over a ring.

    Args:
        ring: Gives the ring as it is at this moment; asked once by each call.
    """

    def __init__(self, ring: Callable[[], KeyRing]) -> None:
        self._ring = ring

    @property
    def active_id(self) -> str:
        """The MEK that encrypts (K-11)."""
        return self._ring().active.id

    def ids(self) -> frozenset[str]:
        """Every MEK of the ring."""
        return frozenset(mek.id for mek in self._ring())

    def generate(self, context: KeyContext) -> tuple[SecretBytes, WrappedKey]:
        """A fresh data key, and its wrap under the active MEK."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: KeyContext) -> WrappedKey:
        """A key under the active MEK."""
        salt, nonce = rng.random_bytes(SALT_BYTES), rng.random_bytes(NONCE_BYTES)
        return wrap_under(self._ring().active, key, context, salt=salt, nonce=nonce)

    def unwrap(self, key_id: str, blob: bytes, context: KeyContext) -> SecretBytes:
        """The key of a blob.

        Raises:
            IntegrityError: The blob was not wrapped by this MEK and for this context.
            KeyNotFoundError: The MEK is not in the ring.
        """
        mek = self._ring().get(key_id)
        wrap_key = _wrap_key(mek, context, blob[:SALT_BYTES])
        aad = context.associated_data(key_id)
        return aead.unwrap(blob[SALT_BYTES:], kek=wrap_key, aad=aad)


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


def _wrap_key(mek: Mek, context: KeyContext, salt: bytes) -> SecretBytes:
    return kdf.hkdf(mek.material, salt=salt, info=context.label)
