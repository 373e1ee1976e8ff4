"""Records of configuration keys: their document, bytes to values and back (C-03); no file IO.

format/configuration-keys.md, cited below.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from strongroom import ids
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto import kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeystoreError

FORMAT = 1
MAX_BYTES = 1 << 20
MAX_RECORDS = 1024
MAX_WRAPS = 64
REPAIR_HINT = "run 'tsm security keystore repair'"
_AAD_LABEL = b"strongroom/v1/configuration-key"
_RECIPIENT_LABEL = b"strongroom/v1/recovery/configuration-key"
_WRAP_LABEL = b"strongroom/v1/configuration-key-wrap"


class ConfigurationKeyState(StrEnum):
    """What a configuration key may do."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"


class WrapKind(StrEnum):
    """Who can open a wrap."""

    MASTER_KEY = "master-key"
    RECIPIENT = "recipient"


class KeyWrap(NamedTuple):
    """One configuration key under one master key, or for one recovery recipient."""

    id: str
    kind: WrapKind
    name: str
    wrapped: bytes


class ConfigurationKeyRecord(NamedTuple):
    """One configuration key and its wraps."""

    id: str
    created_at: datetime
    state: ConfigurationKeyState
    wraps: tuple[KeyWrap, ...]

    def of_kind(self, kind: WrapKind) -> tuple[KeyWrap, ...]:
        """Its wraps of one kind."""
        return tuple(wrap for wrap in self.wraps if wrap.kind is kind)


def serialize(installation_id: str, records: Sequence[ConfigurationKeyRecord]) -> bytes:
    """The canonical document."""
    document: dict[str, object] = {
        "format": FORMAT,
        "installation_id": installation_id,
        "keys": [_record_fields(record) for record in records],
    }
    document["checksum"] = _checksum(document)
    return _canonical(document) + b"\n"


def parse(data: bytes, installation_id: str) -> tuple[ConfigurationKeyRecord, ...]:
    """The records of a document.

    Raises:
        KeystoreError: Damaged, of another version, or of another installation.
    """
    try:
        document = _checked_document(data)
        _check_owner(document["installation_id"], installation_id)
        records = tuple(_read_record(fields) for fields in _list_of_objects(document["keys"]))
        _check_records(records)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeystoreError(damaged("a field is not as it should be"), hint=REPAIR_HINT) from error
    except FormatError as error:
        raise KeystoreError(damaged(error.message), hint=REPAIR_HINT) from error
    return records


def damaged(why: str) -> str:
    """The sentence of every error about these records."""
    return f"the configuration-key records cannot be used: {why}"


def _canonical(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _checksum(document: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(document)).hexdigest()


def _record_fields(record: ConfigurationKeyRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "created_at": format_utc(record.created_at),
        "state": record.state.value,
        "wraps": [
            {
                "id": wrap.id,
                "kind": wrap.kind.value,
                "name": wrap.name,
                "wrapped": base64.b64encode(wrap.wrapped).decode("ascii"),
            }
            for wrap in record.wraps
        ],
    }


def _checked_document(data: bytes) -> dict[str, object]:
    if len(data) > MAX_BYTES:
        raise FormatError("they are too large")
    document = json.loads(data)
    if not isinstance(document, dict) or "format" not in document:
        raise FormatError("this is no such document")
    if document["format"] != FORMAT:
        raise FormatError(f"version {document['format']!r} is not known here")
    _check_fields(document, {"checksum", "format", "installation_id", "keys"})
    if _canonical(document) + b"\n" != data:
        raise FormatError("they are not in canonical form")
    checksum = document.pop("checksum")
    if checksum != _checksum(document):
        raise FormatError("the checksum does not fit")
    return document


def _check_fields(fields: Mapping[str, object], names: set[str]) -> None:
    if fields.keys() != names:
        raise FormatError("a field is missing or not known")


def _check_owner(found: object, installation_id: str) -> None:
    if found != installation_id:
        raise FormatError("they belong to another installation")


def _list_of_objects(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FormatError("a list is missing")
    return value


def _read_record(fields: dict[str, str]) -> ConfigurationKeyRecord:
    _check_fields(fields, {"id", "created_at", "state", "wraps"})
    ids.id_bytes(fields["id"])
    return ConfigurationKeyRecord(
        fields["id"],
        parse_utc(fields["created_at"]),
        ConfigurationKeyState(fields["state"]),
        tuple(_read_wrap(wrap) for wrap in _list_of_objects(fields["wraps"])),
    )


def _read_wrap(fields: dict[str, str]) -> KeyWrap:
    _check_fields(fields, {"id", "kind", "name", "wrapped"})
    ids.id_bytes(fields["id"])
    if not fields["name"].isprintable() or not fields["name"]:
        raise FormatError("a wrap names nobody")
    try:
        wrapped = base64.b64decode(fields["wrapped"], validate=True)
    except binascii.Error as error:
        raise FormatError("a wrap is not base64") from error
    return KeyWrap(fields["id"], WrapKind(fields["kind"]), fields["name"], wrapped)


def _check_records(records: Sequence[ConfigurationKeyRecord]) -> None:
    wraps = [wrap.id for record in records for wrap in record.wraps]
    keys = [record.id for record in records]
    active = [record for record in records if record.state is ConfigurationKeyState.ACTIVE]
    if len(set(wraps)) != len(wraps) or len(set(keys)) != len(keys):
        raise FormatError("an id stands twice")
    if len(records) > MAX_RECORDS or not all(0 < len(r.wraps) <= MAX_WRAPS for r in records):
        raise FormatError("there are too many records, or too few or too many wraps")
    if len(active) > 1:
        raise FormatError("more than one key is active")


def wrap_aad(installation_id: str, key_id: str, wrap_id: str) -> bytes:
    """What a wrap is bound to (format/configuration-keys.md §2)."""
    return _AAD_LABEL + b"".join(ids.id_bytes(part) for part in (installation_id, key_id, wrap_id))


def recipient_aad(installation_id: str, key_id: str, wrap_id: str) -> bytes:
    """What a recipient's wrap is bound to (format/recovery.md 1.1)."""
    parts = (installation_id, key_id, wrap_id)
    return _RECIPIENT_LABEL + b"".join(map(ids.id_bytes, parts))


def wrap_key(master_key: SecretBytes) -> SecretBytes:
    """The master key's subkey for this purpose (format/configuration-keys.md §2)."""
    return kdf.hkdf(master_key, salt=b"", info=_WRAP_LABEL)
