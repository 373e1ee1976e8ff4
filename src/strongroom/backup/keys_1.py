"""The keys of a backup of version 1, which are read for ever and written no more (docs/format/backup.md 5); pure."""

import hashlib
import hmac

from strongroom.backup.place import Place
from strongroom.crypto import aead, labels
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.kms.keys import Mek, Rmk


def mac(digest: bytes, rmk: Rmk, place: Place) -> bytes:
    """The MAC over the digest of the manifest; neither the version nor the RMK's id is in it."""
    key = hkdf(rmk.material, salt=b"", info=place.info(labels.BACKUP_MAC))
    return hmac.digest(key.reveal(), digest, hashlib.sha256)


def open_assets(sealed: bytes, rmk: Rmk, place: Place) -> SecretBytes:
    """The ring of asset keys.

    Raises:
        IntegrityError: The ring does not open by this RMK.
    """
    info = place.info(labels.BACKUP_ASSETS)
    return SecretBytes(aead.open_(hkdf(rmk.material, salt=b"", info=info), sealed, aad=info))


def unwrap_by_mek(wrapped: bytes, mek: Mek, place: Place) -> SecretBytes:
    """The RMK under a MEK.

    Raises:
        IntegrityError: The RMK does not open by that MEK.
    """
    info = place.info(labels.BACKUP_MEK)
    kek = hkdf(mek.material, salt=b"", info=info)
    return aead.unwrap(wrapped, kek=kek, aad=info)
