"""A data key that is made, opened again and thrown away: the proof that keys serve, without any file."""

from strongroom.crypto import labels
from strongroom.errors import IntegrityError
from strongroom.kms.data_keys import DataKeys, KeyContext

_CONTEXT = KeyContext(labels.KMS_CANARY)


def check(keys: DataKeys) -> None:
    """Make a data key under the active version and open it again.

    Raises:
        IntegrityError: The data key does not open, or another key comes back.
        StrongroomError: The versions cannot be reached.
    """
    key, wrapped = keys.generate(_CONTEXT)
    if keys.unwrap(wrapped.key_id, wrapped.blob, _CONTEXT) != key:
        raise IntegrityError
