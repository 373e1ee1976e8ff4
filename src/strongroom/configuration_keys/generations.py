"""Configuration-key records of format 2: a generation, the keys in force, and a MAC (docs/format/configuration-keys.md 4).

Pure. Every change gives the next generation. The records say which key is active and which formats are taken; the keystore
says, by a MAC under its newest master key, that nobody without it wrote them.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, dumps, peek, to_base64
from strongroom.clock import format_utc, parse_utc
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.coordination.entries import EntryKey, EntryKeys
from strongroom.crypto import kdf, labels, places, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeystoreError, StateError
from strongroom.ids import id_bytes, new_id
from strongroom.keystore.master_key import Keystore

FORMAT = 2
KNOWN = 2
"""The highest format that anything has."""
_MEMBERS = ("active", "floors", "format", "generation", "installation_id", "keys", "mac", "next")


class Floors(NamedTuple):
    """The lowest formats that are taken (4.5)."""

    entries: int = 1
    kms: int = 1
    records: int = 1
    recipients: int = 1

    def raised(self, **formats: int) -> "Floors":
        """The floors with some of them raised.

        Raises:
            StateError: A floor would sink.
        """
        risen = self._replace(**formats)
        if any(new < old for new, old in zip(risen, self, strict=True)):
            raise StateError("a floor of formats never sinks")
        return risen

    def check(self, what: str, found: int) -> None:
        """Refuse a format below its floor, so that taking a MAC off does not lead back to format 1 (4.5).

        Args:
            what: The floor: `entries`, `kms`, `records` or `recipients`.
            found: The format of what was read.

        Raises:
            IntegrityError: The format is lower.
        """
        floor = self._asdict()[what]
        if found < floor:
            raise IntegrityError(
                f"{what} of format {found} are refused: this installation takes {floor} or later"
            )


class KeyRecords(NamedTuple):
    """The records of one generation.

    Attributes:
        installation_id: The installation.
        active: The id of the active key.
        records: The keys and their wraps.
        generation: The number of this state, from 1; 0 in records of format 1.
        next: The id of the key that becomes active; None unless a regeneration is under way.
        floors: The lowest formats that are taken.
    """

    installation_id: str
    active: str
    records: tuple[ConfigurationKeyRecord, ...]
    generation: int = 1
    next: str | None = None
    floors: Floors = Floors()

    def with_records(self, records: tuple[ConfigurationKeyRecord, ...]) -> "KeyRecords":
        """The next generation with other records.

        Raises:
            FormatError: The active or the next key is none of them.
        """
        return self._changed(records=records)

    def with_next(self, record: ConfigurationKeyRecord) -> "KeyRecords":
        """The next generation, with one more key that is to become active (4.3, step 1).

        Raises:
            StateError: Another key is to become active already.
        """
        if self.next is not None:
            raise StateError(f"the configuration key {self.next} is to become active already")
        return self._changed(records=(*self.records, record), next=record.id)

    def activated(self) -> "KeyRecords":
        """The next generation, with the next key active (4.3, step 3).

        Raises:
            StateError: No key is to become active.
        """
        if self.next is None:
            raise StateError("no configuration key is to become active")
        return self._changed(active=self.next, next=None)

    def without_next(self) -> "KeyRecords":
        """The next generation, after a regeneration was given up before its put: the key stays, decrypt-only."""
        return self._changed(next=None)

    def with_floors(self, **formats: int) -> "KeyRecords":
        """The next generation with raised floors.

        Raises:
            StateError: A floor would sink.
        """
        return self._changed(floors=self.floors.raised(**formats))

    def entry_keys(self, open_key: Callable[[str], SecretBytes]) -> EntryKeys:
        """The keys by which entries are proved (entries.md 2.2).

        Args:
            open_key: Opens a configuration key by its id.
        """
        upcoming = None if self.next is None else EntryKey(self.next, open_key(self.next))
        return EntryKeys(
            self.installation_id,
            self.generation,
            EntryKey(self.active, open_key(self.active)),
            upcoming,
        )

    def _changed(self, **members: object) -> "KeyRecords":
        changed = self._replace(generation=self.generation + 1, **members)  # type: ignore[arg-type]
        records = (one._replace(state=_state(one.id, changed.active)) for one in changed.records)
        return changed._replace(records=tuple(records)).checked()

    def checked(self) -> "KeyRecords":
        """These records, after their rules were checked (4.2).

        Raises:
            FormatError: The active or the next key has no record, or both are the same, or the records break a rule.
        """
        key_records.check_records(self.records)
        known = {record.id for record in self.records}
        if self.active not in known or (self.next is not None and self.next not in known):
            raise FormatError("a key that is in force has no record")
        if self.next == self.active:
            raise FormatError("the next key is the active one")
        return self


class ReadRecords(NamedTuple):
    """Records as they were read.

    Attributes:
        present: The records.
        format: The format of the document: 1 or 2.
        digest: SHA-256 of the document, for the anchor.
        alias: The alias of the master key that authenticates the document; empty in format 1, which has a checksum only.
    """

    present: KeyRecords
    format: int
    digest: bytes
    alias: str


def serialize(records: KeyRecords, keystore: Keystore) -> bytes:
    """The document, authenticated by the newest master key (4.1).

    Raises:
        KeystoreError: The keystore has no master key.
    """
    fields = _fields(records.checked())
    key = keystore.master_key(keystore.newest)
    fields["mac"] = to_base64(_mac(key, records.installation_id, fields))
    return key_records.KIND.dumps(fields)


def read(data: bytes, installation_id: str, keystore: Keystore) -> ReadRecords:
    """The records of a document of either format.

    Args:
        data: The document.
        installation_id: The installation to which it must belong.
        keystore: The master keys; the newest one is tried first.

    Raises:
        KeystoreError: The document is damaged, of another version or installation, or no master key authenticates it.
    """
    digest = hashlib.sha256(data).digest()
    if peek(data, "format") == key_records.FORMAT:
        return ReadRecords(_of_format_1(data, installation_id), 1, digest, "")
    try:
        records, mac = _parse(data, installation_id)
        records.checked()
    except FormatError as error:
        raise KeystoreError(
            key_records.damaged(error.message), hint=key_records.REPAIR_HINT
        ) from error
    fields = _fields(records)
    for alias in _newest_first(keystore):
        expected = _mac(keystore.master_key(alias), installation_id, fields)
        if hmac.compare_digest(expected, mac):
            return ReadRecords(records, FORMAT, digest, alias)
    raise KeystoreError(
        key_records.damaged("no master key of the keystore authenticates them"),
        hint=key_records.REPAIR_HINT,
    )


def check_alias(read_records: ReadRecords, keystore: Keystore, *, coming: str = "") -> None:
    """Refuse records that an older master key authenticates (4.4).

    Args:
        read_records: The records as they were read.
        keystore: The keystore.
        coming: The alias that an unfinished regeneration has added; the records may still be under the one before it.

    Raises:
        IntegrityError: A newer master key is there, and no regeneration explains it.
    """
    alias = read_records.alias
    if alias and keystore.newest not in {alias, coming}:
        raise IntegrityError(
            f"the configuration-key records are authenticated by the master key {alias!r}, and {keystore.newest!r} is newer",
            hint=key_records.REPAIR_HINT,
        )


def wrap_key(
    installation_id: str, key_id: str, key: SecretBytes, alias: str, master_key: SecretBytes
) -> KeyWrap:
    """A wrap of format 2 of a configuration key, by a master key (4.6)."""
    wrap_id = new_id()
    place = places.of_configuration_key(installation_id, key_id, wrap_id)
    return KeyWrap(wrap_id, WrapKind.MASTER_KEY, alias, seals.wrap(key, place, kek=master_key))


def open_wrap(
    installation_id: str, key_id: str, wrap: KeyWrap, master_key: SecretBytes
) -> SecretBytes:
    """Open a wrap of format 2 by a master key.

    Raises:
        FormatError: The wrap is too short.
        IntegrityError: The wrap is of another master key, key, record or installation, or was changed.
    """
    place = places.of_configuration_key(installation_id, key_id, wrap.id)
    return seals.unwrap(wrap.wrapped, place, kek=master_key)


def _of_format_1(data: bytes, installation_id: str) -> KeyRecords:
    found = key_records.parse(data, installation_id)
    active = [one.id for one in found if one.state is ConfigurationKeyState.ACTIVE]
    return KeyRecords(installation_id, active[0] if active else "", found, generation=0)


def _parse(data: bytes, installation_id: str) -> tuple[KeyRecords, bytes]:
    fields = key_records.KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(_MEMBERS)
    key_records.check_owner(fields.text("installation_id"), installation_id)
    fields.check_count("keys", "records", key_records.MAX_RECORDS)
    active = fields.id("active")
    records = tuple(_read_record(one, active) for one in fields.objects("keys"))
    floors = fields.inner("floors")
    floors.check_names(Floors._fields)
    lowest = Floors(*(floors.number(name, least=1) for name in Floors._fields))
    if max(lowest) > KNOWN:
        raise fields.refused("a floor is above every format that is known here")
    found = KeyRecords(
        installation_id,
        active,
        records,
        fields.number("generation", least=1),
        fields.optional("next", Fields.id),
        lowest,
    )
    return found, fields.raw("mac")


def _read_record(fields: Fields, active: str) -> ConfigurationKeyRecord:
    fields.check_names(("id", "created_at", "wraps"))
    key_id = fields.id("id")
    created_at = parse_utc(fields.time("created_at"))
    wraps = tuple(map(key_records.read_wrap, fields.objects("wraps")))
    return ConfigurationKeyRecord(key_id, created_at, _state(key_id, active), wraps)


def _state(key_id: str, active: str) -> ConfigurationKeyState:
    if key_id == active:
        return ConfigurationKeyState.ACTIVE
    return ConfigurationKeyState.DECRYPT_ONLY


def _fields(records: KeyRecords) -> dict[str, object]:
    return {
        "active": records.active,
        "floors": records.floors._asdict(),
        "format": FORMAT,
        "generation": records.generation,
        "installation_id": records.installation_id,
        "keys": [
            {
                "id": record.id,
                "created_at": format_utc(record.created_at),
                "wraps": [key_records.wrap_fields(wrap) for wrap in record.wraps],
            }
            for record in records.records
        ],
        "next": records.next,
    }


def _mac(master_key: SecretBytes, installation_id: str, fields: Mapping[str, object]) -> bytes:
    info = labels.RECORDS_MAC + id_bytes(installation_id)
    key = kdf.hkdf(master_key, salt=b"", info=info)
    return hmac.digest(key.reveal(), dumps(fields, ASCII), hashlib.sha256)


def _newest_first(keystore: Keystore) -> list[str]:
    newest = keystore.newest
    return [newest, *(alias for alias in keystore.aliases if alias != newest)]
