"""Moves between roots on a real node: A-10, A-12, A-20, K-07, Q-05, Q-08, Q-20.

The outside root is a fake that implements the port over a key of its own and can be made to fail; the
real ones go through the same in tests/contract/roots.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.errors import (
    FormatError,
    KeyNotFoundError,
    NotFoundError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms.states import MekState
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.roots import settings as root_settings
from strongroom.roots.base import WrapRecord
from strongroom.roots.settings import RootSettings
from tests.support.memory_root import Outside

HERE = Placement(new_id(), new_id())


BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k", {"x": "y"}, {"token": SecretBytes(b"s")})


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def reopened(node: Node) -> Iterator[Node]:
    again = opening.open_node(str(node.paths.root))
    yield again
    again.close()


def test_a_move_makes_new_keys_and_old_files_still_open(node: Node, outside: Outside) -> None:
    """A-10, A-12, Q-20."""
    header, dek = node.envelope_keys.new_envelope(HERE)
    before = node.kms_store.status()
    change = node.modes.set_mode(BAO, "os:tester")
    assert (change.before, change.after, change.done) == ("local", "openbao", True)
    after = node.kms_store.status()
    assert after.is_ok
    assert after.mode == "openbao"
    assert after.rmk_id != before.rmk_id
    assert [mek.state for mek in after.meks] == [
        MekState.DECRYPT_ONLY,
        MekState.ENCRYPT_OR_DECRYPT,
    ]
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert key_events.KMS_MODE_CHANGED in event_ids(node)
    assert key_events.KEY_MOVED in event_ids(node)
    assert node.kms_store.root_settings() == (BAO,)


def test_secrets_need_no_outside_root(node: Node, outside: Outside) -> None:
    """K-07: only the RMK is in the outside root's hands."""
    node.modes.set_mode(BAO, "os:tester")
    calls = outside.calls
    outside.failure = RootUnavailableError("down")
    assert node.configuration.get("jdbc.password", actor="os:tester")
    assert outside.calls == calls


def test_the_chain_of_moves_loses_nothing(node: Node, outside: Outside) -> None:
    files = [node.envelope_keys.new_envelope(HERE)]
    for wanted in (BAO, GCP, None, GCP, BAO, None):
        node.modes.set_mode(wanted, "os:tester")
        files.append(node.envelope_keys.new_envelope(HERE))
        assert node.kms_store.status().is_ok
        for header, dek in files:
            assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert node.kms_store.root_settings() == ()
    assert len(node.kms_store.status().meks) == 7


def test_a_dry_run_changes_nothing_and_tells_the_plan(node: Node, outside: Outside) -> None:
    version = node.configuration.version
    change = node.modes.set_mode(BAO, "os:tester", dry_run=True)
    assert not change.done
    assert len(change.plan) == 4
    assert node.configuration.version == version


def test_the_same_root_again_is_no_move(node: Node, outside: Outside) -> None:
    node.modes.set_mode(BAO, "os:tester")
    version = node.configuration.version
    assert not node.modes.set_mode(BAO, "os:tester").done
    assert node.configuration.version == version


@pytest.mark.parametrize("left", range(6))
def test_a_new_root_that_fails_at_any_call_leaves_all_as_before(
    node: Node, outside: Outside, left: int
) -> None:
    """Preflight takes one call, the move itself five."""
    before = node.configuration.document().values
    header, dek = node.envelope_keys.new_envelope(HERE)
    outside.left = left
    try:
        done = node.modes.set_mode(BAO, "os:tester").done
    except StrongroomError:
        done = False
    outside.left = -1
    status = node.kms_store.prove()
    assert status.is_ok
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    if not done and status.mode == "local":
        values = node.configuration.document().values
        assert values["kms.persistent_store"] == before["kms.persistent_store"]
        assert node.kms_store.root_settings() == ()


def test_a_new_credential_for_the_same_root_replaces_the_old_one(
    node: Node, outside: Outside
) -> None:
    node.modes.set_mode(GCP, "os:tester")
    epoch = node.kms_store.status().epoch
    renewed = replace(GCP, secrets={"token": SecretBytes(b"another")})
    assert not node.modes.set_mode(renewed, "os:tester", dry_run=True).done
    outside.failure = RootRefusedError("wrong token")
    with pytest.raises(RootRefusedError):
        node.modes.set_mode(renewed, "os:tester")
    assert node.kms_store.root_settings() == (GCP,)
    outside.failure = None
    assert node.modes.set_mode(renewed, "os:tester").done
    assert node.kms_store.root_settings() == (renewed,)
    assert node.kms_store.status().epoch == epoch
    assert event_ids(node)[-1] == key_events.ROOT_REACHED_ANEW


def test_a_root_that_refuses_is_refused_at_preflight(node: Node, outside: Outside) -> None:
    outside.failure = RootRefusedError("no permission", hint="ask for it")
    with pytest.raises(RootRefusedError):
        node.modes.set_mode(BAO, "os:tester")
    assert node.kms_store.status().mode == "local"


def test_status_is_red_at_once_and_names_the_root(node: Node, outside: Outside) -> None:
    node.modes.set_mode(BAO, "os:tester")
    outside.failure = RootUnavailableError("connection refused")
    status = node.kms_store.status()
    assert not status.is_ok
    assert "openbao" in status.problems[0]
    assert "connection refused" in status.problems[0]
    outside.failure = None
    assert node.kms_store.status().is_ok


def test_without_its_root_the_remedy_says_what_it_cannot_do(node: Node, outside: Outside) -> None:
    """Q-05: without the RMK in memory nothing can be moved."""
    node.modes.set_mode(BAO, "os:tester")
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    with pytest.raises(RootError, match="cannot be moved") as caught:
        node.modes.set_mode(None, "os:tester")
    assert "--abandon-external-keys" in caught.value.hint


def test_with_the_rmk_in_memory_the_remedy_works_though_the_root_is_gone(
    node: Node, outside: Outside
) -> None:
    """Q-05, A-20: the process that holds the RMK moves home without asking anybody."""
    node.modes.set_mode(BAO, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    outside.failure = RootUnavailableError("gone")
    assert node.modes.set_mode(None, "os:tester").done
    assert node.kms_store.status().is_ok
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek


def test_keys_left_behind_come_back_with_their_root(node: Node, outside: Outside) -> None:
    """Q-05, Q-08: unavailable, not lost."""
    node.modes.set_mode(BAO, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    lost = node.envelope_keys.active_mek_id
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    change = node.modes.set_mode(None, "os:tester", abandon=True)
    assert lost in change.abandoned
    status = node.kms_store.status()
    assert status.is_ok
    assert status.mode == "local"
    assert [mek.state for mek in status.meks].count(MekState.UNAVAILABLE) == 2
    assert node.envelope_keys.active_mek_id != lost
    with pytest.raises(KeyNotFoundError):
        node.envelope_keys.open_envelope(header, HERE)
    assert node.roots.adopt("os:tester") == ()
    outside.failure = None
    assert lost in node.roots.adopt("os:tester")
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert node.kms_store.status().is_ok
    assert MekState.UNAVAILABLE not in [mek.state for mek in node.kms_store.status().meks]
    assert node.kms_store.root_settings() == ()
    assert event_ids(node).count(key_events.MEK_ADOPTED) == 2


def test_regeneration_keeps_the_outside_root(node: Node, outside: Outside) -> None:
    node.modes.set_mode(BAO, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    node.regenerate.run("os:tester", lambda _: None)
    status = node.kms_store.status()
    assert (status.is_ok, status.mode) == (True, "openbao")
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek


# ---- recovery roots ------------------------------------------------------------------------------


def test_a_recovery_root_opens_the_store_when_the_modes_root_is_gone(
    node: Node, outside: Outside
) -> None:
    node.modes.set_mode(BAO, "os:tester")
    node.roots.add(GCP, "os:tester")
    assert [(s.kind, s.role, s.problem) for s in node.roots.list()] == [
        ("openbao", "mode", ""),
        ("gcp", "recovery", ""),
    ]
    header, dek = node.envelope_keys.new_envelope(HERE)
    del outside.keys[BAO.root_key_id]
    node.kms_cache.forget()
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert not node.kms_store.status().is_ok
    assert node.roots.list()[0].problem


def test_every_rotation_wraps_for_every_root(node: Node, outside: Outside) -> None:
    node.roots.add(BAO, "os:tester")
    node.roots.add(GCP, "os:tester")
    node.meks.rotate("os:tester")
    node.regenerate.run("os:tester", lambda _: None)
    assert [state.kind for state in node.roots.list()] == ["local", "openbao", "gcp"]
    assert node.kms_store.status().is_ok
    outside.failure = RootUnavailableError("gone")
    epoch = node.kms_store.status().epoch
    with pytest.raises(RootUnavailableError):
        node.meks.rotate("os:tester")
    assert node.kms_store.status().epoch == epoch


def test_a_recovery_root_is_added_once_and_can_be_removed(node: Node, outside: Outside) -> None:
    wrap_id = node.roots.add(GCP, "os:tester")
    with pytest.raises(StateError, match="already"):
        node.roots.add(GCP, "os:tester")
    (first, second) = node.roots.list()
    assert second.wrap_id == wrap_id
    with pytest.raises(StateError, match="KMS mode"):
        node.roots.remove(first.wrap_id, "os:tester")
    with pytest.raises(NotFoundError):
        node.roots.remove(new_id(), "os:tester")
    node.roots.remove(wrap_id, "os:tester")
    assert len(node.roots.list()) == 1
    assert node.kms_store.root_settings() == ()
    assert event_ids(node)[-2:] == [key_events.ROOT_REMOVED, key_events.KMS_STORE_CHANGED]


def test_verify_remembers_what_opened(node: Node, outside: Outside) -> None:
    node.roots.add(GCP, "os:tester")
    states = node.roots.verify("os:tester")
    assert not [state.problem for state in states if state.problem]
    assert all(state.last_verified >= state.added_at for state in node.roots.list())


def test_a_root_without_settings_is_said_to_be_unknown(node: Node, outside: Outside) -> None:
    node.modes.set_mode(BAO, "os:tester")
    node.configuration.compare_and_put(lambda old: old.with_values({"kms.roots": None}))
    node.kms_cache.forget()
    with pytest.raises(RootError, match="nothing is known"):
        node.kms_cache.opened()


# ---- the settings --------------------------------------------------------------------------------


def test_settings_come_back_from_their_bytes() -> None:
    assert root_settings.parse(root_settings.serialize([GCP, BAO])) == (GCP, BAO)
    assert b"cw==" in root_settings.serialize([GCP])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"roots":[],"v":2}',
        b'{"roots":[], "v":1}',
        b'{"roots":[1],"v":1}',
        b'{"roots":[{"kind":"x","options":{},"root_key_id":"y","secrets":{"a":"*"}}],"v":1}',
        bytes((1 << 18) + 1),
    ],
)
def test_damaged_settings_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        root_settings.parse(raw)


def test_a_version_of_a_key_belongs_to_its_root() -> None:
    wrap = WrapRecord(
        new_id(), "openbao", "direct", BAO.root_key_id + "/3", "", b"", b"", {}, "", ""
    )
    assert BAO.opens(wrap)
    assert not GCP.opens(wrap)
    assert not BAO.opens(replace(wrap, root_key_id=BAO.root_key_id + "x"))
