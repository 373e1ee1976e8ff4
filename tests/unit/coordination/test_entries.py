"""Entries with a MAC, and the loader that proves them: docs/format/entries.md; issue 10, part B; review X4; findings S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.coordination import entries
from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.entries import (
    Author,
    EntryKey,
    EntryKeys,
    ProvedEntry,
    UnprovedEntry,
    check_one_key,
)
from strongroom.coordination.local import LocalCoordinator
from strongroom.coordination.proving import ProvingLoader, unproved
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.ids import new_id

INSTALLATION = new_id()
ACTIVE = EntryKey(new_id(), SecretBytes(bytes(range(32))))
NEXT = EntryKey(new_id(), SecretBytes(bytes(range(1, 33))))
KEYS = EntryKeys(INSTALLATION, 5, ACTIVE)
CHANGE = new_id()


def made(
    name: str = "config",
    *,
    by: EntryKey = ACTIVE,
    installation: str = INSTALLATION,
    generation: int = 5,
    base: int = 2,
) -> Versioned:
    author = Author(installation, generation, by)
    raw = author.make(name, b'{"a":1}', base_version=base, change_id=CHANGE)
    return Versioned(raw, base + 1)


def prove(stored: Versioned, name: str = "config", keys: EntryKeys = KEYS) -> ProvedEntry:
    return UnprovedEntry(name, stored).prove(keys)


def test_an_entry_comes_back_with_what_binds_it() -> None:
    found = prove(made(generation=3))
    assert found[:6] == ("config", 3, b'{"a":1}', ACTIVE.id, 3, CHANGE)
    assert len(found.digest) == 32


def test_an_unproved_entry_gives_the_installation_and_nothing_else() -> None:
    """2.1: by its type nobody can act on it; one kind of entry is signed, and proves itself to whoever checks that."""
    entry = UnprovedEntry("config", made())
    assert entry.installation_id == INSTALLATION
    shown = {name for name in dir(entry) if not name.startswith("_")}
    assert shown == {"installation_id", "prove", "signed_payload"}
    assert repr(entry) == "UnprovedEntry('config')"
    assert not hasattr(entry, "__dict__")


@dataclass(frozen=True)
class Attack:
    """A genuine entry somewhere else, or a changed one."""

    stored: Versioned
    words: str
    name: str = "config"
    keys: EntryKeys = KEYS


def flipped(at: int) -> Versioned:
    raw, version = made()
    return Versioned(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], version)


ATTACKS = {
    "another name": Attack(made("config"), "MAC does not fit", name="config/previous"),
    "another installation": Attack(made(installation=new_id()), "another installation"),
    "a key that is not in force": Attack(made(by=NEXT), "not in force"),
    "a key of that id and other bytes": Attack(
        made(by=EntryKey(ACTIVE.id, NEXT.key)), "MAC does not fit"
    ),
    "a generation to come": Attack(made(generation=6), "generation 6, and the records have 5"),
    "replayed at a later version": Attack(made()._replace(version=9), "to be version 9"),
    "replayed as a new entry": Attack(made()._replace(version=1), "to be version 1"),
    "the next key, an older generation": Attack(
        made(by=NEXT, generation=4), "next key only 5", keys=KEYS._replace(next=NEXT)
    ),
    "the next key, a generation to come": Attack(
        made(by=NEXT, generation=6), "next key only 5", keys=KEYS._replace(next=NEXT)
    ),
    "changed payload": Attack(flipped(-1), "MAC does not fit"),
    "changed change id": Attack(flipped(60), "MAC does not fit"),
    "changed generation": Attack(flipped(43), "MAC does not fit"),
    "changed MAC": Attack(flipped(99), "MAC does not fit"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_entry_somewhere_else_is_refused(name: str) -> None:
    attack = ATTACKS[name]
    with pytest.raises(IntegrityError, match=attack.words):
        prove(attack.stored, attack.name, attack.keys)


def test_the_next_key_is_taken_at_its_generation() -> None:
    """2.3: between the put of a regeneration and its last records."""
    keys = KEYS._replace(next=NEXT)
    assert prove(made(by=NEXT), keys=keys).key_id == NEXT.id
    assert prove(made(generation=1), keys=keys).key_id == ACTIVE.id


def test_entries_of_two_keys_at_one_moment_are_refused() -> None:
    keys = KEYS._replace(next=NEXT)
    old, new = prove(made(), keys=keys), prove(made("pending", by=NEXT), "pending", keys)
    check_one_key([])
    check_one_key([old, old])
    with pytest.raises(IntegrityError, match="'config' and 'pending' are of different"):
        check_one_key([old, new])


@pytest.mark.parametrize("raw", [b"", b'{"format":"strongroom-configuration-1"}', b"SRE1" * 40])
def test_an_entry_of_format_1_is_none(raw: bytes) -> None:
    """4.5 of configuration-keys.md: taking the MAC off does not lead back."""
    with pytest.raises(FormatError, match="has no MAC"):
        UnprovedEntry("config", Versioned(raw, 1))


def test_lengths_are_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="wrong length"):
        UnprovedEntry("config", Versioned(made().value[:99], 3))
    assert UnprovedEntry("config", Versioned(made().value[:100], 3)).installation_id
    monkeypatch.setattr(entries, "MAX_PAYLOAD_BYTES", 6)
    with pytest.raises(FormatError, match="wrong length"):
        UnprovedEntry("config", Versioned(bytes(made_raw()), 3))
    with pytest.raises(UsageError, match="longer than 6 bytes"):
        made()


def made_raw() -> bytes:
    return entries.MAGIC + bytes(103)


def test_a_lock_has_no_entry_of_its_own() -> None:
    with pytest.raises(UsageError, match="lock"):
        made("locks/configuration")


def test_a_put_has_one_change_id_and_the_versions_that_it_replaces() -> None:
    author = Author(INSTALLATION, 5, ACTIVE)
    changes = author.changes(
        {"config": b"new", "restart": b"7", "pending": None}, {"config": 4, "pending": 2}, CHANGE
    )
    assert {name: change.expected_version for name, change in changes.items()} == {
        "config": 4,
        "restart": 0,
        "pending": 2,
    }
    assert changes["pending"].value is None
    for name in ("config", "restart"):
        change = changes[name]
        assert change.value is not None
        found = prove(Versioned(change.value, change.expected_version + 1), name)
        assert found.change_id == CHANGE


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[LocalCoordinator]:
    LocalCoordinator.create(tmp_path / "coordination.db", tmp_path / "locks")
    opened = LocalCoordinator(tmp_path / "coordination.db", tmp_path / "locks")
    yield opened
    opened.close()


def test_the_loader_gives_proved_entries_only(coordinator: LocalCoordinator) -> None:
    author = Author(INSTALLATION, 5, ACTIVE)
    names = {"config": b"one", "journal/rotation/a": b"two", "journal/rotation/b": b"three"}
    coordinator.put(author.changes(names, {}, CHANGE))
    loader = ProvingLoader(coordinator, KEYS)
    found = loader.load("config")
    assert found
    assert (found.payload, found.version) == (b"one", 1)
    assert loader.load("pending") is None
    assert unproved(coordinator, "pending") is None
    claimed = unproved(coordinator, "config")
    assert claimed
    assert claimed.installation_id == INSTALLATION
    assert {name: one.payload for name, one in loader.list("journal/rotation/").items()} == {
        "journal/rotation/a": b"two",
        "journal/rotation/b": b"three",
    }
    moved = coordinator.get("journal/rotation/a")
    assert moved
    coordinator.put({"journal/rotation/c": Change(moved.value, 0)})
    with pytest.raises(IntegrityError, match="MAC"):
        loader.list("journal/rotation/")
    with pytest.raises(IntegrityError, match="MAC"):
        loader.load("journal/rotation/c")


def test_a_list_is_of_one_key(coordinator: LocalCoordinator) -> None:
    for name, key in (("journal/rotation/a", ACTIVE), ("journal/rotation/b", NEXT)):
        coordinator.put(Author(INSTALLATION, 5, key).changes({name: b""}, {}, CHANGE))
    with pytest.raises(IntegrityError, match="different"):
        ProvingLoader(coordinator, KEYS._replace(next=NEXT)).list("journal/rotation/")
