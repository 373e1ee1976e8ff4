"""The coordination service behind MACs: what is put is authenticated, what is loaded was proved (docs/format/entries.md)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.entries import MAGIC, EntryKey, EntryKeys, UnprovedEntry
from strongroom.coordination.local import LocalCoordinator
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.coordination.upgrading import Payloads, UpgradingCoordinator
from strongroom.crypto import rng
from strongroom.errors import ConflictError, FormatError, IntegrityError, KeystoreError
from strongroom.ids import new_id

INSTALLATION = new_id()
ONE, TWO = (EntryKey(new_id(), rng.new_key()) for _ in range(2))


class Records:
    """What the configuration-key records say, as a test changes it."""

    def __init__(self) -> None:
        self.keys = EntryKeys(INSTALLATION, 1, ONE)
        self.failure: KeystoreError | None = None
        self.upcoming: list[EntryKeys] = []

    def present(self) -> EntryKeys:
        if self.failure is not None:
            raise self.failure
        if self.upcoming:
            self.keys = self.upcoming.pop()
        return self.keys

    def renew(self) -> None:
        """There are no other copies; what is upcoming is said when it is asked again."""

    def begin(self) -> None:
        """The first step of a regeneration (configuration-keys.md 4.3)."""
        self.keys = self.keys._replace(generation=self.keys.generation + 1, next=TWO)

    def end(self) -> None:
        """Its last step."""
        self.keys = EntryKeys(INSTALLATION, self.keys.generation + 1, TWO)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalCoordinator]:
    path = tmp_path / "coordination.db"
    LocalCoordinator.create(path, tmp_path / "locks")
    opened = LocalCoordinator(path, tmp_path / "locks")
    yield opened
    opened.close()


@pytest.fixture
def proved(store: LocalCoordinator, records: Records) -> ProvedCoordinator:
    return ProvedCoordinator(store, records)


def stored(store: LocalCoordinator, name: str) -> Versioned:
    found = store.get(name)
    assert found
    return found


def test_the_store_has_a_mac_before_each_payload(
    proved: ProvedCoordinator, store: LocalCoordinator, records: Records
) -> None:
    proved.put({"config": Change(b"first", 0), "restart": Change(b"1", 0)})
    proved.put({"config": Change(b"second", 1), "restart": Change(None, 1)})
    assert proved.get("config") == Versioned(b"second", 2)
    assert proved.get("restart") is None
    assert proved.list("journal/") == {}
    found = UnprovedEntry("config", stored(store, "config")).prove(records.keys)
    assert (found.payload, found.key_id, found.generation) == (b"second", ONE.id, 1)


def test_entries_of_one_put_have_one_change_id(
    proved: ProvedCoordinator, store: LocalCoordinator, records: Records
) -> None:
    for base in range(2):
        proved.put({name: Change(b"x", base) for name in ("config", "journal/a")})
    found = {
        name: UnprovedEntry(name, one).prove(records.keys) for name, one in store.list("").items()
    }
    assert len({entry.change_id for entry in found.values()}) == 1


@pytest.mark.parametrize("harm", ["older", "of another name", "changed", "without a MAC"])
def test_what_somebody_else_wrote_is_refused(
    proved: ProvedCoordinator, store: LocalCoordinator, harm: str
) -> None:
    """review X3, X4: whoever writes the database has no key."""
    proved.put({"config": Change(b"old", 0)})
    old = stored(store, "config").value
    proved.put({"config": Change(b"new", 1), "pending": Change(b"p", 0)})
    value = {
        "older": old,
        "of another name": stored(store, "pending").value,
        "changed": stored(store, "config").value[:-1] + b"X",
        "without a MAC": b"new",
    }[harm]
    store.put({"config": Change(value, 2)})
    for ask in (lambda: proved.get("config"), lambda: proved.list("")):
        with pytest.raises((IntegrityError, FormatError)):
            ask()


def test_a_regeneration_changes_every_entry_in_one_put(
    proved: ProvedCoordinator, store: LocalCoordinator, records: Records
) -> None:
    """configuration-keys.md 4.3"""
    proved.put({name: Change(name.encode(), 0) for name in ("config", "journal/a", "restart")})
    records.begin()
    proved.put({"journal/a": Change(b"before the put", 1)})
    with proved.renewing(TWO.id):
        proved.put({"config": Change(b"new", 1), "restart": Change(None, 1)})
    proved.put({"pending": Change(b"after the put", 0)})
    by = {
        name: UnprovedEntry(name, one).prove(records.keys).key_id
        for name, one in store.list("").items()
    }
    assert by == dict.fromkeys(("config", "journal/a", "pending"), TWO.id)
    records.end()
    assert {name: one.value for name, one in proved.list("").items()} == {
        "config": b"new",
        "journal/a": b"before the put",
        "pending": b"after the put",
    }
    assert proved.latest_generation() == 2


@pytest.mark.parametrize("is_shared", [True, False])
def test_entries_of_a_cluster_are_of_the_generation_that_every_node_was_given(
    store: LocalCoordinator, records: Records, is_shared: bool
) -> None:
    """docs/format/key-changes.md 4.4: a node that dies has nobody kept from reading what it put by the way."""
    proved = ProvedCoordinator(store, records, is_shared=is_shared)
    proved.put({"anchor": Change(b"1", 0), "config": Change(b"1", 0)})
    others = records.keys
    records.keys = others._replace(generation=3)

    def generation() -> int:
        version = proved.version("config")
        proved.put({name: Change(b"x", version) for name in ("anchor", "config")})
        return UnprovedEntry("config", stored(store, "config")).prove(records.keys).generation

    assert generation() == (others.generation if is_shared else 3)
    with proved.having_given():
        with proved.having_given():
            pass
        assert generation() == 3
    assert generation() == 3
    with pytest.raises(IntegrityError, match="generation 3"):
        UnprovedEntry("config", stored(store, "config")).prove(others)
    with proved.for_all():
        assert generation() == 3
    # an anchor that is refused is put anew by an administrator, and by nobody else
    store.put({"anchor": Change(b"changed", store.version("anchor"))})
    proved.put({"config": Change(b"x", proved.version("config"))})
    assert proved.get("config")


def test_nothing_comes_under_a_key_that_the_records_do_not_name(
    proved: ProvedCoordinator, store: LocalCoordinator
) -> None:
    with proved.renewing(TWO.id), pytest.raises(ConflictError, match="not the one that becomes"):
        proved.put({"config": Change(b"x", 0)})
    assert store.get("config") is None
    proved.put({"config": Change(b"x", 0)})
    assert proved.latest_generation() == 1


def test_entries_that_another_process_has_regenerated_meanwhile_are_read_again(
    proved: ProvedCoordinator, store: LocalCoordinator, records: Records
) -> None:
    proved.put({"config": Change(b"old", 0)})
    before = records.keys
    records.begin()
    with proved.renewing(TWO.id):
        proved.put({"config": Change(b"new", 1)})
    records.upcoming = [records.keys, before]
    assert proved.get("config") == Versioned(b"new", 2)


def test_an_entry_that_nobody_can_prove_is_noticed_all_the_same(
    proved: ProvedCoordinator, store: LocalCoordinator, records: Records
) -> None:
    """Whoever watches an entry reads it then, and hears there why it is refused."""
    import threading

    proved.put({"config": Change(b"old", 0)})
    heard: list[Versioned | None] = []
    event = threading.Event()

    def notice(found: Versioned | None) -> None:
        heard.append(found)
        event.set()

    stop = proved.watch("config", notice)
    try:
        proved.put({"config": Change(b"new", 1)})
        assert event.wait(10)
        event.clear()
        store.put({"config": Change(b"forged", 2)})
        assert event.wait(10)
    finally:
        stop()
    assert heard == [Versioned(b"new", 2), None]


def test_without_keys_nothing_is_told(proved: ProvedCoordinator, records: Records) -> None:
    proved.put({"config": Change(b"x", 0)})
    records.failure = KeystoreError("gone")
    with pytest.raises(KeystoreError):
        proved.get("config")
    assert proved.version("config") == 1
    assert proved.members() == ["node1"]


# ---- the upgrade -------------------------------------------------------------------------------------


def _later(payloads: Payloads) -> Payloads:
    return {name: value.upper() for name, value in payloads.items()}


def test_older_entries_are_read_as_later_ones_and_sealed_in_one_put(
    store: LocalCoordinator, records: Records
) -> None:
    upgrading = UpgradingCoordinator(store, records, _later)
    store.put({"config": Change(b"a", 0), "journal/x": Change(b"b", 0)})
    assert not upgrading.is_sealed()
    assert upgrading.get("config") == Versioned(b"A", 1)
    assert upgrading.get("pending") is None
    assert upgrading.list("journal/") == {"journal/x": Versioned(b"B", 1)}
    upgrading.put({"journal/upgrade": Change(b"j", 0)})
    assert stored(store, "journal/upgrade").value == b"j"
    for _ in range(2):
        upgrading.seal_all()
    assert upgrading.is_sealed()
    assert {one.version for one in store.list("").values()} == {2}
    assert all(one.value.startswith(MAGIC) for one in store.list("").values())
    assert upgrading.get("config") == Versioned(b"A", 2)
    upgrading.put({"journal/upgrade": Change(None, 2)})
    assert {name: one.value for name, one in upgrading.list("").items()} == {
        "config": b"A",
        "journal/x": b"B",
    }
