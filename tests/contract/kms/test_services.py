"""Key management on a real node: K-03, K-04, K-09 to K-13, A-20, A-22, P6, Q-19, R19."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    KeystoreError,
    StateError,
)
from strongroom.eventlog.base import SYSTEM, Event
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms import store as kms_store
from strongroom.kms.states import MekState
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.keys.keeper import PREVIOUS_STORE
from strongroom.services.keys.stored import STORE

HERE = Placement(new_id(), new_id())


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def test_a_new_node_is_in_local_mode_and_can_encrypt(node: Node) -> None:
    """K-03."""
    status = node.kms_store.status()
    assert status.is_ok
    assert status.mode == "local"
    assert status.epoch == 1
    (mek,) = status.meks
    assert mek.state is MekState.ENCRYPT_OR_DECRYPT
    header, dek = node.envelope_keys.new_envelope(HERE)
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek


def test_a_rotation_makes_a_new_rmk_and_a_new_active_mek(node: Node) -> None:
    """K-09, K-11, Q-19."""
    before = node.kms_store.status()
    header, dek = node.envelope_keys.new_envelope(HERE)
    change = node.meks.rotate("os:tester")
    after = node.kms_store.status()
    assert after.is_ok
    assert after.rmk_id == change.store.rmk_id != before.rmk_id
    assert [mek.state for mek in after.meks] == [
        MekState.DECRYPT_ONLY,
        MekState.ENCRYPT_OR_DECRYPT,
    ]
    assert after.epoch == before.epoch + 1
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert event_ids(node)[-5:] == [
        key_events.KEY_GENERATED,
        key_events.KEY_GENERATED,
        key_events.KEY_REMOVED,
        key_events.KEY_CHANGED,
        key_events.KMS_STORE_CHANGED,
    ]


def test_the_store_before_is_dropped_once_the_new_one_is_proved(node: Node) -> None:
    node.meks.rotate("os:tester")
    assert PREVIOUS_STORE not in node.configuration.document().values
    assert node.coordinator.get("config/previous") is None


def test_status_brings_an_interrupted_change_to_its_end(node: Node) -> None:
    sealed = node.configuration.seal_secret(PREVIOUS_STORE, b"kept by a run that was killed")
    node.configuration.compare_and_put(lambda old: old.with_values({PREVIOUS_STORE: sealed}))
    assert node.kms_store.prove().is_ok
    assert PREVIOUS_STORE not in node.configuration.document().values


def test_two_rotations_at_once_do_not_lose_one(node: Node, node_dir: Path) -> None:
    other = opening.open_node(str(node_dir))
    node.kms_cache.opened()
    other.meks.rotate("os:other")
    node.meks.rotate("os:tester")
    assert len(node.kms_store.status().meks) == 3
    other.close()


def test_a_change_of_the_configuration_meanwhile_is_a_conflict(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compare-and-set is what commits: somebody else's change makes it fail, nothing is lost."""
    from strongroom.kms import next_store

    proved = next_store.prove

    def slow_proof(*arguments: object) -> None:
        proved(*arguments)  # type: ignore[arg-type]  # passed through
        node.configuration.set("gateway.timeout", "7", actor="os:other")
        node.configuration.apply(actor="os:other")

    monkeypatch.setattr(next_store, "prove", slow_proof)
    before = node.configuration.document().values[STORE]
    with pytest.raises(ConflictError):
        node.meks.rotate("os:tester")
    assert node.configuration.document().values[STORE] == before
    assert node.kms_store.status().is_ok


def test_set_mode_local_in_local_mode_changes_nothing(node: Node) -> None:
    """A-20."""
    version = node.configuration.version
    assert node.modes.set_mode(None, "os:tester").done is False
    assert node.configuration.version == version


def test_a_store_that_was_put_back_is_refused_until_it_is_accepted(
    node: Node, node_dir: Path, tmp_path: Path
) -> None:
    """R19: the whole coordination database of before the rotation comes back."""
    old = shutil.copytree(node_dir / "tabsvc" / "coordination", tmp_path / "coordination")
    node.meks.rotate("os:tester")
    node.close()
    shutil.rmtree(node_dir / "tabsvc" / "coordination")
    shutil.copytree(old, node_dir / "tabsvc" / "coordination")
    again = opening.open_node(str(node_dir))
    status = again.kms_store.status()
    assert not status.is_ok
    assert "rolled back" in status.problems[0]
    with pytest.raises(IntegrityError, match="rolled back"):
        again.meks.rotate("os:tester")
    digest = kms_store.digest(again.kms_store.current()[1])
    for epoch, other in ((2, digest), (1, "0" * 64)):
        with pytest.raises(StateError, match="nothing was accepted"):
            again.kms_store.accept_epoch(epoch, other, "os:tester")
    again.kms_store.accept_epoch(1, digest, "os:tester")
    assert again.kms_store.status().is_ok
    assert event_ids(again)[-1] == key_events.KMS_EPOCH_ACCEPTED
    again.close()


def test_a_change_whose_maker_was_killed_is_told_later(node: Node) -> None:
    """The mark is behind the event, or both are missing."""
    marks = node._kms_ports.marks
    before = marks.read()
    node.meks.rotate("os:tester")
    told, after = event_ids(node), marks.read()
    assert before is not None
    marks.write(before)
    node.kms_store.check_epoch()
    assert (event_ids(node), marks.read()) == (told, after)
    append = node.events.append

    def killed(new: Sequence[Event]) -> None:
        if new[-1].id == key_events.KMS_STORE_CHANGED:
            raise KeyboardInterrupt
        append(new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node.events, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            node.meks.rotate("os:tester")
    assert marks.read() == after
    node.kms_store.check_epoch()
    last = list(node.events.read())[-1]
    assert (last["id"], last["actor"]) == (key_events.KMS_STORE_CHANGED, SYSTEM)
    assert marks.read() != after


def test_without_its_keystore_the_keys_are_unreadable(node: Node) -> None:
    """K-05."""
    node.close()
    for folder in node.keystore.folders:
        for file in folder.iterdir():
            file.unlink()
    again = opening.open_node(str(node.paths.root))
    with pytest.raises(KeystoreError):
        again.kms_store.status()
    again.close()


def test_a_damaged_store_is_a_format_error(node: Node) -> None:
    damaged = node.configuration.seal_secret(STORE, b"{}")
    node.configuration.compare_and_put(lambda old: old.with_values({STORE: damaged}))
    with pytest.raises(FormatError, match="the KMS store has a version that is not known"):
        node.kms_store.status()


def test_a_store_under_a_forged_mac_is_red_not_a_crash(node: Node) -> None:
    forged = kms_store.serialize(replace(node.kms_store.current()[0], mac=bytes(32)))
    text = node.configuration.seal_secret(STORE, forged)
    node.configuration.compare_and_put(lambda old: old.with_values({STORE: text}))
    status = node.kms_store.status()
    assert not status.is_ok
    assert "does not open the RMK" in status.problems[0]


def test_an_unused_mek_can_be_retired_and_then_is_gone(node: Node) -> None:
    """P6."""
    old = node.envelope_keys.active_mek_id
    header, _ = node.envelope_keys.new_envelope(HERE)
    with pytest.raises(StateError, match="encrypts new data"):
        node.meks.retire(old, "os:tester")
    node.meks.rotate("os:tester")
    assert node.meks.usage().unused == (old,)
    node.meks.retire(old, "os:tester")
    assert [mek.id for mek in node.kms_store.status().meks] == [node.envelope_keys.active_mek_id]
    with pytest.raises(KeyNotFoundError):
        node.envelope_keys.open_envelope(header, HERE)
    with pytest.raises(KeyNotFoundError):
        node.meks.retire(old, "os:tester")


def test_a_journal_that_is_damaged_is_refused(node: Node) -> None:
    node.coordinator.put({"journal/regenerate": Change(b"?", 0)})
    with pytest.raises(FormatError, match="journal"):
        node.regenerate.run("os:tester", print)
