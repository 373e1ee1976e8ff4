"""The pending transaction: changes made but not applied (docs/format/pending-changes.md; C-07).

Pure. The transaction is stored as one sealed value. Secrets in it are `ENC(...)` texts, and promotion puts the same
texts into the configuration. Callers decide beforehand whether a change is allowed.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from strongroom import ids
from strongroom.canonical import UTF_8, Fields, Kind
from strongroom.config.document import MAX_DOCUMENT_BYTES, ConfigDocument
from strongroom.coordination.floors import PendingPoint
from strongroom.crypto import aead, kdf, labels, places, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.secrets.catalog import TEMPORARY

_MAGIC = b"SRPC"
_FORMAT = 2
_KEY_ID = slice(5, 21)
_BASE_VERSION = slice(21, 29)
_NUMBER = slice(29, 37)
_HEAD_BYTES = 37
_OLDER_FORMAT = 1
_OLDER_HEAD_BYTES = 29
_REVISION_CHARACTERS = 16


@dataclass(frozen=True)
class PendingChanges:
    """The pending changes.

    Attributes:
        base_version: Version of the document when the transaction began.
        number: The number of this state of the transaction: each change of it counts one up (entries.md 3.2).
        changes: Parameter name → new text, or None for its default.
    """

    base_version: int
    number: int
    changes: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", MappingProxyType(dict(self.changes)))

    def with_changes(self, changes: Mapping[str, str | None]) -> "PendingChanges":
        """The next state, with more changes; a later change of a parameter replaces an earlier one."""
        return replace(self, number=self.number + 1, changes={**self.changes, **changes})

    def promote(self, document: ConfigDocument) -> ConfigDocument:
        """The next version of the configuration, with these texts unchanged (§4.1), without temporary ones (§4.6)."""
        promoted = document.with_values({**self.changes, **dict.fromkeys(TEMPORARY)})
        return promoted._replace(pending_floor=self.number)

    def seal(self, key: SecretBytes, key_id: str, installation_id: str) -> bytes:
        """The stored bytes, encrypted as a whole."""
        head = _MAGIC + bytes([_FORMAT]) + ids.id_bytes(key_id)
        head += self.base_version.to_bytes(8) + self.number.to_bytes(8)
        place = places.of_pending(installation_id, key_id, self.base_version, self.number)
        return head + seals.seal(key, place, _KIND.dumps({"changes": dict(self.changes)}))


def open_pending(
    data: bytes, open_key: Callable[[str], SecretBytes], installation_id: str
) -> PendingChanges:
    """The transaction that `PendingChanges.seal` wrote.

    Args:
        data: The stored bytes.
        open_key: Returns the configuration key of an id.
        installation_id: The installation to which the transaction must belong.

    Raises:
        FormatError: The bytes are no sealed transaction of a known format.
        IntegrityError: The key or the installation is another one, or the bytes were changed.
    """
    key_id, point = key_id_of_pending(data), point_of_pending(data)
    place = places.of_pending(installation_id, key_id, point.base_version, point.number)
    plaintext = seals.open_(open_key(key_id), place, data[_HEAD_BYTES:])
    return PendingChanges(point.base_version, point.number, _parse(plaintext))


def open_older(
    data: bytes, open_key: Callable[[str], SecretBytes], installation_id: str
) -> PendingChanges:
    """The transaction of format 1, for the upgrade, as the first of a document.

    Raises:
        FormatError: The bytes are no sealed transaction of format 1.
        IntegrityError: The key or the installation is another one, or the bytes were changed.
    """
    _check_head(data, _OLDER_FORMAT, _OLDER_HEAD_BYTES + aead.OVERHEAD_BYTES)
    key = kdf.hkdf(open_key(ids.id_text(data[_KEY_ID])), salt=b"", info=labels.PENDING)
    head, sealed = data[:_OLDER_HEAD_BYTES], data[_OLDER_HEAD_BYTES:]
    aad = labels.PENDING + head[4:5] + ids.id_bytes(installation_id) + head[5:]
    changes = _parse(aead.open_(key, sealed, aad=aad))
    return PendingChanges(int.from_bytes(data[_BASE_VERSION]), 1, changes)


def revision_of(data: bytes) -> str:
    """A text that identifies the state of a stored transaction (§4.5); each sealing has a fresh salt, so states differ."""
    return hashlib.sha256(data).hexdigest()[:_REVISION_CHARACTERS]


def key_id_of_pending(data: bytes) -> str:
    """The id of the configuration key that sealed a transaction.

    Raises:
        FormatError: The bytes are no sealed transaction of a known format.
    """
    _check_head(data, _FORMAT, _HEAD_BYTES + seals.OVERHEAD_BYTES)
    return ids.id_text(data[_KEY_ID])


def point_of_pending(data: bytes) -> PendingPoint:
    """Number and base version of a transaction, which discarding needs without its key.

    Raises:
        FormatError: The bytes are no sealed transaction of a known format.
    """
    _check_head(data, _FORMAT, _HEAD_BYTES + seals.OVERHEAD_BYTES)
    return PendingPoint(int.from_bytes(data[_NUMBER]), int.from_bytes(data[_BASE_VERSION]))


def _check_head(data: bytes, version: int, least: int) -> None:
    # format/pending-changes.md §2.1, §2.3: length, magic and format are checked before anything else
    if not least <= len(data) <= MAX_DOCUMENT_BYTES:
        raise FormatError("the pending changes are damaged: wrong length", hint=_DISCARD)
    if data[:4] != _MAGIC or data[4] != version:
        raise FormatError("the pending changes have a format that is not known here", hint=_DISCARD)


_DISCARD = "run 'tsm pending-changes discard' to give them up"
_KIND = Kind("the pending transaction", UTF_8, MAX_DOCUMENT_BYTES, hint=_DISCARD)


def _parse(plaintext: bytes) -> dict[str, str | None]:
    fields = _KIND.loads(plaintext)
    fields.check_names(("changes",))
    changes = fields.inner("changes")
    if not changes.names:
        raise fields.refused("it changes nothing")
    return {name: changes.optional(name, Fields.text) for name in changes.names}
