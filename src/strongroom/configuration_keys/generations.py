"""Configuration-key records of format 2: a generation, the keys in force, and a MAC (docs/format/configuration-keys.md 4).

Pure. Every change gives the next generation. The records say which key is active and which formats are taken; the keystore
says, by a MAC under its newest master key, that nobody without it wrote them.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


TARGET = Floors(entries=2, kms=2, records=2)
"""The floors of a node that this release works on: a new node begins with them, `strongroom upgrade` raises to them."""


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

    @property
    def format(self) -> int:
        """The format of the document from which they were read, and so of the wraps by master keys: 1 or 2."""
        return FORMAT if self.generation else key_records.FORMAT

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(record.id for record in self.records)

    def with_records(self, records: tuple[ConfigurationKeyRecord, ...]) -> "KeyRecords":
        """The next generation with other records; the same ones change nothing.

        Raises:
            FormatError: The active or the next key is none of them.
            StateError: A regeneration is under way: its entries would no longer be of the present generation (4.3).
        """
        if records == self.records:
            return self
        self.check_settled()
        return self._changed(records=records)

    def with_next(self, record: ConfigurationKeyRecord) -> "KeyRecords":
        """The next generation, with one more key that is to become active (4.3, step 1).

        Raises:
            StateError: Another key is to become active already.
        """
        self.check_settled()
        return self._changed(records=(*self.records, record), next=record.id)

    def settled(self, active: str) -> "KeyRecords":
        """The end of a regeneration: no key is to become active any more (4.3, step 3); settled records stay as they are.

        Args:
            active: The key that the configuration names: the next one, or, if the regeneration was given up before its
                put, the present one; then the other key stays and only decrypts.

        Raises:
            StateError: The key is neither of the two.
        """
        if active not in {self.active, self.next}:
            raise StateError(f"the configuration key {active} is neither active nor the next one")
        if self.next is None:
            return self
        return self._changed(active=active, next=None)

    def advanced(self, generation: int, active: str, upcoming: str) -> "KeyRecords":
        """The same keys under a later generation, which an attempt of a regeneration begins with (4.3).

        Args:
            generation: The generation.
            active: The key that the configuration names: the present one, or the next one if its put was made.
            upcoming: The new key of the regeneration; another next key, of an attempt that was given up, is dropped.

        Raises:
            StateError: The generation is not a later one, or the key is neither of the two.
        """
        if generation <= self.generation:
            raise StateError(f"the generation {generation} is not above {self.generation}")
        if active not in {self.active, self.next}:
            raise StateError(f"the configuration key {active} is neither active nor the next one")
        stays = self.next if self.next == upcoming != active else None
        gone = {self.next} - {None, active, upcoming}
        records = tuple(one for one in self.records if one.id not in gone)
        return self._changed(generation=generation, records=records, active=active, next=stays)

    def with_floors(self, **formats: int) -> "KeyRecords":
        """The next generation with raised floors; the same ones change nothing.

        Raises:
            StateError: A floor would sink.
        """
        floors = self.floors.raised(**formats)
        return self if floors == self.floors else self._changed(floors=floors)

    def replaced(
        self,
        records: tuple[ConfigurationKeyRecord, ...],
        active: str,
        upcoming: str | None = None,
    ) -> "KeyRecords":
        """The next generation with all keys given anew: after a recovery, or as format 2 of records of format 1.

        Args:
            records: The records, with wraps of format 2.
            active: The key that the configuration names.
            upcoming: The key of an unfinished regeneration that the configuration does not name yet.

        Raises:
            FormatError: The active or the next key has no record.
        """
        return self._changed(records=records, active=active, next=upcoming)

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

    def check_settled(self) -> None:
        """Refuse a change that has to wait for the end of a regeneration.

        Raises:
            StateError: A key is to become active.
        """
        if self.next is not None:
            raise StateError(
                f"a regeneration is under way: the configuration key {self.next} is to become active",
                hint="finish it first: tsm security regenerate-internal-tokens",
            )

    def _changed(self, **members: object) -> "KeyRecords":
        changed = self._replace(**{"generation": self.generation + 1, **members})  # type: ignore[arg-type]
        records = (one._replace(state=_state(one.id, changed.active)) for one in changed.records)
        return changed._replace(records=tuple(records)).checked()

    def checked(self) -> "KeyRecords":
        """These records, after their rules were checked (4.2).

        Raises:
            FormatError: The active or the next key has no record, or both are the same, or the records break a rule.
        """
        key_records.check_records(self.records)
        known = set(self.ids)
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


class UnprovedRecords(NamedTuple):
    """Records whose MAC was not checked yet.

    Attributes:
        claimed: The records, if they are what they say: the ids and wraps may be looked at, which is active may not.
        digest: SHA-256 of the document, for the anchor.
        mac: The MAC of the document; empty in format 1, which has a checksum only.
    """

    claimed: KeyRecords
    digest: bytes
    mac: bytes

    def prove(self, keystore: Keystore) -> ReadRecords:
        """The records, authenticated by a master key of the keystore; the newest one is tried first.

        Raises:
            KeystoreError: No master key authenticates the document, or it breaks a rule of records.
        """
        claimed = self.claimed
        if claimed.format == key_records.FORMAT:
            return ReadRecords(claimed, claimed.format, self.digest, "")
        with _damage():
            claimed.checked()
        fields = _fields(claimed)
        for alias in _newest_first(keystore):
            expected = _mac(keystore.master_key(alias), claimed.installation_id, fields)
            if hmac.compare_digest(expected, self.mac):
                return ReadRecords(claimed, FORMAT, self.digest, alias)
        raise KeystoreError(
            key_records.damaged("no master key of the keystore authenticates them"),
            hint=key_records.REPAIR_HINT,
        )


def serialize(records: KeyRecords, keystore: Keystore) -> bytes:
    """The document, authenticated by the newest master key (4.1).

    Raises:
        KeystoreError: The keystore has no master key.
    """
    return serialize_part(records.checked(), keystore.master_key(keystore.newest))


def serialize_part(records: KeyRecords, master_key: SecretBytes) -> bytes:
    """The document of records that may lack the active key, as the copy for recovery recipients does (recovery.md 4).

    Args:
        records: The records.
        master_key: The master key that authenticates the document.
    """
    fields = _fields(records)
    fields["mac"] = to_base64(_mac(master_key, records.installation_id, fields))
    return key_records.KIND.dumps(fields)


def parse(data: bytes, installation_id: str) -> UnprovedRecords:
    """The records of a document of either format, not yet proved.

    Args:
        data: The document.
        installation_id: The installation to which it must belong.

    Raises:
        KeystoreError: The document is damaged, or of another version or installation.
    """
    digest = hashlib.sha256(data).digest()
    if peek(data, "format") == key_records.FORMAT:
        return UnprovedRecords(_of_format_1(data, installation_id), digest, b"")
    with _damage():
        records, mac = _parse(data, installation_id)
        key_records.check_records(records.records)
    return UnprovedRecords(records, digest, mac)


def read(data: bytes, installation_id: str, keystore: Keystore) -> ReadRecords:
    """The records of a document of either format, proved by the master keys.

    Raises:
        KeystoreError: The document is damaged, of another version or installation, or no master key authenticates it.
    """
    return parse(data, installation_id).prove(keystore)


def is_older(data: bytes) -> bool:
    """Whether a document of records is of a node that `strongroom upgrade` has to bring to the present formats first.

    Nothing is proved: whoever loads the records checks them, and a document that is damaged is not told here.
    """
    found = peek(data, "format")
    if found != FORMAT:
        return found == key_records.FORMAT
    floors = peek(data, "floors")
    known = floors if isinstance(floors, dict) else {}
    return any(
        isinstance(floor := known.get(name, least), int) and floor < least
        for name, least in TARGET._asdict().items()
    )


@contextmanager
def _damage() -> Iterator[None]:
    """Put the refusal of a document's form into the words of its users."""
    try:
        yield
    except FormatError as error:
        raise KeystoreError(
            key_records.damaged(error.message), hint=key_records.REPAIR_HINT
        ) from error


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


def unwrap(
    records: KeyRecords, record: ConfigurationKeyRecord, wrap: KeyWrap, keystore: Keystore
) -> SecretBytes | None:
    """Open a wrap by the master key that it names, in the format of its document.

    Returns:
        The key; None if the wrap is not of a master key, or the keystore's key of that name does not open it.
    """
    entry = keystore.find(wrap.name)
    if wrap.kind is not WrapKind.MASTER_KEY or entry is None:
        return None
    return unwrap_by(records, record, wrap, entry.key)


def unwrap_by(
    records: KeyRecords, record: ConfigurationKeyRecord, wrap: KeyWrap, master_key: SecretBytes
) -> SecretBytes | None:
    """Open a wrap by a master key, whatever its name is; None if this key does not open it."""
    owner = records.installation_id
    if records.format == key_records.FORMAT:
        return key_records.open_wrap(owner, record, wrap, master_key)
    try:
        return open_wrap(owner, record.id, wrap, master_key)
    except (FormatError, IntegrityError):
        return None


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
