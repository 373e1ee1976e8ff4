"""The ring of asset keys, and credentials sealed by them (C-08); pure.

Format: docs/format/asset-keys.md.
"""

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Any

from strongroom.clock import parse_utc
from strongroom.crypto import aead
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeyNotFoundError
from strongroom.ids import id_bytes, is_id

VERSION = 1
MAX_KEYS = 64
KEY_BYTES = 32
_LABEL = b"strongroom/v1/asset"


@dataclass(frozen=True)
class AssetKey:
    """One asset key."""

    id: str
    created_at: str
    material: SecretBytes


@dataclass(frozen=True)
class AssetRing:
    """Asset keys; the active one seals, every one opens."""

    active_id: str
    keys: tuple[AssetKey, ...]

    def __post_init__(self) -> None:
        ids = [key.id for key in self.keys]
        if self.active_id not in ids or len(set(ids)) != len(ids) or len(ids) > MAX_KEYS:
            raise FormatError("the asset keys are damaged: no single active key among them")

    def with_new_active(self, key: AssetKey) -> "AssetRing":
        """The ring in which a new key seals."""
        return AssetRing(key.id, (*self.keys, key))

    def only_active(self) -> "AssetRing":
        """The ring without the keys that only open."""
        return replace(self, keys=tuple(key for key in self.keys if key.id == self.active_id))

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        """Seal a credential under the active key: the key's id and the text to store."""
        kek, aad = self._bound(self.active_id, content_id)
        sealed = aead.seal(kek, plaintext, aad=aad)
        return self.active_id, base64.b64encode(sealed).decode("ascii")

    def open_(self, key_id: str, sealed: str, *, content_id: str) -> SecretBytes:
        """The credential of a stored text.

        Raises:
            KeyNotFoundError: The key is not in the ring.
            IntegrityError: It was sealed for other content, or changed.
            FormatError: It is no base64.
        """
        try:
            raw = base64.b64decode(sealed, validate=True)
        except binascii.Error as error:
            raise FormatError(f"the credential of content {content_id} is damaged") from error
        kek, aad = self._bound(key_id, content_id)
        return SecretBytes(aead.open_(kek, raw, aad=aad))

    def _bound(self, key_id: str, content_id: str) -> tuple[SecretBytes, bytes]:
        for key in self.keys:
            if key.id == key_id:
                aad = _LABEL + id_bytes(key_id) + id_bytes(content_id)
                return hkdf(key.material, salt=b"", info=_LABEL), aad
        raise KeyNotFoundError(f"there is no asset key {key_id}")


def serialize(ring: AssetRing) -> bytes:
    """The canonical bytes (§1.1)."""
    keys = [
        {
            "id": key.id,
            "created_at": key.created_at,
            "key": base64.b64encode(key.material.reveal()).decode("ascii"),
        }
        for key in ring.keys
    ]
    document = {"v": VERSION, "active": ring.active_id, "keys": keys}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def parse(raw: bytes) -> AssetRing:
    """The ring of its bytes.

    Raises:
        FormatError: Not a ring, or of a version not known here. Without the cause: its text could
            hold key material.
    """
    try:
        ring = _read(json.loads(raw))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError("the asset keys are damaged: they cannot be read") from None
    if serialize(ring) != raw:
        raise FormatError("the asset keys are damaged: they are not in canonical form")
    return ring


def _read(document: Any) -> AssetRing:
    if document["v"] != VERSION:
        raise FormatError("the asset keys have a version that is not known here")
    return AssetRing(document["active"], tuple(_read_key(item) for item in document["keys"]))


def _read_key(item: Any) -> AssetKey:
    parse_utc(item["created_at"])
    material = base64.b64decode(item["key"], validate=True)
    if not is_id(item["id"]) or len(material) != KEY_BYTES:
        raise ValueError(item["id"])
    return AssetKey(item["id"], item["created_at"], SecretBytes(material))
