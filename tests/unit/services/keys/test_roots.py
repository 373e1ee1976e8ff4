"""Roots that fail or lie, on a node of this process: nothing is put, nothing lost (A-10, A-20, Q-05; findings M4)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from strongroom.crypto import age
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.kms import closed_stores
from strongroom.kms import store as kms_store
from strongroom.kms.states import MekState
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.roots.base import WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.modes import ModeChange
from strongroom.services.keys.roots import RootState
from strongroom.services.keys.stored import STORE
from tests.support.lying_roots import LIES, lie_about_new_wraps
from tests.support.memory_root import Outside

ACTOR = "os:tester"
BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")
HERE = Placement.standalone()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    found.stand_in(monkeypatch)
    return found


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def _set_mode(node: Node) -> None:
    node.modes.set_mode(BAO, ACTOR)


def _add_identity(node: Node) -> None:
    node.roots.add(recipient.settings(age.new_identity().recipient), ACTOR)


def _add(node: Node) -> None:
    node.roots.add(GCP, ACTOR)


def _leave_behind(node: Node, outside: Outside) -> ModeChange:
    """The mode's root is gone for good, and its keys are left behind."""
    node.kms_cache.forget()
    outside.failure = RootRefusedError("the key was deleted")
    return node.modes.set_mode(None, ACTOR, abandon=True)


CHANGES: dict[str, Callable[[Node], None]] = {"set-mode": _set_mode, "add": _add}


@pytest.mark.parametrize("name", LIES)
def test_a_root_that_does_not_give_back_what_it_wrapped_is_not_moved_to(
    whole: Node, outside: Outside, name: str
) -> None:
    """findings M4: the wrap, the settings and the mode stay; nothing is told that was not done."""
    before, header = whole.configuration.document().values, whole.envelope_keys.new_envelope(HERE)
    lie_about_new_wraps(whole, LIES[name])
    seen = len(event_ids(whole))
    with pytest.raises(StrongroomError):
        _set_mode(whole)
    assert whole.configuration.document().values == before
    assert event_ids(whole)[seen:] == []
    assert whole.kms_store.status().is_ok
    assert whole.kms_store.status().mode == "local"
    assert whole.envelope_keys.open_envelope(header[0], HERE).dek == header[1]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("error", [RootRefusedError, RootUnavailableError])
def test_a_root_that_is_not_there_is_tried_before_anything_is_changed(
    whole: Node, outside: Outside, change: str, error: type[RootError]
) -> None:
    before = whole.configuration.document()
    outside.failure = error("no such key")
    with pytest.raises(error, match="no such key"):
        CHANGES[change](whole)
    assert whole.configuration.document() == before
    assert outside.calls == 1


def test_a_root_is_there_once(whole: Node, outside: Outside) -> None:
    _add(whole)
    before = whole.configuration.document()
    with pytest.raises(StateError, match="wraps the RMK already"):
        whole.roots.add(GCP, ACTOR)
    assert whole.configuration.document() == before


def test_the_root_of_the_mode_is_never_removed(whole: Node, outside: Outside) -> None:
    _add(whole)
    mode, recovery = (state.wrap_id for state in whole.roots.list())
    before = whole.configuration.document()
    with pytest.raises(StateError, match="that of the KMS mode"):
        whole.roots.remove(mode, ACTOR)
    with pytest.raises(NotFoundError):
        whole.roots.remove("0" * 8, ACTOR)
    assert whole.configuration.document() == before
    whole.roots.remove(recovery, ACTOR)
    assert [state.wrap_id for state in whole.roots.list()] == [mode]
    assert event_ids(whole)[-2] == key_events.ROOT_REMOVED


def test_present_keys_are_left_behind_only_when_nothing_opens_them(
    whole: Node, outside: Outside
) -> None:
    """Q-05: `--abandon-external-keys` beside a root that answers moves, and leaves nothing behind."""
    _set_mode(whole)
    header, dek = whole.envelope_keys.new_envelope(HERE)
    done = whole.modes.set_mode(None, ACTOR, abandon=True)
    assert (done.done, done.abandoned) == (True, ())
    assert whole.envelope_keys.open_envelope(header, HERE).dek == dek
    assert whole.kms_store.current()[0].former == ()


def test_somebody_else_may_have_repaired_the_root_meanwhile(whole: Node, outside: Outside) -> None:
    """findings M4: what is asked under the lock counts: a store that opens by now is not left behind."""
    _set_mode(whole)
    before = whole.configuration.document()
    with pytest.raises(ConflictError, match="can be opened by now"):
        whole.modes._leave_behind(None, ACTOR)
    assert whole.configuration.document() == before


def test_keys_that_were_left_behind_are_kept_and_taken_back(whole: Node, outside: Outside) -> None:
    """Q-05, Q-08: the closed store stays in the new one, its MEKs are unavailable, and come back with their root."""
    _set_mode(whole)
    header, dek = whole.envelope_keys.new_envelope(HERE)
    raw = whole.configuration.open_secret(STORE).reveal()
    whole.kms_cache.forget()
    outside.failure = RootRefusedError("the key was deleted")
    with pytest.raises(RootError, match="cannot be opened, so they cannot be moved"):
        whole.modes.set_mode(None, ACTOR)
    assert whole.configuration.open_secret(STORE).reveal() == raw
    done = _leave_behind(whole, outside)
    store = whole.kms_store.current()[0]
    assert whole.kms_store.closed_stores() == {closed_stores.closed(raw, store.epoch - 1): raw}
    assert set(done.abandoned) == {mek.id for mek in kms_store.parse(raw).meks}
    states = {mek.id: mek.state for mek in whole.kms_store.status().meks}
    assert {states[mek_id] for mek_id in done.abandoned} == {MekState.UNAVAILABLE}
    assert whole.roots.adopt(ACTOR) == ()
    whole.meks.rotate(ACTOR)
    assert list(whole.kms_store.closed_stores().values()) == [raw], "a rotation keeps it"
    outside.failure = None
    assert set(whole.roots.adopt(ACTOR)) == set(done.abandoned)
    assert whole.envelope_keys.open_envelope(header, HERE).dek == dek
    assert whole.kms_store.current()[0].former == ()
    assert event_ids(whole).count(key_events.MEK_ADOPTED) == len(done.abandoned)


def test_a_former_store_is_not_taken_back_by_a_root_that_lies(
    whole: Node, outside: Outside
) -> None:
    """findings M4: the MAC of the former store is asked for, not the root's word."""
    _set_mode(whole)
    _leave_behind(whole, outside)
    outside.failure = None
    before = whole.configuration.document()
    for lie in LIES.values():
        lie_about_new_wraps(whole, lie)
        assert whole.roots.adopt(ACTOR) == ()
    assert whole.configuration.document() == before


def test_a_dropped_root_is_named_and_only_that_one_goes(whole: Node, outside: Outside) -> None:
    whole.roots.add(GCP, ACTOR)
    whole.roots.add(BAO, ACTOR)
    _, gcp, bao = (state.wrap_id for state in whole.roots.list())
    outside.fail(GCP, RootUnavailableError("gone"))
    before = whole.configuration.document()
    with pytest.raises(RootUnavailableError, match="nothing was changed"):
        whole.meks.rotate(ACTOR)
    assert whole.configuration.document() == before
    whole.meks.rotate(ACTOR, drop=[gcp])
    kinds = [state.kind for state in whole.roots.list()]
    assert kinds == ["local", "openbao"]
    assert event_ids(whole).count(key_events.ROOT_REMOVED) == 1
    assert bao


def test_a_recipient_is_on_the_configuration_keys_before_the_store_names_it(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M1 of the recovery's format: a store that names a recipient who cannot open the node would be a promise."""

    def refuse(*_: object) -> None:
        raise RootError("the configuration keys cannot be written")

    before = whole.configuration.document()
    monkeypatch.setattr("strongroom.configuration_keys.keys.ConfigurationKeys._change", refuse)
    with pytest.raises(RootError, match="cannot be written"):
        _add_identity(whole)
    assert whole.configuration.document() == before
    assert whole.kms_store.current()[0].recipients == ()


def test_only_the_wraps_that_open_are_noted_as_verified(whole: Node, outside: Outside) -> None:
    _add(whole)
    outside.failure = RootUnavailableError("down")
    noted = {wrap.id: wrap.last_verified for wrap in whole.kms_store.current()[0].wraps}
    store = whole.kms_store.current()[0]
    states = whole.roots.list()
    assert [bool(state.problem) for state in states] == [False, True]
    with pytest.raises(RootUnavailableError):
        whole.roots.verify(ACTOR)  # the store that says so would not prove
    assert whole.kms_store.current()[0] == store
    assert {wrap.id: wrap.last_verified for wrap in store.wraps} == noted


# ---- an address that is used again (findings K3) -------------------------------------------------

OLD = RootSettings("openbao", "https://old.example/transit/keys/one")
NEW = RootSettings("openbao", "https://new.example/transit/keys/one")
IS_ROTATED = pytest.mark.parametrize("is_rotated", [True, False])


def use_again(node: Node, outside: Outside, *, is_rotated: bool, is_mode: bool = True) -> None:
    """The root at OLD, the mode's or one beside it, moved to NEW; another key is at OLD now."""
    if is_mode:
        node.modes.set_mode(OLD, ACTOR)
    else:
        node.roots.add(OLD, ACTOR)
    outside.keys[NEW.root_key_id] = outside.keys[OLD.root_key_id]
    outside.fail(OLD, RootUnavailableError("gone"))
    assert node.roots.reach_anew(NEW, ACTOR)
    if is_rotated:
        node.meks.rotate(ACTOR)
    outside.broken.clear()
    del outside.keys[OLD.root_key_id]


def reached(node: Node) -> list[str]:
    return [one.root_key_id for one in node.kms_store.root_settings()]


@IS_ROTATED
def test_a_recovery_root_is_not_taken_for_the_one_that_has_its_old_address(
    whole: Node, outside: Outside, is_rotated: bool
) -> None:
    """Its wrap and its token were dropped, and nobody was told."""
    use_again(whole, outside, is_rotated=is_rotated, is_mode=False)
    whole.modes.set_mode(OLD, ACTOR)
    names = [(wrap.root_key_id, state.problem) for wrap, state in pairs(whole)]
    assert names == [(OLD.root_key_id, ""), (NEW.root_key_id, "")]
    assert reached(whole) == [NEW.root_key_id, OLD.root_key_id]
    assert key_events.ROOT_REMOVED not in event_ids(whole)
    assert whole.kms_store.status().is_ok


def pairs(node: Node) -> list[tuple[WrapRecord, RootState]]:
    return list(zip(node.kms_store.current()[0].wraps, node.roots.list(), strict=True))


@IS_ROTATED
def test_the_modes_root_is_not_reached_anew_at_an_address_that_is_another_keys_now(
    whole: Node, outside: Outside, is_rotated: bool
) -> None:
    """The only settings of the mode's root were replaced, since one name was shared."""
    use_again(whole, outside, is_rotated=is_rotated)
    outside.fail(NEW, RootUnavailableError("down"))
    before, seen = whole.configuration.document(), len(event_ids(whole))
    assert whole.roots.reach_anew(OLD, ACTOR) == ""
    with pytest.raises(RootUnavailableError, match="down"):
        whole.roots.add(OLD, ACTOR)
    assert whole.configuration.document() == before
    assert event_ids(whole)[seen:] == []
    outside.broken.clear()
    assert whole.kms_store.status().is_ok


@IS_ROTATED
def test_the_mode_moves_to_another_key_at_an_address_of_before(
    whole: Node, outside: Outside, is_rotated: bool
) -> None:
    use_again(whole, outside, is_rotated=is_rotated)
    rmk_id = whole.kms_store.status().rmk_id
    done = whole.modes.set_mode(OLD, ACTOR)
    assert done.done
    assert "make a new RMK" in done.plan[0]
    assert whole.kms_store.status().rmk_id != rmk_id
    assert whole.kms_store.status().is_ok
    assert reached(whole) == [OLD.root_key_id], "the token of the root that was left is gone"


@IS_ROTATED
def test_another_key_at_an_address_of_before_is_added(
    whole: Node, outside: Outside, is_rotated: bool
) -> None:
    use_again(whole, outside, is_rotated=is_rotated)
    added = whole.roots.add(OLD, ACTOR)
    names = [(wrap.root_key_id, state.problem) for wrap, state in pairs(whole)]
    assert names == [(NEW.root_key_id, ""), (OLD.root_key_id, "")]
    assert whole.roots.list()[1].wrap_id == added
    assert whole.kms_store.status().is_ok


def test_the_mode_moves_to_another_key_at_the_very_address(whole: Node, outside: Outside) -> None:
    whole.modes.set_mode(OLD, ACTOR)
    del outside.keys[OLD.root_key_id]
    rmk_id = whole.kms_store.status().rmk_id
    assert whole.modes.set_mode(OLD, ACTOR).done
    assert whole.kms_store.status().rmk_id != rmk_id
    assert whole.kms_store.status().is_ok


def test_a_recovery_root_whose_address_is_another_keys_is_given_up_by_name_only(
    whole: Node, outside: Outside
) -> None:
    wrap_id = whole.roots.add(OLD, ACTOR)
    del outside.keys[OLD.root_key_id]
    before = whole.configuration.document()
    for change in (whole.roots.add, whole.modes.set_mode):
        with pytest.raises(StateError, match=f"wrap {wrap_id} .* does not open it"):
            change(OLD, ACTOR)
    assert whole.configuration.document() == before
    whole.modes.set_mode(OLD, ACTOR, drop=[wrap_id])
    assert [state.problem for state in whole.roots.list()] == [""]
    assert event_ids(whole).count(key_events.ROOT_REMOVED) == 1


def test_no_answer_is_no_proof_of_another_key(whole: Node, outside: Outside) -> None:
    whole.modes.set_mode(OLD, ACTOR)
    before = whole.configuration.document()
    outside.left = 1  # the round trip; then the line is dead
    with pytest.raises(RootUnavailableError):
        whole.modes.set_mode(replace(OLD, options={"ca_file": "/ca.pem"}), ACTOR)
    outside.left = 1
    assert not whole.modes.set_mode(OLD, ACTOR).done
    assert whole.configuration.document() == before
