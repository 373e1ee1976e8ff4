"""The keeper of the KMS store and roots that lie: nothing is put that was not proved (findings M2, M4; kms-store.md 4)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from strongroom.configuration_keys.records import ConfigurationKeyRecord
from strongroom.crypto import rng
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.ids import MekId, new_id
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Known
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.node.opening import Node
from strongroom.services.keys import keeper, regenerate, regeneration
from strongroom.services.keys.keeper import PREVIOUS_STORE, Present
from strongroom.services.keys.stored import STORE
from tests.support.lying_roots import LIES, lie_about_new_wraps

ACTOR = "os:tester"


def quiet(_: str) -> None:
    pass


def events_of(_: Present, __: NextStore) -> list[Event]:
    return [key_events.roots_verified(ACTOR, 1)]


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def local(node: Node) -> RootSet:
    key_id = node.configuration.document().configuration_key_id
    return RootSet("local", node.local_root(key_id))


def key_records(node: Node) -> tuple[ConfigurationKeyRecord, ...]:
    document = node.configuration.document()
    return node.open_configuration_keys(document.installation_id).load()


def put_store(node: Node, raw: bytes) -> None:
    """As whoever can write into the coordination service would."""
    sealed = node.configuration.seal_secret(STORE, raw)
    node.configuration.compare_and_put(lambda old: old.with_values({STORE: sealed}))


def stored(node: Node) -> bytes:
    """The bytes of the present store."""
    return node.configuration.open_secret(STORE).reveal()


# ---- a root that lies --------------------------------------------------------------------------


def _rotate(node: Node) -> None:
    node.meks.rotate(ACTOR)


def _abandon(node: Node) -> None:
    def build(present: Present) -> NextStore:
        return next_store.abandoned(*present.as_stored, local(node), node.clock.now())

    node.kms_store.commit(
        build, lambda _, __: [key_events.roots_verified(ACTOR, 1)], lambda stored: stored
    )


def _regenerate(node: Node) -> None:
    node.regenerate.run(ACTOR, quiet, ["keys"])


CHANGES = {"rotate": _rotate, "abandon": _abandon, "regenerate": _regenerate}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_new_store_that_a_root_does_not_give_back_is_never_put(
    whole: Node, change: str, name: str
) -> None:
    """findings M2: the new store of a regeneration and of one in place of a closed one was put unproved, and nothing noticed."""
    header, dek = whole.envelope_keys.new_envelope(Placement.standalone())
    before, mark = whole.configuration.document(), whole._kms_ports.marks.read()
    seen = event_ids(whole)
    roots = lie_about_new_wraps(whole, LIES[name])
    with pytest.raises(StrongroomError):
        CHANGES[change](whole)
    assert roots.asked, "the root was not asked"
    after = whole.configuration.document()
    assert after.values == before.values
    assert after.configuration_key_id == before.configuration_key_id
    assert whole._kms_ports.marks.read() == mark
    assert key_events.KMS_STORE_CHANGED not in event_ids(whole)[len(seen) :]
    assert whole.kms_store.status().is_ok
    assert whole.envelope_keys.open_envelope(header, Placement.standalone()).dek == dek


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_root_that_lies_when_it_is_asked_again_is_found_before_the_commit(
    whole: Node, change: str, name: str
) -> None:
    """findings M4: the first time the key, the second time another one: the canary asks anew."""
    before = whole.configuration.document().values
    lie_about_new_wraps(whole, LIES[name], honest_calls=1)
    with pytest.raises(StrongroomError):
        CHANGES[change](whole)
    assert whole.configuration.document().values == before
    assert whole.kms_store.status().is_ok


def test_a_regeneration_whose_root_lied_is_finished_once_it_is_honest(whole: Node) -> None:
    """findings M4: nothing of the cut run is lost, and its old keys stay until the new ones are proved."""
    old = {record.id for record in key_records(whole)}
    roots = lie_about_new_wraps(whole, LIES["another key"])
    with pytest.raises(IntegrityError):
        _regenerate(whole)
    assert old < {record.id for record in key_records(whole)}
    assert whole.coordinator.get(regeneration.JOURNAL) is not None
    roots.honest_calls = 1000
    assert whole.regenerate.run(ACTOR, quiet).resumed
    assert whole.kms_store.status().is_ok
    assert old.isdisjoint(record.id for record in key_records(whole))


def test_a_root_that_lies_after_the_commit_keeps_the_store_from_before(whole: Node) -> None:
    """kms-store.md 4.2: what was kept from before goes only once the new store is proved in its place."""
    lie_about_new_wraps(whole, LIES["no answer"], honest_calls=2)
    raw = whole.configuration.open_secret(STORE).reveal()
    whole.meks.rotate(ACTOR)
    assert whole.configuration.open_secret(PREVIOUS_STORE).reveal() == raw
    assert not whole.kms_store.status().is_ok
    with pytest.raises(IntegrityError, match="does not prove"):
        whole.kms_store.settle()
    assert whole.configuration.open_secret(PREVIOUS_STORE).reveal() == raw


def test_a_ring_that_comes_back_different_is_never_put(whole: Node) -> None:
    """findings M2, M4: the maker says one key, the store gives back another."""

    def build(present: Present) -> NextStore:
        built = next_store.rotated(present.opened, local(whole), whole.clock.now())
        other = KeyRing.with_first(MekId(new_id()), rng.new_key(), whole.clock.now())
        return replace(built, ring=other)

    before = whole.configuration.document().values
    with pytest.raises(StateError, match="other MEKs"):
        whole.kms_store.commit(build, events_of)
    assert whole.configuration.document().values == before


def test_what_a_change_prepares_is_prepared_once_it_is_proved(whole: Node) -> None:
    """A recipient is not taken off the configuration keys for a store that is never put."""
    prepared: list[NextStore] = []
    lie_about_new_wraps(whole, LIES["another key"])

    def build(present: Present) -> NextStore:
        return next_store.rotated(present.opened, local(whole), whole.clock.now())

    with pytest.raises(IntegrityError):
        whole.kms_store.commit(build, events_of, prepare=lambda change, _: prepared.append(change))
    assert prepared == []


def test_a_store_that_was_built_on_an_older_one_is_never_put(whole: Node) -> None:
    """docs/format/kms-store.md 6: whoever knows the present store would refuse it, so the node would be red."""
    old = whole.kms_cache.opened()
    whole.meks.rotate(ACTOR)
    before = whole.configuration.document()
    with pytest.raises(StateError, match="does not follow from the present one"):
        whole.kms_store.commit(
            lambda _: next_store.verified(old, frozenset(), whole.clock.now()), events_of
        )
    assert whole.configuration.document() == before


# ---- rollback ----------------------------------------------------------------------------------


def test_a_store_of_the_same_epoch_and_other_bytes_is_refused(whole: Node) -> None:
    """findings M2: kms-store.md 4.3 says MUST for the same epoch with another digest, and `<` in place of `<=` survived."""
    first, (_, raw) = whole.kms_cache.opened(), whole.kms_store.current()
    whole.meks.rotate(ACTOR)
    forged = next_store.verified(first, frozenset(), whole.clock.now()).raw
    assert kms_store.parse(forged).epoch == whole.kms_store.current()[0].epoch
    present = whole.configuration.open_secret(STORE).reveal()
    assert forged != present
    mark, seen = whole._kms_ports.marks.read(), len(event_ids(whole))
    for replaced in (forged, raw):
        put_store(whole, replaced)
        with pytest.raises(IntegrityError, match="rolled back or replaced"):
            whole.kms_store.check_epoch()
        with pytest.raises(IntegrityError, match="rolled back or replaced"):
            whole.meks.rotate(ACTOR)
        with pytest.raises(IntegrityError, match="rolled back or replaced"):
            _abandon(whole)
        assert "rolled back or replaced" in whole.kms_store.status().problems[0]
        assert whole._kms_ports.marks.read() == mark
    assert len(event_ids(whole)) == seen
    put_store(whole, present)
    whole.kms_store.check_epoch()
    assert whole.kms_store.status().is_ok


def _changed_store(node: Node) -> bytes:
    return next_store.verified(node.kms_cache.opened(), frozenset(), node.clock.now()).raw


def _announce(node: Node, raw: bytes) -> None:
    epoch, digest = kms_store.parse(raw).epoch, kms_store.digest(raw)
    node.events.append([key_events.kms_store_changing(ACTOR, epoch=epoch, digest=digest)])


def test_a_newer_store_that_was_announced_is_told_and_its_mark_kept(whole: Node) -> None:
    """R19: whoever changed it was killed before it could tell."""
    marks, seen = whole._kms_ports.marks, len(event_ids(whole))
    before, raw = marks.read(), _changed_store(whole)
    _announce(whole, raw)
    put_store(whole, raw)
    whole.kms_store.check_epoch()
    known = kms_store.parse(raw).known(raw)
    assert before is not None
    assert (marks.read(), known.epoch) == (known, before.epoch + 1)
    assert event_ids(whole)[seen:] == [key_events.KMS_STORE_CHANGING, key_events.KMS_STORE_CHANGED]
    whole.kms_store.check_epoch()
    assert len(event_ids(whole)) == seen + 2
    assert mark_again(whole, before) == known
    assert len(event_ids(whole)) == seen + 2, "killed before the mark: the event is there already"


def mark_again(node: Node, mark: Known) -> Known | None:
    """The mark that a check makes where it finds this one."""
    node._kms_ports.marks.write(mark)
    node.kms_store.check_epoch()
    return node._kms_ports.marks.read()


def test_a_newer_store_that_nobody_announced_is_refused(whole: Node) -> None:
    """X5: the configuration key alone put in a store of its own, and the node told of it as its own change."""
    mark, genuine, raw = whole._kms_ports.marks.read(), stored(whole), _changed_store(whole)
    whole.events.append([key_events.kms_store_changing(ACTOR, epoch=2, digest="0" * 64)])
    put_store(whole, raw)
    seen = len(event_ids(whole))
    with pytest.raises(IntegrityError, match="epoch 2, and no event announced that change"):
        whole.kms_store.check_epoch()
    with pytest.raises(IntegrityError, match="somebody else put it there"):
        whole.meks.rotate(ACTOR)
    assert "no event announced" in whole.kms_store.status().problems[0]
    assert (whole._kms_ports.marks.read(), len(event_ids(whole))) == (mark, seen)
    put_store(whole, genuine)
    assert whole.kms_store.status().is_ok
    put_store(whole, raw)
    whole.kms_store.accept_epoch(2, kms_store.digest(raw), ACTOR)
    assert whole.kms_store.status().is_ok


@pytest.mark.parametrize("archives", [0, 1])
def test_a_store_that_was_put_back_together_with_the_repository_is_refused(
    whole: Node, archives: int
) -> None:
    """S5: without the mark any store was the newest; the event log tells which one counts, also an archived one."""
    genuine = stored(whole)
    whole.meks.rotate(ACTOR)
    newest = stored(whole)
    for _ in range(archives):
        whole.events.archive(ACTOR, "long")
    put_store(whole, genuine)
    with closing(sqlite3.connect(whole.paths.repository, isolation_level=None)) as database:
        database.execute("DELETE FROM marks WHERE name = 'kms.epoch'")
    with pytest.raises(IntegrityError, match="the event log tells of epoch 2: it was rolled back"):
        whole.kms_store.check_epoch()
    assert whole._kms_ports.marks.read() is None
    put_store(whole, newest)
    whole.kms_store.check_epoch()
    assert whole._kms_ports.marks.read() == kms_store.parse(newest).known(newest)


def test_no_store_is_put_that_could_not_be_announced(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk refuses the event before the put, not behind it."""
    before = whole.configuration.document()

    def full(_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(whole.events, "append", full)
    with pytest.raises(StorageError, match="no space"):
        whole.meks.rotate(ACTOR)
    assert whole.configuration.document() == before


def test_another_epoch_than_the_present_one_is_not_accepted(whole: Node) -> None:
    marks = whole._kms_ports.marks
    marks.write(Known(7, "0" * 64, bytes(32)))
    digest = kms_store.digest(whole.kms_store.current()[1])
    for epoch, other in ((7, digest), (2, digest), (0, digest), (1, "0" * 64)):
        with pytest.raises(StateError, match="nothing was accepted"):
            whole.kms_store.accept_epoch(epoch, other, ACTOR)
    assert marks.read() == Known(7, "0" * 64, bytes(32))
    whole.kms_store.accept_epoch(1, digest, ACTOR)
    assert event_ids(whole)[-1] == key_events.KMS_EPOCH_ACCEPTED
    whole.kms_store.check_epoch()


# ---- turns -------------------------------------------------------------------------------------


def _settings(node: Node) -> None:
    node.kms_store.replace_settings(lambda present: present, key_events.roots_verified(ACTOR, 1))


@pytest.mark.parametrize("change", [*CHANGES.values(), _settings])
def test_keys_change_by_one_hand_at_a_time(
    whole: Node, change: Callable[[Node], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(regenerate, "LOCK_WAIT_S", 0.0)
    before = whole.configuration.document()
    with (
        whole.coordinator.lock(keeper.LOCK, wait_s=0),
        pytest.raises(ConflictError, match=keeper.LOCK),
    ):
        change(whole)
    assert whole.configuration.document() == before


def test_a_change_tells_its_events_then_the_new_epoch(whole: Node) -> None:
    """C-23; R19: the mark follows the event, so that a kill between them is told later."""
    seen, marked = len(event_ids(whole)), list[int]()
    marks = whole._kms_ports.marks
    write = marks.write

    class Watched:
        def read(self) -> Known | None:
            return marks.read()

        def accepted(self) -> Known | None:
            return marks.accepted()

        def accept(self, named: Known) -> None:
            marks.accept(named)

        def write(self, known: Known) -> None:
            marked.append(len(event_ids(whole)) - seen)
            write(known)

    whole.kms_store._epochs._marks = Watched()
    whole.meks.rotate(ACTOR)
    assert event_ids(whole)[seen:] == [
        key_events.KMS_STORE_CHANGING,
        key_events.KEY_GENERATED,
        key_events.KEY_GENERATED,
        key_events.KEY_REMOVED,
        key_events.KEY_CHANGED,
        key_events.KMS_STORE_CHANGED,
    ]
    assert marked == [6]
