"""The indirect form of a wrap: a data key of the root seals the RMK (docs/format/kms-store.md 1.3); pure.

For roots that hand out data keys and have no encrypt action that we may need (A-04).
"""

from collections.abc import Mapping

from strongroom.crypto import aead, labels
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes


def context_bytes(context: Mapping[str, str]) -> bytes:
    """The pairs as canonical bytes: each name and value with its length, in the order of names."""
    texts = (text.encode() for pair in sorted(context.items()) for text in pair)
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def seal(key: SecretBytes, data_key: SecretBytes, context: Mapping[str, str]) -> bytes:
    """The RMK under a data key."""
    return aead.wrap(key, kek=_kek(data_key), aad=labels.ROOT_INDIRECT + context_bytes(context))


def open_(inner: bytes, data_key: SecretBytes, context: Mapping[str, str]) -> SecretBytes:
    """The RMK of an indirect wrap.

    Raises:
        IntegrityError: Another data key, another context, or changed bytes.
    """
    return aead.unwrap(inner, kek=_kek(data_key), aad=labels.ROOT_INDIRECT + context_bytes(context))


def _kek(data_key: SecretBytes) -> SecretBytes:
    return hkdf(data_key, salt=b"", info=labels.ROOT_INDIRECT)
