"""The pending transaction: changes made but not applied (docs/format/pending-changes.md; C-07).

Pure. The whole transaction is one sealed value; secrets in it are `ENC(...)` texts already, and
promotion passes those very texts on. Whether a change is allowed is decided before it comes here.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from strongroom import ids
from strongroom.config.document import (
    MAX_DOCUMENT_BYTES,
    ConfigDocument,
    canonical,
    parse_canonical,
)
from strongroom.crypto import aead, kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.secrets.catalog import TEMPORARY

_MAGIC = b"SRPC"
_FORMAT = 1
_LABEL = b"strongroom/v1/pending"
_KEY_ID = slice(5, 21)
_BASE_VERSION = slice(21, 29)
_HEAD_BYTES = 29
_REVISION_CHARACTERS = 16


@dataclass(frozen=True)
class PendingChanges:
    """What will change.

    Attributes:
        base_version: Version of the document when the transaction began.
        changes: Parameter name → new text, or None for its default.
    """

    base_version: int
    changes: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", MappingProxyType(dict(self.changes)))

    def with_changes(self, changes: Mapping[str, str | None]) -> "PendingChanges":
        """The transaction with more changes; the last change of a parameter counts."""
        return replace(self, changes={**self.changes, **changes})

    def promote(self, document: ConfigDocument) -> ConfigDocument:
        """The next version of the configuration, with these very texts (§4.1), but for those not kept (§4.6)."""
        return document.with_values({**self.changes, **dict.fromkeys(TEMPORARY)})

    def seal(self, key: SecretBytes, key_id: str, installation_id: str) -> bytes:
        """The stored bytes, encrypted as a whole."""
        head = _MAGIC + bytes([_FORMAT]) + ids.id_bytes(key_id) + self.base_version.to_bytes(8)
        plaintext = canonical({"changes": dict(self.changes)})
        return head + aead.seal(_subkey(key), plaintext, aad=_aad(head, installation_id))


def open_pending(
    data: bytes, open_key: Callable[[str], SecretBytes], installation_id: str
) -> PendingChanges:
    """The transaction that `PendingChanges.seal` wrote.

    Args:
        data: The stored bytes.
        open_key: Gives the configuration key of an id.
        installation_id: Whose transaction it must be.

    Raises:
        FormatError: The bytes are no sealed transaction of a known format.
        IntegrityError: Wrong key, other installation or changed bytes.
    """
    key_id = key_id_of_pending(data)
    head, sealed = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    plaintext = aead.open_(_subkey(open_key(key_id)), sealed, aad=_aad(head, installation_id))
    changes = _parse(plaintext)
    return PendingChanges(int.from_bytes(data[_BASE_VERSION]), changes)


def revision_of(data: bytes) -> str:
    """Which state of the transaction these stored bytes are (§4.5): each sealing has a nonce of its own."""
    return hashlib.sha256(data).hexdigest()[:_REVISION_CHARACTERS]


def key_id_of_pending(data: bytes) -> str:
    """The id of the configuration key that sealed a transaction; not authenticated.

    Raises:
        FormatError: The bytes are no sealed transaction of a known format.
    """
    # format/pending-changes.md §2.1, §2.3: nothing is looked at before length, magic and format
    if len(data) > MAX_DOCUMENT_BYTES or len(data) < _HEAD_BYTES + aead.OVERHEAD_BYTES:
        raise FormatError("the pending changes are damaged: wrong length", hint=_DISCARD)
    if data[:4] != _MAGIC or data[4] != _FORMAT:
        raise FormatError("the pending changes have a format that is not known here", hint=_DISCARD)
    return ids.id_text(data[_KEY_ID])


_DISCARD = "run 'tsm pending-changes discard' to give them up"


def _parse(plaintext: bytes) -> dict[str, str | None]:
    members = parse_canonical(plaintext, what="the pending transaction")
    changes = members.get("changes") if isinstance(members, dict) else None
    if not isinstance(changes, dict) or not changes or members != {"changes": changes}:
        raise FormatError("the pending changes are damaged: wrong members", hint=_DISCARD)
    if not all(text is None or isinstance(text, str) for text in changes.values()):
        raise FormatError("the pending changes are damaged: a value is no text", hint=_DISCARD)
    return changes


def _subkey(key: SecretBytes) -> SecretBytes:
    return kdf.hkdf(key, salt=b"", info=_LABEL)


def _aad(head: bytes, installation_id: str) -> bytes:
    format_, bound = head[4:5], head[5:]
    return _LABEL + format_ + ids.id_bytes(installation_id) + bound
