"""Laws of entries, records, links and the anchor of format 2: entries.md, configuration-keys.md 4, kms-store.md 6, anchor.md."""

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strongroom.configuration_keys import generations
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.records import ConfigurationKeyRecord, ConfigurationKeyState
from strongroom.coordination import anchor as anchors
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.base import Versioned
from strongroom.coordination.comparison import LogState, Observed, Witness, compare
from strongroom.coordination.entries import Author, EntryKey, EntryKeys, UnprovedEntry
from strongroom.coordination.floors import Point
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.ids import new_id
from strongroom.keystore.master_key import Keystore, new_master_key
from strongroom.kms import store as kms_store
from strongroom.kms.links import Continuity, Reason
from tests.support import linked_stores

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INSTALLATION = new_id()
KEY = EntryKey(new_id(), SecretBytes(bytes(range(32))))
KEYS = EntryKeys(INSTALLATION, 9, KEY)
NAMES = st.text(min_size=1, max_size=40).filter(lambda name: not name.startswith("locks/"))
NUMBERS = st.integers(0, 2**62)
DIGESTS = st.binary(min_size=32, max_size=32)


# ---- entries -----------------------------------------------------------------------------------------


@given(NAMES, st.binary(max_size=200), NUMBERS, st.integers(0, 9))
def test_an_entry_comes_back(name: str, payload: bytes, base: int, generation: int) -> None:
    author = Author(INSTALLATION, generation, KEY)
    raw = author.make(name, payload, base_version=base, change_id=new_id())
    found = UnprovedEntry(name, Versioned(raw, base + 1)).prove(KEYS)
    assert (found.payload, found.generation, found.version) == (payload, generation, base + 1)


@given(NAMES, NAMES, st.binary(max_size=60), NUMBERS, NUMBERS, st.data())
def test_an_entry_is_none_anywhere_else(
    name: str, other: str, payload: bytes, base: int, version: int, data: st.DataObject
) -> None:
    """Another name, another version, or any bytes exchanged: it is refused."""
    raw = Author(INSTALLATION, 9, KEY).make(name, payload, base_version=base, change_id=new_id())
    begin = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(begin, len(raw)))
    changed = raw[:begin] + data.draw(st.binary(max_size=20)) + raw[end:]
    assume((other, changed, version) != (name, raw, base + 1))
    with pytest.raises(StrongroomError):
        UnprovedEntry(other, Versioned(changed, version)).prove(KEYS)


# ---- configuration-key records -----------------------------------------------------------------------


class RecordsMachine(RuleBasedStateMachine):
    """Regenerations, other changes and floors, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.keystore = Keystore((new_master_key(NOW),))
        active = self.record()
        state = ConfigurationKeyState.ACTIVE
        self.records = KeyRecords(INSTALLATION, active.id, (active._replace(state=state),))
        self.before = self.records

    def record(self) -> ConfigurationKeyRecord:
        entry, key_id = self.keystore.entries[0], new_id()
        wrap = generations.wrap_key(INSTALLATION, key_id, rng.new_key(), entry.alias, entry.key)
        return ConfigurationKeyRecord(key_id, NOW, ConfigurationKeyState.DECRYPT_ONLY, (wrap,))

    def change(self, records: KeyRecords) -> None:
        self.before, self.records = self.records, records

    @precondition(lambda self: self.records.next is None)
    @rule()
    def begin(self) -> None:
        self.change(self.records.with_next(self.record()))

    @precondition(lambda self: self.records.next is not None)
    @rule(gives_up=st.booleans())
    def end(self, *, gives_up: bool) -> None:
        self.change(
            self.records.settled(self.records.active if gives_up else self.records.next or "")
        )

    @rule(entries=st.integers(1, 2), kms=st.integers(1, 2))
    def raise_floors(self, entries: int, kms: int) -> None:
        try:
            self.change(self.records.with_floors(entries=entries, kms=kms))
        except StrongroomError:
            assert entries < self.records.floors.entries or kms < self.records.floors.kms

    @precondition(lambda self: self.records.next is None)
    @rule()
    def remove_what_is_not_in_force(self) -> None:
        kept = {self.records.active, self.records.next}
        records = (one for one in self.records.records if one.id in kept)
        self.change(self.records.with_records(tuple(records)))

    @invariant()
    def generations_grow_by_one_and_floors_never_sink(self) -> None:
        if self.records is not self.before:
            assert self.records.generation == self.before.generation + 1
        floors = zip(self.records.floors, self.before.floors, strict=True)
        assert all(new >= old for new, old in floors)

    @invariant()
    def exactly_the_active_key_is_active(self) -> None:
        active = [one.id for one in self.records.records if one.state.value == "active"]
        assert active == [self.records.active]

    @invariant()
    def they_come_back_from_their_bytes(self) -> None:
        raw = generations.serialize(self.records, self.keystore)
        found = generations.read(raw, INSTALLATION, self.keystore)
        assert (found.present, found.format) == (self.records, 2)


TestRecords = RecordsMachine.TestCase
TestRecords.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


# ---- links -------------------------------------------------------------------------------------------


class LinksMachine(RuleBasedStateMachine):
    """Rotations, retirements and breaks; every store that ever was is compared with the present one."""

    def __init__(self) -> None:
        super().__init__()
        self.stores = [linked_stores.first(rng.new_key())]
        self.broken_at = 0

    @rule()
    def rotate(self) -> None:
        self.stores.append(self.stores[-1].rotated())

    @precondition(lambda self: len(self.stores[-1].store.meks) > 1)
    @rule()
    def retire(self) -> None:
        last = self.stores[-1]
        self.stores.append(last.without(last.store.meks[0].id))

    @rule()
    def break_off(self) -> None:
        self.stores.append(self.stores[-1].broken(Reason.ABANDONED))
        self.broken_at = len(self.stores) - 1

    @invariant()
    def a_store_follows_exactly_from_those_since_the_last_break(self) -> None:
        raw = self.stores[-1].raw
        present = kms_store.parse(raw)
        for at, one in enumerate(self.stores[-8:], max(0, len(self.stores) - 8)):
            found = present.continuity(one.store.known(one.raw), raw)
            assert found.is_proved == (at >= self.broken_at)

    @invariant()
    def numbers_are_never_used_again(self) -> None:
        seen: dict[int, str] = {}
        for one in self.stores[self.broken_at :]:
            for mek in one.store.meks:
                assert seen.setdefault(mek.sequence, mek.id) == mek.id


TestLinks = LinksMachine.TestCase
TestLinks.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5))
def test_a_stranger_s_store_never_follows(mine: int, theirs: int) -> None:
    """Whoever has the configuration key, and no RMK, whatever epoch he takes (review X5)."""
    genuine = linked_stores.first(KEY.key)
    for _ in range(mine):
        genuine = genuine.rotated()
    stranger = linked_stores.first(KEY.key, genuine.store.installation_id)
    for _ in range(theirs):
        stranger = stranger.rotated()
    found = stranger.store.continuity(genuine.store.known(genuine.raw), stranger.raw)
    assert not found.is_proved
    assert found is not Continuity.BROKEN


# ---- the anchor --------------------------------------------------------------------------------------

POINTS = st.builds(Point, st.integers(1, 2**62), DIGESTS)
STORES = st.builds(StorePoint, st.integers(1, 2**62), DIGESTS, DIGESTS)
TREES = NUMBERS.map(lambda size: LogPoint(size, (bytes(32),) * size.bit_count()))
ANCHORS = st.builds(
    Anchor,
    number=st.integers(1, 2**62),
    at=st.just("2026-01-02T03:04:05Z"),
    document=POINTS,
    entries=st.dictionaries(NAMES, POINTS, max_size=4),
    kms=STORES,
    logs=st.dictionaries(st.just("node1"), TREES, max_size=1),
    records=POINTS,
    registry=st.none() | POINTS,
    repository=NUMBERS,
    accepted=st.none() | STORES,
)


def exactly(anchor: Anchor, more: int = 0) -> Observed:
    """The state that an anchor describes, with more lines in the logs."""
    logs = {
        node: LogState(point.size + more, point.size + more, partial(_is_at, point))
        for node, point in anchor.logs.items()
    }
    assert anchor.kms
    changed = Point(anchor.kms.epoch, anchor.kms.digest)
    return Observed(
        anchor.document,
        anchor.entries,
        anchor.kms,
        True,
        logs,
        anchor.records,
        anchor.registry,
        Witness(anchor.document.number, changed),
    )


def _is_at(point: LogPoint, known: LogPoint) -> bool:
    return known == point


@given(ANCHORS)
def test_an_anchor_comes_back(anchor: Anchor) -> None:
    assert anchors.parse(anchor.serialize()) == anchor


@given(ANCHORS, st.integers(0, 5))
def test_the_state_that_an_anchor_describes_is_right(anchor: Anchor, more: int) -> None:
    assert compare(anchor, anchor, exactly(anchor, more)) == ()


@given(ANCHORS, ANCHORS)
def test_another_state_is_always_noticed(anchor: Anchor, other: Anchor) -> None:
    """Whatever differs in what is put together with the anchor."""
    assume((anchor.document, anchor.entries) != (other.document, other.entries))
    observed = exactly(anchor)._replace(document=other.document, entries=other.entries)
    assert any(one.is_fault for one in compare(anchor, anchor, observed))
