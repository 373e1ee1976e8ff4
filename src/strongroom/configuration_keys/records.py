"""Records of configuration keys: their document, bytes to values and back (C-03); no file IO.

format/configuration-keys.md, cited below.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from strongroom import ids
from strongroom.canonical import ASCII, ASCII_LINE, Fields, Kind, dumps, to_base64
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto import aead, kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeystoreError

FORMAT = 1
MAX_BYTES = 1 << 20
MAX_RECORDS = 1024
MAX_WRAPS = 64
REPAIR_HINT = "run 'tsm security keystore repair'"
KIND = Kind("their document", ASCII_LINE, MAX_BYTES)


class ConfigurationKeyState(StrEnum):
    """The states of a configuration key."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"


class WrapKind(StrEnum):
    """The kinds of wraps, by the key that opens them."""

    MASTER_KEY = "master-key"
    RECIPIENT = "recipient"


class KeyWrap(NamedTuple):
    """A configuration key, wrapped by a master key or for a recovery recipient."""

    id: str
    kind: WrapKind
    name: str
    wrapped: bytes


class ConfigurationKeyRecord(NamedTuple):
    """A configuration key and its wraps."""

    id: str
    created_at: datetime
    state: ConfigurationKeyState
    wraps: tuple[KeyWrap, ...]

    def of_kind(self, kind: WrapKind) -> tuple[KeyWrap, ...]:
        """The record's wraps of one kind."""
        return tuple(wrap for wrap in self.wraps if wrap.kind is kind)


def serialize(installation_id: str, records: Sequence[ConfigurationKeyRecord]) -> bytes:
    """The canonical document."""
    document: dict[str, object] = {
        "format": FORMAT,
        "installation_id": installation_id,
        "keys": [_record_fields(record) for record in records],
    }
    document["checksum"] = _checksum(document)
    return KIND.dumps(document)


def parse(data: bytes, installation_id: str) -> tuple[ConfigurationKeyRecord, ...]:
    """Parse the records of a document.

    Raises:
        KeystoreError: The document is damaged, of another version, or of another installation.
    """
    try:
        fields = KIND.loads(data)
        fields.check_version("format", FORMAT)
        fields.check_names(("checksum", "format", "installation_id", "keys"))
        checksum = _checksum({name: fields.value(name) for name in fields.names - {"checksum"}})
        _check_same(fields.text("checksum"), checksum)
        check_owner(fields.text("installation_id"), installation_id)
        fields.check_count("keys", "records", MAX_RECORDS)
        records = tuple(map(_read_record, fields.objects("keys")))
        check_records(records)
    except FormatError as error:
        raise KeystoreError(damaged(error.message), hint=REPAIR_HINT) from error
    return records


def damaged(why: str) -> str:
    """The message of errors about damaged records."""
    return f"the configuration-key records cannot be used: {why}"


def _checksum(document: Mapping[str, object]) -> str:
    return hashlib.sha256(dumps(document, ASCII)).hexdigest()


def _record_fields(record: ConfigurationKeyRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "created_at": format_utc(record.created_at),
        "state": record.state.value,
        "wraps": [wrap_fields(wrap) for wrap in record.wraps],
    }


def wrap_fields(wrap: KeyWrap) -> dict[str, object]:
    """The members of a wrap."""
    return {
        "id": wrap.id,
        "kind": wrap.kind.value,
        "name": wrap.name,
        "wrapped": to_base64(wrap.wrapped),
    }


def _check_same(checksum: str, expected: str) -> None:
    if checksum != expected:
        raise FormatError("the checksum does not fit")


def check_owner(found: object, installation_id: str) -> None:
    """Refuse the records of another installation.

    Raises:
        FormatError: The id is another one.
    """
    if found != installation_id:
        raise FormatError("they belong to another installation")


def _read_record(fields: Fields) -> ConfigurationKeyRecord:
    fields.check_names(ConfigurationKeyRecord._fields)
    return ConfigurationKeyRecord(
        fields.id("id"),
        parse_utc(fields.time("created_at")),
        fields.one_of("state", ConfigurationKeyState),
        tuple(map(read_wrap, fields.objects("wraps"))),
    )


def read_wrap(fields: Fields) -> KeyWrap:
    """A wrap by its members.

    Raises:
        FormatError: A member is missing, unknown, or of another type.
    """
    fields.check_names(KeyWrap._fields)
    name = fields.text("name")
    if not name.isprintable() or not name:
        raise fields.refused("a wrap names nobody")
    return KeyWrap(fields.id("id"), fields.one_of("kind", WrapKind), name, fields.raw("wrapped"))


def check_records(records: Sequence[ConfigurationKeyRecord]) -> None:
    """Refuse records that contradict each other, or are too many (format/configuration-keys.md 1.3 to 1.5).

    Raises:
        FormatError: An id stands twice, more than one key is active, or a bound is passed.
    """
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
    """The AAD of a wrap: installation, key and wrap (format/configuration-keys.md §2)."""
    parts = (installation_id, key_id, wrap_id)
    return labels.CONFIGURATION_KEY + b"".join(map(ids.id_bytes, parts))


def recipient_aad(installation_id: str, key_id: str, wrap_id: str) -> bytes:
    """The context of a wrap for a recipient (format/recovery.md 1.1)."""
    parts = map(ids.id_bytes, (installation_id, key_id, wrap_id))
    return labels.RECOVERY_CONFIGURATION_KEY + b"".join(parts)


def open_wrap(
    installation_id: str, record: ConfigurationKeyRecord, wrap: KeyWrap, master_key: SecretBytes
) -> SecretBytes | None:
    """Open a wrap by a master key; None if this master key does not open it."""
    aad = wrap_aad(installation_id, record.id, wrap.id)
    try:
        return aead.unwrap(wrap.wrapped, kek=wrap_key(master_key), aad=aad)
    except IntegrityError:
        return None


def wrap_key(master_key: SecretBytes) -> SecretBytes:
    """The master key's subkey for this purpose (format/configuration-keys.md §2)."""
    return kdf.hkdf(master_key, salt=b"", info=labels.CONFIGURATION_KEY_WRAP)
