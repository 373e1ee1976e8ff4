"""The keeper of the KMS store and roots that lie: nothing is put that was not proved (findings M2, M4; kms-store.md 4)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from strongroom.configuration_keys.records import ConfigurationKeyRecord
from strongroom.crypto import rng
from strongroom.envelope.header import Placement
from strongroom.errors import ConflictError, IntegrityError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.ids import MekId, new_id
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.node.opening import Node
from strongroom.services.keys import keeper, regenerate
from strongroom.services.keys.keeper import PREVIOUS_STORE, Present
from strongroom.services.keys.stored import STORE
from tests.support.lying_roots import LIES, lie_about_new_wraps

ACTOR = "os:tester"


def quiet(_: str) -> None:
    pass


def events_of(_: Present, __: NextStore) -> list[Event]:
    return [events.roots_verified(ACTOR, 1)]


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


# ---- a root that lies --------------------------------------------------------------------------


def _rotate(node: Node) -> None:
    node.meks.rotate(ACTOR)


def _abandon(node: Node) -> None:
    def build(present: Present) -> NextStore:
        return next_store.abandoned(*present.as_stored, local(node), node.clock.now())

    node.kms_store.commit(
        build, lambda _, __: [events.roots_verified(ACTOR, 1)], lambda stored: stored
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
    assert events.KMS_STORE_CHANGED not in event_ids(whole)[len(seen) :]
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
    assert whole.coordinator.get(regenerate.JOURNAL) is not None
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
        whole.kms_store.commit(build, events_of, prepare=prepared.append)
    assert prepared == []


# ---- rollback ----------------------------------------------------------------------------------


def test_a_store_of_the_same_epoch_and_other_bytes_is_refused(whole: Node) -> None:
    """findings M2: kms-store.md 4.3 says MUST for the same epoch with another digest, and `<` in place of `<=` survived."""
    first, raw = whole.kms_store.current()
    whole.meks.rotate(ACTOR)
    twin = next_store.verified(whole.kms_cache.opened(), frozenset(), whole.clock.now()).store
    opened = whole.kms_cache.opened()
    same = replace(twin, epoch=opened.store.epoch, rmk_created_at=first.rmk_created_at)
    forged = kms_store.serialize(kms_store.seal_ring(same, opened.ring, opened.rmk))
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


def test_a_newer_store_is_told_and_its_mark_kept(whole: Node) -> None:
    """R19: whoever changed it was killed before it could tell."""
    marks, seen = whole._kms_ports.marks, len(event_ids(whole))
    before = marks.read()
    put_store(
        whole, next_store.verified(whole.kms_cache.opened(), frozenset(), whole.clock.now()).raw
    )
    whole.kms_store.check_epoch()
    assert before is not None
    assert marks.read() == (
        before[0] + 1,
        kms_store.digest(whole.configuration.open_secret(STORE).reveal()),
    )
    assert event_ids(whole)[seen:] == [events.KMS_STORE_CHANGED]
    whole.kms_store.check_epoch()
    assert len(event_ids(whole)) == seen + 1


def test_another_epoch_than_the_present_one_is_not_accepted(whole: Node) -> None:
    marks = whole._kms_ports.marks
    marks.write(7, "0" * 64)
    for epoch in (7, 2, 0):
        with pytest.raises(StateError, match=f"has epoch 1, not {epoch}"):
            whole.kms_store.accept_epoch(epoch, ACTOR)
    assert marks.read() == (7, "0" * 64)
    whole.kms_store.accept_epoch(1, ACTOR)
    assert event_ids(whole)[-1] == events.KMS_EPOCH_ACCEPTED
    whole.kms_store.check_epoch()


# ---- turns -------------------------------------------------------------------------------------


def _settings(node: Node) -> None:
    node.kms_store.replace_settings(lambda present: present, events.roots_verified(ACTOR, 1))


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
        def read(self) -> tuple[int, str] | None:
            return marks.read()

        def write(self, epoch: int, digest: str) -> None:
            marked.append(len(event_ids(whole)) - seen)
            write(epoch, digest)

    whole.kms_store._epochs._marks = Watched()
    whole.meks.rotate(ACTOR)
    assert event_ids(whole)[seen:] == [
        events.KEY_GENERATED,
        events.KEY_GENERATED,
        events.KEY_REMOVED,
        events.KEY_CHANGED,
        events.KMS_STORE_CHANGED,
    ]
    assert marked == [5]
