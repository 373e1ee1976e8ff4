"""A KMS store of either format, where both are met: in backups, among closed stores, before an upgrade; pure."""

from typing import NamedTuple

from strongroom.kms import closed_stores, store, store_1
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.store import KmsStore
from strongroom.kms.store_1 import KmsStore1

AnyStore = KmsStore | KmsStore1


class HeldKeys(NamedTuple):
    """The keys of a store of either format, for a backup.

    Attributes:
        store: The store.
        digest: SHA-256 of the bytes of that store, in hexadecimal digits.
        rmk: The RMK of that store.
        ring: The MEKs of that store.
    """

    store: AnyStore
    digest: str
    rmk: Rmk
    ring: KeyRing


def parse(raw: bytes) -> AnyStore:
    """The store of these bytes.

    Raises:
        FormatError: The bytes are no store of a known format.
    """
    fields = store.KIND.loads(raw)
    return store_1.parse(raw) if fields.value("v") == store_1.VERSION else store.parse(raw)


def reference(raw: bytes) -> ClosedStore:
    """The reference to a store that is closed now.

    Raises:
        FormatError: The bytes are no store of a known format.
    """
    return closed_stores.closed(raw, parse(raw).epoch)
