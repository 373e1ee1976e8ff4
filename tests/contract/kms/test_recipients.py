"""Recovery recipients stay wrapped into both hierarchies through every change of keys (M1, docs/format/recovery.md)."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.crypto import age
from strongroom.crypto.age import Identity
from strongroom.errors import (
    KeyNotFoundError,
    RootUnavailableError,
    StateError,
    StorageError,
)
from strongroom.eventlog.events import key_events
from strongroom.node.opening import Node
from strongroom.services.keys.keeper import ROOTS
from tests.contract.kms.recovery_lab import (
    ACTOR,
    BAO,
    HERE,
    add,
    check_recovered,
    elsewhere,
    event_ids,
    installation,
    problems,
    quiet,
    service,
    state_of,
)
from tests.support.memory_root import Outside

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_recipient_is_wrapped_into_both_hierarchies(node: Node, identity: Identity) -> None:
    """Recovery roots are always added to both."""
    wrap_id = add(node, identity)
    state = state_of(node, identity)
    assert (state.wrap_id, state.kind, state.role) == (wrap_id, "age", "recovery")
    assert (state.online, state.problem, state.last_verified) == (False, "", "")
    status = node.kms_store.prove()
    assert status.is_ok
    assert [root.last_success for root in status.roots if root.kind == "age"] == [""]
    assert node.paths.recovery_records.exists()
    assert event_ids(node).count(key_events.ROOT_ADDED) == 1
    assert key_events.KEY_MOVED in event_ids(node)
    service(node).drill((identity,), ACTOR)


def test_every_change_of_keys_wraps_again_without_the_identity(
    node: Node, outside: Outside, identity: Identity
) -> None:
    """M1: offline seals must not block a rotation."""
    add(node, identity)
    drilled = service(node).drill((identity,), ACTOR)
    verified = state_of(node, identity).last_verified
    assert verified
    seen = {drilled.wrap_id}
    steps: list[Callable[[], object]] = [
        lambda: node.meks.rotate(ACTOR),
        lambda: node.modes.set_mode(BAO, ACTOR),
        lambda: node.regenerate.run(ACTOR, quiet),
        lambda: node.modes.set_mode(None, ACTOR),
    ]
    for step in steps:
        step()
        assert node.kms_store.prove().is_ok
        assert problems(node) == []
        assert state_of(node, identity).last_verified == verified
        drilled = service(node).drill((identity,), ACTOR, note=False)
        assert drilled.wrap_id not in seen
        seen.add(drilled.wrap_id)
        assert drilled.configuration_keys == tuple(
            sorted(record.id for record in node.open_configuration_keys(installation(node)).load())
        )


def test_keys_left_behind_come_back_by_the_identity(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path
) -> None:
    """Q-05: the new store has the recipient too, and `recover` takes the closed keys back."""
    node.modes.set_mode(BAO, ACTOR)
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    node.modes.set_mode(None, ACTOR, abandon=True)
    with pytest.raises(KeyNotFoundError):
        node.envelope_keys.open_envelope(file[0], HERE)
    with elsewhere(node, tmp_path, keystore=False) as again:
        done = service(again).recover((identity,), ACTOR, quiet)
        assert len(done.adopted) == 2
        check_recovered(again, file, adopted=2)


def test_a_removed_recipient_opens_neither(node: Node, identity: Identity) -> None:
    wrap_id = add(node, identity)
    node.roots.remove(wrap_id, ACTOR)
    assert not node.paths.recovery_records.exists()
    assert problems(node) == []
    with pytest.raises(StateError, match="no configuration key is wrapped"):
        service(node).drill((identity,), ACTOR)


def test_removing_another_root_leaves_the_recipients(
    node: Node, outside: Outside, identity: Identity
) -> None:
    add(node, identity)
    before = node.paths.recovery_records.read_bytes()
    node.roots.remove(node.roots.add(BAO, ACTOR), ACTOR)
    assert node.paths.recovery_records.read_bytes() == before


def test_drift_is_told_and_repaired_only_when_asked(node: Node, identity: Identity) -> None:
    """A recipient that opens the RMK but no configuration key would bring nothing back."""
    add(node, identity)
    stray = age.new_identity().recipient
    keys = node.open_configuration_keys(installation(node))
    keys.set_recipients((stray,))
    for _ in range(2):
        states = {state.root_key_id: state for state in node.roots.verify(ACTOR)}
        assert "is not wrapped for it" in states[identity.recipient].problem
        assert "kms roots repair" in states[identity.recipient].problem
        assert states[stray].role == "configuration keys only"
    assert len(node.roots.repair(ACTOR)) == 2
    assert problems(node) == []
    assert node.roots.repair(ACTOR) == ()
    node.paths.recovery_records.unlink()
    assert "missing" in problems(node)[0]


def test_a_recipient_is_added_once(node: Node, identity: Identity) -> None:
    add(node, identity)
    with pytest.raises(StateError, match="already"):
        add(node, identity)


def test_lost_settings_of_a_recipient_hinder_no_rotation(node: Node, identity: Identity) -> None:
    """docs/format/recovery.md 5."""
    add(node, identity)
    node.configuration.compare_and_put(lambda old: old.with_values({ROOTS: None}))
    node.meks.rotate(ACTOR)
    service(node).drill((identity,), ACTOR)


def test_a_failed_commit_leaves_the_node_as_it_was(
    node: Node, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(ConfigurationKeys, "set_recipients", fail)
        with pytest.raises(StorageError):
            add(node, identity)
    assert node.kms_store.prove().is_ok
    assert len(node.roots.list()) == 1
    assert node.kms_store.root_settings() == ()
