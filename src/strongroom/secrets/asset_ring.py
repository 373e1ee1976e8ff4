"""The ring of asset keys, and credentials sealed by them (C-08); pure.

Format: docs/format/asset-keys.md.
"""

from dataclasses import dataclass, replace

from strongroom.canonical import ASCII, Fields, Kind, from_base64, to_base64
from strongroom.crypto import aead, labels
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeyNotFoundError
from strongroom.ids import id_bytes

VERSION = 1
MAX_KEYS = 64
KEY_BYTES = 32
_KIND = Kind("the ring of asset keys", ASCII, most=1 << 20)


@dataclass(frozen=True)
class AssetKey:
    """An asset key, under which credentials in content are sealed."""

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
        """The ring with a new active key."""
        return AssetRing(key.id, (*self.keys, key))

    def only_active(self) -> "AssetRing":
        """The ring with its active key only."""
        return replace(self, keys=tuple(key for key in self.keys if key.id == self.active_id))

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        """Seal a credential under the active key: the key's id and the text to store."""
        kek, aad = self._bound(self.active_id, content_id)
        sealed = aead.seal(kek, plaintext, aad=aad)
        return self.active_id, to_base64(sealed)

    def open_(self, key_id: str, sealed: str, *, content_id: str) -> SecretBytes:
        """Open the credential of a stored text.

        Raises:
            KeyNotFoundError: The key is not in the ring.
            IntegrityError: The credential was sealed for other content, or changed.
            FormatError: The text is no base64.
        """
        raw = from_base64(sealed)
        if raw is None:
            raise FormatError(f"the credential of content {content_id} is damaged")
        kek, aad = self._bound(key_id, content_id)
        return SecretBytes(aead.open_(kek, raw, aad=aad))

    def _bound(self, key_id: str, content_id: str) -> tuple[SecretBytes, bytes]:
        for key in self.keys:
            if key.id == key_id:
                aad = labels.ASSET + id_bytes(key_id) + id_bytes(content_id)
                return hkdf(key.material, salt=b"", info=labels.ASSET), aad
        raise KeyNotFoundError(f"there is no asset key {key_id}")


def serialize(ring: AssetRing) -> bytes:
    """The canonical bytes (§1.1)."""
    keys = [
        {
            "id": key.id,
            "created_at": key.created_at,
            "key": to_base64(key.material.reveal()),
        }
        for key in ring.keys
    ]
    return _KIND.dumps({"v": VERSION, "active": ring.active_id, "keys": keys})


def parse(raw: bytes) -> AssetRing:
    """Parse the bytes of a ring.

    Raises:
        FormatError: The bytes are no ring, or one of an unknown version.
    """
    fields = _KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(("v", "active", "keys"))
    return AssetRing(fields.text("active"), tuple(map(_read_key, fields.objects("keys"))))


def _read_key(item: Fields) -> AssetKey:
    item.check_names(("id", "created_at", "key"))
    material = item.raw("key")
    if len(material) != KEY_BYTES:
        raise item.refused("a key has another length")
    return AssetKey(item.id("id"), item.time("created_at"), SecretBytes(material))
