"""Entries of the coordination service with a MAC (docs/format/entries.md); pure.

A stored value is an `UnprovedEntry` until `prove` has checked it by the keys that the configuration-key records name. An
unproved entry gives away nothing but the installation that it claims to be of, so that nobody acts on it by mistake.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple, final

from strongroom.coordination.base import LOCKS, Change, Versioned
from strongroom.crypto import kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.ids import id_bytes, id_text
from strongroom.system.compat import override

MAGIC = b"SRE2"
MAX_PAYLOAD_BYTES = 16 << 20
MAC_BYTES = 32
_INSTALLATION = slice(4, 20)
_KEY_ID = slice(20, 36)
_GENERATION = slice(36, 44)
_BASE_VERSION = slice(44, 52)
_CHANGE_ID = slice(52, 68)
_BOUND = slice(4, 68)
_MAC = slice(68, 100)
HEAD_BYTES = 100


class EntryKey(NamedTuple):
    """A configuration key, by which entries are authenticated."""

    id: str
    key: SecretBytes


class Author(NamedTuple):
    """The writer of entries.

    Attributes:
        installation_id: The installation to which the entries belong.
        generation: The generation of the configuration-key records at the time of writing.
        by: The key that authenticates the entries.
    """

    installation_id: str
    generation: int
    by: EntryKey

    def make(self, name: str, payload: bytes, *, base_version: int, change_id: str) -> bytes:
        """The stored bytes of an entry (1.1).

        Args:
            name: The entry's key in the coordination service.
            payload: The canonical bytes of the entry's own page.
            base_version: The version of the entry that this one replaces; 0 for a new one.
            change_id: The id of the put, the same in all of its entries.

        Raises:
            UsageError: The name is that of a lock, or the payload is too long.
        """
        if name.startswith(LOCKS):
            raise UsageError(f"{name!r} is a lock, which has no entry of its own")
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise UsageError(f"the entry {name!r} is longer than {MAX_PAYLOAD_BYTES} bytes")
        bound = (
            id_bytes(self.installation_id)
            + id_bytes(self.by.id)
            + self.generation.to_bytes(8, "big")
            + base_version.to_bytes(8, "big")
            + id_bytes(change_id)
        )
        return MAGIC + bound + _mac(self.by, self.installation_id, name, bound + payload) + payload

    def changes(
        self, payloads: Mapping[str, bytes | None], versions: Mapping[str, int], change_id: str
    ) -> dict[str, Change]:
        """The changes of one put, all of them with one change id.

        Args:
            payloads: The new payload of each entry; None removes the entry.
            versions: The present versions of these entries; an entry that is missing here is new.
            change_id: The id of the put.
        """
        found = {}
        for name, payload in payloads.items():
            base = versions.get(name, 0)
            value = None
            if payload is not None:
                value = self.make(name, payload, base_version=base, change_id=change_id)
            found[name] = Change(value, base)
        return found


class EntryKeys(NamedTuple):
    """The keys by which entries are proved, as the configuration-key records name them (configuration-keys.md 4.2).

    Attributes:
        installation_id: The installation.
        generation: The generation of the records.
        active: The active configuration key.
        next: The key that becomes active; None unless a regeneration is under way.
        digest: SHA-256 of the records, for the anchor; empty where a recovery opened the keys without them.
    """

    installation_id: str
    generation: int
    active: EntryKey
    next: EntryKey | None = None
    digest: bytes = b""

    def named(self, key_id: str) -> EntryKey | None:
        """The key in force of an id; None if the id is that of no key in force."""
        both = (self.active, self.next)
        return next((one for one in both if one is not None and one.id == key_id), None)


class ProvedEntry(NamedTuple):
    """An entry whose MAC was checked.

    Attributes:
        name: The entry's key in the coordination service.
        version: The version at which the entry stands.
        payload: The bytes of the entry's own page.
        key_id: The configuration key that authenticates the entry.
        generation: The generation of the records when the entry was written.
        change_id: The id of the put that wrote the entry.
        digest: SHA-256 of the stored bytes, for the anchor.
    """

    name: str
    version: int
    payload: bytes
    key_id: str
    generation: int
    change_id: str
    digest: bytes


@final
class UnprovedEntry:
    """A stored entry that nothing was checked of, and that gives nothing but the id of its installation."""

    __slots__ = ("_name", "_stored")

    def __init__(self, name: str, stored: Versioned) -> None:
        """Take the stored bytes.

        Raises:
            FormatError: The bytes are no entry of format 2.
        """
        if stored.value[: len(MAGIC)] != MAGIC:
            raise FormatError(
                f"the entry {name!r} has no MAC: it is of an older format, which is not taken here, or damaged",
                hint="if an older strongroom wrote it, see 'strongroom upgrade'",
            )
        if not HEAD_BYTES <= len(stored.value) <= HEAD_BYTES + MAX_PAYLOAD_BYTES:
            raise FormatError(f"the entry {name!r} is damaged: wrong length")
        self._name = name
        self._stored = stored

    @property
    def installation_id(self) -> str:
        """The installation that the entry claims to be of: a claim, which tells a reader which keys to look for."""
        return id_text(self._stored.value[_INSTALLATION])

    @property
    def signed_payload(self) -> bytes:
        """The payload, for a kind of entry whose payload proves itself by a signature that the reader checks (2.1)."""
        return self._stored.value[HEAD_BYTES:]

    def prove(self, keys: EntryKeys) -> ProvedEntry:
        """The entry, after everything that binds it was compared (2.2).

        Raises:
            IntegrityError: The entry is of another installation, key, generation, version or name, or was changed.
        """
        raw, version = self._stored
        if self.installation_id != keys.installation_id:
            raise self._refused("it belongs to another installation")
        key = self._key(keys)
        if int.from_bytes(raw[_BASE_VERSION], "big") + 1 != version:
            raise self._refused(f"it was not written to be version {version}")
        payload = raw[HEAD_BYTES:]
        expected = _mac(key, keys.installation_id, self._name, raw[_BOUND] + payload)
        if not hmac.compare_digest(expected, raw[_MAC]):
            raise self._refused("its MAC does not fit: it was changed, or is another entry")
        return ProvedEntry(
            self._name,
            version,
            payload,
            key.id,
            int.from_bytes(raw[_GENERATION], "big"),
            id_text(raw[_CHANGE_ID]),
            hashlib.sha256(raw).digest(),
        )

    def _key(self, keys: EntryKeys) -> EntryKey:
        """The key by which to prove: one that the records name, never one because the entry names it (2.2)."""
        named = id_text(self._stored.value[_KEY_ID])
        generation = int.from_bytes(self._stored.value[_GENERATION], "big")
        if named == keys.active.id:
            if generation > keys.generation:
                raise self._refused(
                    f"it has generation {generation}, and the records have {keys.generation}"
                )
            return keys.active
        if keys.next is not None and named == keys.next.id:
            if generation != keys.generation:
                raise self._refused(
                    f"it has generation {generation}, and the next key only {keys.generation}"
                )
            return keys.next
        raise self._refused(f"it is of the configuration key {named}, which is not in force")

    def _refused(self, why: str) -> IntegrityError:
        return IntegrityError(f"the entry {self._name!r} is refused: {why}")

    @override
    def __repr__(self) -> str:
        return f"UnprovedEntry({self._name!r})"


def check_one_key(entries: Iterable[ProvedEntry]) -> None:
    """Refuse entries of one moment that are not all of one key: a regeneration changes all of them in one put (2.3).

    Raises:
        IntegrityError: Some entries are of one configuration key and some of another.
    """
    by_key = {entry.key_id: entry.name for entry in entries}
    if len(by_key) > 1:
        names = " and ".join(sorted(map(repr, by_key.values())))
        raise IntegrityError(f"the entries {names} are of different configuration keys")


def _mac(by: EntryKey, installation_id: str, name: str, rest: bytes) -> bytes:
    place = id_bytes(installation_id) + id_bytes(by.id)
    key = kdf.hkdf(by.key, salt=b"", info=labels.ENTRY_MAC + place)
    encoded = name.encode("utf-8")
    message = len(encoded).to_bytes(4, "big") + encoded + rest
    return hmac.digest(key.reveal(), message, hashlib.sha256)
