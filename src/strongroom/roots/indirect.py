"""The indirect form of a wrap: a data key of the root seals the RMK (docs/format/kms-store.md 3.3, 5.4); pure.

For roots that hand out data keys and have no encrypt action that we may need (A-04).
"""

from collections.abc import Mapping

from strongroom.crypto import aead, labels, places, seals
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import wraps
from strongroom.roots.base import Context, WrapRecord


def context_bytes(context: Mapping[str, str]) -> bytes:
    """The pairs as canonical bytes: each name and value with its length, in the order of names."""
    texts = (text.encode() for pair in sorted(context.items()) for text in pair)
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def seal(key: SecretBytes, data_key: SecretBytes, context: Context) -> bytes:
    """The RMK under a data key, as a record of version 2 holds it."""
    return seals.wrap(key, places.of_indirect_root(*context.ids), kek=data_key)


def open_(record: WrapRecord, data_key: SecretBytes) -> SecretBytes:
    """The RMK of an indirect wrap, of either version.

    Raises:
        IntegrityError: The data key or the context is another one, or the bytes were changed.
    """
    if record.version == 1:
        kek = hkdf(data_key, salt=b"", info=labels.ROOT_INDIRECT)
        aad = labels.ROOT_INDIRECT + context_bytes(record.context)
        return aead.unwrap(record.inner, kek=kek, aad=aad)
    place = places.of_indirect_root(*Context.of(record.context).ids)
    return wraps.unsealed(record.inner, place, data_key)
