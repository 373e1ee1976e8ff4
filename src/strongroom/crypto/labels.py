"""Every label that tells one use of a key from another, and what it is used for; pure.

Format: docs/format/primitives.md, whose table is written from this module. A label stands here and nowhere else: so one
look shows that no two uses of a key can be taken for each other, and a test holds the product to it.
"""

from enum import StrEnum
from typing import NamedTuple

from strongroom.system.compat import override

ENC = b"strongroom/v1/enc"
PENDING = b"strongroom/v1/pending"
BOOTSTRAP = b"strongroom/v1/bootstrap"
CONFIGURATION_KEY_WRAP = b"strongroom/v1/configuration-key-wrap"
CONFIGURATION_KEY = b"strongroom/v1/configuration-key"
RECOVERY_CONFIGURATION_KEY = b"strongroom/v1/recovery/configuration-key"
RECOVERY_RMK = b"strongroom/v1/recovery/rmk"
ROOT_LOCAL = b"strongroom/v1/root/local"
ROOT_INDIRECT = b"strongroom/v1/root/indirect"
ROOT_PKCS11 = b"strongroom/v1/root/pkcs11"
ROOT_GCP = b"strongroom/v1/root/gcp"
KMS_MEK_WRAP = b"strongroom/v1/kms/mek-wrap"
KMS_MAC = b"strongroom/v1/kms/mac"
KMS_MEK = b"strongroom/v1/kms/mek"
KMS_CANARY = b"strongroom/v1/kms/canary"
BACKUP_MAC = b"strongroom/v1/backup/mac"
BACKUP_ASSETS = b"strongroom/v1/backup/assets"
BACKUP_MEK = b"strongroom/v1/backup/mek"
SLOT = b"strongroom/v1/slot"
COMMIT = b"strongroom/v1/commit"
BODY = b"strongroom/v1/body"
SLOT_2 = b"strongroom/v2/slot"
COMMIT_2 = b"strongroom/v2/commit"
STREAM_2 = b"strongroom/v2/stream"
BODY_2 = b"strongroom/v2/body"
ASSET = b"strongroom/v1/asset"
SESSION = b"strongroom/v1/session\0"
ACCESS_TOKEN = b"strongroom/v1/access-token\0"
SEAL_ENC = b"strongroom/v2/seal/enc"
SEAL_PENDING = b"strongroom/v2/seal/pending"
SEAL_FORMER = b"strongroom/v2/seal/former"
SEAL_NEXT_STORE = b"strongroom/v2/seal/next-store"
SEAL_CONFIGURATION_KEY = b"strongroom/v2/seal/configuration-key"
SEAL_ROOT_LOCAL = b"strongroom/v2/seal/root-local"
SEAL_ROOT_INDIRECT = b"strongroom/v2/seal/root-indirect"
SEAL_MEK = b"strongroom/v2/seal/mek"
SEAL_ASSET = b"strongroom/v2/seal/asset"
SEAL_BACKUP_ASSETS = b"strongroom/v2/seal/backup-assets"
SEAL_BACKUP_RMK = b"strongroom/v2/seal/backup-rmk"
SEAL_BY_SERVICE_KEY = b"strongroom/v2/seal/by-service-key"
SEAL_BY_DERIVED_KEY = b"strongroom/v2/seal/by-derived-key"
SERVICE_KEY = b"strongroom/v2/service-key"
SERVICE_VALUE = b"strongroom/v2/service-value"
SERVICE_HMAC = b"strongroom/v2/service-hmac"
SERVICE_CONVERGENT = b"strongroom/v2/service-convergent"
SERVICE_TOKEN = b"strongroom/v2/service-token\0"
ENTRY_MAC = b"strongroom/v2/entry-mac"
RECORDS_MAC = b"strongroom/v2/records-mac"
KMS_MAC_2 = b"strongroom/v2/kms/mac"
BACKUP_MAC_2 = b"strongroom/v2/backup/mac"
KMS_SUCCESSOR = b"strongroom/v2/kms/successor"
KMS_SUCCEEDS = b"strongroom/v2/kms/succeeds"
ANCHOR = b"strongroom/v2/anchor"
LOG_ANCHOR = b"strongroom/v2/log-anchor"
SIGNED = b"strongroom/v2/signed/"
IDENTITY = b"strongroom/v2/identity"
WELCOME = b"strongroom/v2/welcome"
KEY_BUNDLE = b"strongroom/v2/key-bundle"
NODE_KEYS = b"strongroom/v2/node-keys"
ADMISSION_REQUEST = b"strongroom/v2/admission-request"
CHECKPOINT = b"strongroom/"
DERIVED = b"derived from "
COSIGNATURE = b"cosignature/v1"


class Kind(StrEnum):
    """The operation that takes the bytes beginning with a label."""

    INFO = "HKDF info"
    AAD = "AES-GCM AAD"
    DIGEST = "SHA-256"
    SEALED = "in an age file"
    HPKE = "HPKE info"
    SIGNED = "Ed25519"


class Field(NamedTuple):
    """A field that follows a label.

    Attributes:
        name: Name of the field's content.
        size: Length in bytes; 0 for any length, which only the last field may have.
    """

    name: str
    size: int

    @override
    def __str__(self) -> str:
        """`name (bytes)`."""
        return f"{self.name} ({self.size})" if self.size else self.name


class Use(NamedTuple):
    """A use of a label.

    Attributes:
        label: The bytes at the beginning.
        kind: The operation that takes the bytes.
        key: The key of the operation; for a digest, which has no key, the name of the digested data.
        fields: The fields that follow the label.
        salted: For a subkey: whether the derivation has a fresh salt as well.
        size: For a subkey: its length in bytes.
        page: The document that specifies the use.
        framed: Whether a zero byte and the number of the fields follow the label, and a length precedes each field.
    """

    label: bytes
    kind: Kind
    key: str
    fields: tuple[Field, ...]
    page: str
    salted: bool = False
    size: int = 32
    framed: bool = False

    @property
    def has_fixed_width(self) -> bool:
        """Whether all that is given has one length."""
        return all(field.size for field in self.fields)

    @property
    def width(self) -> int:
        """Bytes of the label and of all fields; the least that there can be, if the last has any number."""
        frames = _COUNT_BYTES + _LENGTH_BYTES * len(self.fields) if self.framed else 0
        return len(self.label) + sum(field.size for field in self.fields) + frames

    def fits(self, data: bytes) -> bool:
        """Whether these bytes can be of this use, by label and length."""
        if not data.startswith(self.label):
            return False
        if self.framed:
            return self._fits_framed(data)
        return len(data) == self.width if self.has_fixed_width else len(data) >= self.width

    def _fits_framed(self, data: bytes) -> bool:
        head = self.label + b"\0" + bytes([len(self.fields)])
        rest = data[len(head) :]
        for field in self.fields:
            length = int.from_bytes(rest[:4], "big")
            if len(rest) < 4 + length or (field.size and field.size != length):
                return False
            rest = rest[4 + length :]
        return data.startswith(head) and not rest


_COUNT_BYTES, _LENGTH_BYTES = 2, 4


def framed(label: bytes, *fields: bytes) -> bytes:
    """A label and fields of any lengths, so that no other label and fields give these bytes (seals.md 1.2)."""
    parts = [len(field).to_bytes(_LENGTH_BYTES, "big") + field for field in fields]
    return label + bytes([0, len(fields)]) + b"".join(parts)


CONFIGURATION = "configuration key"
MASTER = "master key"
RMK = "RMK"
MEK = "MEK"
DEK = "DEK"
ASSET_KEY = "asset key"
DATA_KEY = "data key of a root"
OF_SERVICES = "service key"

SEAL_BYTES = 44
"""Of a subkey that seals once: AES-256 key (32) and nonce (12)."""

_INSTALLATION = Field("installation", 16)
_RMK_ID = Field("RMK id", 16)
_KEY_ID = Field("key id", 16)
_WRAP_ID = Field("wrap id", 16)
_PAIRS = Field("pairs, each with its lengths", 0)
_PLACE = (_INSTALLATION, _RMK_ID)
_OF_WRAP = (*_PLACE, _WRAP_ID)
_OF_KEY_WRAP = (_INSTALLATION, _KEY_ID, _WRAP_ID)
_OF_BACKUP = (*_PLACE, Field("backup id", 16))
_SLOT_FIELDS = (
    Field("prelude", 64),
    Field("sequence", 8),
    Field("algorithm", 2),
    Field("MEK id", 16),
    Field("placement", 32),
)
_NODE_KEYS = (Field("signing key", 32), Field("sealing key", 32))
_OF_SERVICE_KEY = (Field("key id", 16), Field("version", 4))
_BODY_FIELDS = (
    Field("format", 2),
    Field("suite", 2),
    Field("segment bytes", 4),
    Field("file id", 16),
    Field("commitment", 32),
)

#: Subkeys, by the key that they are derived from.
SUBKEYS: tuple[Use, ...] = (
    Use(CONFIGURATION_KEY_WRAP, Kind.INFO, MASTER, (), "configuration-keys.md"),
    Use(RECORDS_MAC, Kind.INFO, MASTER, (_INSTALLATION,), "configuration-keys.md"),
    Use(ENC, Kind.INFO, CONFIGURATION, (), "enc.md"),
    Use(PENDING, Kind.INFO, CONFIGURATION, (), "pending-changes.md"),
    Use(ROOT_LOCAL, Kind.INFO, CONFIGURATION, (), "kms-store.md"),
    Use(BOOTSTRAP, Kind.INFO, CONFIGURATION, (_INSTALLATION,), "bootstrap-file.md"),
    Use(ANCHOR, Kind.INFO, CONFIGURATION, (_INSTALLATION, _KEY_ID), "anchor.md"),
    Use(LOG_ANCHOR, Kind.INFO, CONFIGURATION, (_INSTALLATION, _KEY_ID), "anchor.md"),
    Use(ENTRY_MAC, Kind.INFO, CONFIGURATION, (_INSTALLATION, _KEY_ID), "entries.md"),
    Use(KMS_MEK_WRAP, Kind.INFO, RMK, _PLACE, "kms-store.md"),
    Use(KMS_MAC, Kind.INFO, RMK, _PLACE, "kms-store.md"),
    Use(KMS_MAC_2, Kind.INFO, RMK, _PLACE, "kms-store.md"),
    Use(KMS_SUCCESSOR, Kind.INFO, RMK, _PLACE, "kms-store.md"),
    Use(BACKUP_MAC, Kind.INFO, RMK, _OF_BACKUP, "backup.md"),
    Use(BACKUP_ASSETS, Kind.INFO, RMK, _OF_BACKUP, "backup.md"),
    Use(BACKUP_MAC_2, Kind.INFO, RMK, _OF_BACKUP, "backup.md"),
    Use(SLOT, Kind.INFO, MEK, (), "envelope.md", salted=True),
    Use(KMS_CANARY, Kind.INFO, MEK, (), "kms-store.md", salted=True),
    Use(BACKUP_MEK, Kind.INFO, MEK, _OF_BACKUP, "backup.md"),
    Use(COMMIT, Kind.INFO, DEK, (Field("file id", 16),), "envelope.md"),
    Use(b"", Kind.INFO, DEK, (Field("the digest of the body's context", 32),), "envelope.md", True),
    Use(
        SLOT_2,
        Kind.INFO,
        MEK,
        _SLOT_FIELDS,
        "envelope-2.md",
        salted=True,
        size=SEAL_BYTES,
        framed=True,
    ),
    Use(
        SERVICE_KEY,
        Kind.INFO,
        MEK,
        (Field("MEK id", 16), *_OF_SERVICE_KEY, Field("kind", 0)),
        "service-keys.md",
        salted=True,
        size=SEAL_BYTES,
        framed=True,
    ),
    Use(
        SERVICE_VALUE,
        Kind.INFO,
        MEK,
        (Field("MEK id", 16), Field("mount id", 16), Field("version", 4), Field("path", 0)),
        "service-keys.md",
        salted=True,
        size=SEAL_BYTES,
        framed=True,
    ),
    Use(SERVICE_HMAC, Kind.INFO, OF_SERVICES, _OF_SERVICE_KEY, "service-keys.md", framed=True),
    Use(
        SERVICE_CONVERGENT, Kind.INFO, OF_SERVICES, _OF_SERVICE_KEY, "service-keys.md", framed=True
    ),
    Use(COMMIT_2, Kind.INFO, DEK, (Field("file id", 16),), "envelope-2.md"),
    Use(
        STREAM_2,
        Kind.INFO,
        DEK,
        (Field("the digest of the body's context", 32),),
        "envelope-2.md",
        salted=True,
    ),
    Use(ASSET, Kind.INFO, ASSET_KEY, (), "asset-keys.md"),
    Use(ROOT_INDIRECT, Kind.INFO, DATA_KEY, (), "kms-store.md"),
)

#: The contexts to which ciphertexts are bound, by the label of the subkey that seals, or the key outside.
BOUND: tuple[Use, ...] = (
    Use(
        CONFIGURATION_KEY, Kind.AAD, "configuration-key-wrap", _OF_KEY_WRAP, "configuration-keys.md"
    ),
    Use(ENC, Kind.AAD, "enc", (Field("version", 1), _KEY_ID, Field("parameter", 0)), "enc.md"),
    Use(
        PENDING,
        Kind.AAD,
        "pending",
        (Field("format", 1), _INSTALLATION, _KEY_ID, Field("base version", 8)),
        "pending-changes.md",
    ),
    Use(ROOT_LOCAL, Kind.AAD, "root/local", _OF_WRAP, "kms-store.md"),
    Use(ROOT_INDIRECT, Kind.AAD, "root/indirect", (_PAIRS,), "kms-store.md"),
    Use(ROOT_PKCS11, Kind.AAD, "key in the token", (_PAIRS,), "kms-store.md"),
    Use(ROOT_GCP, Kind.AAD, "key in Cloud KMS", (_PAIRS,), "kms-store.md"),
    Use(KMS_MEK, Kind.AAD, "kms/mek-wrap", (*_PLACE, Field("MEK id", 16)), "kms-store.md"),
    Use(KMS_CANARY, Kind.AAD, "kms/canary", (Field("MEK id", 16),), "kms-store.md"),
    Use(BACKUP_ASSETS, Kind.AAD, "backup/assets", _OF_BACKUP, "backup.md"),
    Use(BACKUP_MEK, Kind.AAD, "backup/mek", _OF_BACKUP, "backup.md"),
    Use(SLOT, Kind.AAD, "slot", _SLOT_FIELDS, "envelope.md"),
    Use(
        ASSET,
        Kind.AAD,
        "asset",
        (Field("asset-key id", 16), Field("content id", 16)),
        "asset-keys.md",
    ),
)


def _seal(label: bytes, key: str, *fields: Field) -> Use:
    return Use(label, Kind.INFO, key, fields, "seals.md", salted=True, size=76, framed=True)


#: The single-shot seals of format 2: key, nonce and commitment of each come from one derivation.
SEALS: tuple[Use, ...] = (
    _seal(SEAL_ENC, CONFIGURATION, _INSTALLATION, _KEY_ID, Field("parameter", 0)),
    _seal(
        SEAL_PENDING,
        CONFIGURATION,
        _INSTALLATION,
        _KEY_ID,
        Field("base version", 8),
        Field("number", 8),
    ),
    _seal(SEAL_FORMER, CONFIGURATION, _INSTALLATION, _KEY_ID, Field("SHA-256", 32)),
    _seal(SEAL_NEXT_STORE, CONFIGURATION, _INSTALLATION, _KEY_ID, Field("change id", 16)),
    _seal(SEAL_CONFIGURATION_KEY, MASTER, *_OF_KEY_WRAP),
    _seal(SEAL_ROOT_LOCAL, CONFIGURATION, *_OF_WRAP),
    _seal(SEAL_ROOT_INDIRECT, DATA_KEY, *_OF_WRAP),
    _seal(SEAL_MEK, RMK, *_PLACE, Field("MEK id", 16)),
    _seal(
        SEAL_ASSET,
        ASSET_KEY,
        _INSTALLATION,
        Field("asset-key id", 16),
        Field("content id", 16),
    ),
    _seal(SEAL_BACKUP_ASSETS, RMK, *_OF_BACKUP),
    _seal(SEAL_BACKUP_RMK, MEK, *_OF_BACKUP, Field("MEK id", 16)),
    _seal(SEAL_BY_SERVICE_KEY, OF_SERVICES, *_OF_SERVICE_KEY, Field("associated data", 0)),
    _seal(
        SEAL_BY_DERIVED_KEY,
        OF_SERVICES,
        *_OF_SERVICE_KEY,
        Field("SHA-256 of the context", 32),
        Field("associated data", 0),
    ),
)

#: Digests of something behind a label, with no key.
DIGESTS: tuple[Use, ...] = (
    Use(BODY, Kind.DIGEST, "the body's context", _BODY_FIELDS, "envelope.md"),
    Use(BODY_2, Kind.DIGEST, "the body's context", _BODY_FIELDS, "envelope-2.md"),
    Use(SESSION, Kind.DIGEST, "a session's token", (Field("token", 0),), "backup.md"),
    Use(IDENTITY, Kind.DIGEST, "an identity", (Field("public key", 32),), "statements.md"),
    Use(ACCESS_TOKEN, Kind.DIGEST, "an access token", (Field("secret", 0),), "backup.md"),
    Use(SERVICE_TOKEN, Kind.DIGEST, "a service's token", (Field("secret", 0),), "service-keys.md"),
    Use(NODE_KEYS, Kind.DIGEST, "the keys of a node", _NODE_KEYS, "nodes.md"),
    Use(
        ADMISSION_REQUEST,
        Kind.DIGEST,
        "a request",
        (Field("credential id", 16), *_NODE_KEYS, Field("request key", 32)),
        "bootstrap-file.md",
    ),
)

#: The labels of data that is sealed to a recipient, or signed by the event log's key.
OTHERS: tuple[Use, ...] = (
    Use(RECOVERY_RMK, Kind.SEALED, "recipient", (*_OF_WRAP, Field("RMK", 32)), "recovery.md"),
    Use(
        RECOVERY_CONFIGURATION_KEY,
        Kind.SEALED,
        "recipient",
        (*_OF_KEY_WRAP, Field("key", 32)),
        "recovery.md",
    ),
    Use(
        WELCOME,
        Kind.HPKE,
        "the node's key to receive",
        (_INSTALLATION, Field("digest of the request", 32)),
        "nodes.md",
    ),
    Use(
        KEY_BUNDLE,
        Kind.HPKE,
        "the node's key to receive",
        (
            _INSTALLATION,
            Field("change id", 16),
            Field("generation", 8),
            Field("epoch of the KMS store", 8),
            Field("digest of the KMS store", 32),
            Field("SHA-256 of the node's public keys", 32),
        ),
        "key-changes.md",
    ),
    Use(
        SIGNED,
        Kind.SIGNED,
        "identity, credential or node",
        (Field("purpose, a zero byte, installation, incarnation, the payload with its length", 0),),
        "statements.md",
    ),
    Use(
        KMS_SUCCEEDS,
        Kind.SIGNED,
        "successor key of an RMK",
        (
            _INSTALLATION,
            Field("epoch", 8),
            Field("digest of the store before", 32),
            Field("digest of the store", 32),
            Field("successor key of the store", 32),
        ),
        "kms-store.md",
    ),
    Use(
        CHECKPOINT,
        Kind.SIGNED,
        "event log's signing key",
        (Field("the rest of the checkpoint", 0),),
        "events.md",
    ),
    Use(
        COSIGNATURE,
        Kind.SIGNED,
        "node's key to sign",
        (Field("a line break, `time`, a blank, the seconds, a line break, the checkpoint", 0),),
        "log-heads.md",
    ),
    Use(
        DERIVED,
        Kind.SIGNED,
        "event log's signing key",
        (Field("origin, a line break, the summary", 0),),
        "events.md",
    ),
)

USES: tuple[Use, ...] = (*SUBKEYS, *SEALS, *BOUND, *DIGESTS, *OTHERS)
