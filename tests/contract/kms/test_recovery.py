"""Recovery recipients on a real node: M1, R13. The outside root is a fake that can be lost; the real ones are in tests/interop.

A recovery works on a copy of the data directory, with nothing else but an identity.
"""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.configuration_keys import generations
from strongroom.coordination.base import Change
from strongroom.crypto import age, rng, shares
from strongroom.crypto.age import Identity
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    RootRefusedError,
    RootUnavailableError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.node import opening
from strongroom.node import recover as recovering
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.roots.settings import RootSettings
from strongroom.runtime import running
from strongroom.services.keys import regeneration
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.recovery import journal as recovery_journal
from tests.contract.kms.recovery_lab import (
    ACTOR,
    BAO,
    GCP,
    HERE,
    STEPS,
    add,
    check_new_key,
    check_recovered,
    elsewhere,
    event_ids,
    installation,
    quiet,
    service,
    state_of,
)
from tests.support.memory_root import Outside


@pytest.mark.parametrize("keystore", [True, False], ids=["keystore there", "keystore lost"])
@pytest.mark.parametrize("mode", [BAO, None], ids=["external", "local"])
def test_a_copy_of_the_data_directory_and_an_identity_are_enough(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path, mode: RootSettings | None, keystore: bool
) -> None:  # fmt: skip
    """Must show 6: all providers gone, and once more with the keystore deleted."""
    if mode:
        node.modes.set_mode(mode, ACTOR)
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    outside.failure = RootUnavailableError("gone for ever")
    with elsewhere(node, tmp_path, keystore=keystore) as again:
        assert service(again).plan((identity,)) != () or (mode is None and keystore)
        done = service(again).recover((identity,), ACTOR, quiet)
        assert done.done is not (mode is None and keystore)
        assert done.keystore_renewed is not keystore
        check_recovered(again, file)
        assert [root.kind for root in again.kms_store.root_settings()] == ["age"]
        service(again).drill((identity,), ACTOR)
        if done.done:
            assert event_ids(again).count(key_events.NODE_RECOVERED) == 1
            assert key_events.RMK_UNWRAPPED in event_ids(again)


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (1, 2), (3, 3)])
def test_k_shares_open_the_node_and_fewer_never_do(
    node: Node, tmp_path: Path, threshold: int, count: int
) -> None:
    """R13: every subset, through the words of the files."""
    identity = age.new_identity()
    kit = ("50b8", threshold, count)
    node.roots.add(recipient.settings(identity.recipient, kit=kit), ACTOR)
    words = shares.split(identity, threshold, count)
    with elsewhere(node, tmp_path, keystore=False) as again:
        for subset in itertools.combinations(words, threshold):
            service(again).drill((shares.combine(subset),), ACTOR)
        for subset in itertools.combinations(words, threshold - 1):
            with pytest.raises(StrongroomError):
                shares.combine(subset)


def test_roots_that_answer_stay_and_those_that_are_gone_are_dropped(
    node: Node,
    outside: Outside,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node.modes.set_mode(BAO, ACTOR)
    node.roots.add(GCP, ACTOR)
    third = RootSettings("gcp", "projects/p/cryptoKeys/gone")
    node.roots.add(third, ACTOR)
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    real, said = outside.provider, list[str]()

    def provider(settings: RootSettings) -> object:
        if settings != GCP:
            raise RootUnavailableError("gone")
        return real(settings)

    monkeypatch.setattr(outside, "provider", provider)
    with elsewhere(node, tmp_path) as again:
        plan = service(again).plan((identity,))
        assert f"drop the wrap of openbao {BAO.root_key_id}" in plan
        assert f"keep gcp {GCP.root_key_id} beside it, if it answers" in plan
        service(again).recover((identity,), ACTOR, said.append)
        check_recovered(again, file)
        assert [state.kind for state in again.roots.list()] == ["local", "gcp", "age"]
        assert any("dropping the gcp root projects/p/cryptoKeys/gone" in line for line in said)


def test_the_drill_changes_nothing_but_its_date(node: Node, identity: Identity) -> None:
    add(node, identity)
    before = node.kms_store.status()
    drilled = service(node).drill((identity,), ACTOR)
    after = node.kms_store.prove()
    assert (drilled.rmk_id, drilled.meks, drilled.not_noted) == (before.rmk_id, 1, "")
    assert after.rmk_id == before.rmk_id
    assert after.epoch == before.epoch + 1
    assert state_of(node, identity).last_verified
    assert key_events.RECOVERY_DRILLED in event_ids(node)


def test_a_drill_without_the_keystore_says_what_it_could_not_note(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    with elsewhere(node, tmp_path, keystore=False) as again:
        drilled = service(again).drill((identity,), ACTOR)
        assert "password file" in drilled.not_noted
        assert not again.paths.keystore_password.exists()


def test_foreign_identities_are_refused_before_anything_is_written(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    stranger = age.new_identity()
    with elsewhere(node, tmp_path, keystore=False) as again:
        with pytest.raises(RootRefusedError, match="no recovery recipient") as caught:
            service(again).recover((stranger,), ACTOR, quiet)
        assert identity.recipient in caught.value.hint
        assert not again.paths.keystore_password.exists()
        assert again.entry_store.get(recovery_journal.JOURNAL) is None


def test_a_recipient_of_the_configuration_keys_alone_does_not_open_the_rmk(
    node: Node, identity: Identity
) -> None:
    add(node, identity)
    stray = age.new_identity()
    keys = node.open_configuration_keys(installation(node))
    keys.set_recipients((identity.recipient, stray.recipient))
    with pytest.raises(RootRefusedError, match="is not wrapped for"):
        service(node).drill((stray,), ACTOR)


def test_a_false_wrap_does_not_pass_for_a_key(node: Node, identity: Identity) -> None:
    """docs/format/recovery.md 1.3: anybody can seal to a recipient; MAC and ENC values tell."""
    add(node, identity)
    other = age.new_identity()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strongroom.crypto.age.unwrap", lambda *_, **__: other.text)
        with pytest.raises((IntegrityError, ValueError)):
            service(node).drill((identity,), ACTOR)


def test_damaged_wraps_of_the_configuration_key_are_no_key(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    keys = node.open_configuration_keys(installation(node))
    (record,) = keys.load()
    damaged = [w._replace(wrapped=w.wrapped[:-1]) if w.name == identity.recipient else w for w in record.wraps]  # fmt: skip
    keys.restore(
        keys.present.replaced((record._replace(wraps=tuple(damaged)),), keys.present.active)
    )
    with pytest.raises(KeyNotFoundError, match="is not wrapped for the recovery recipient"):
        service(node).drill((identity,), ACTOR)


def test_the_second_copy_makes_up_for_damaged_records(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    with elsewhere(node, tmp_path) as again:
        for folder in again.keystore.folders:
            (folder / "configuration_keys.json").write_bytes(b"{}")
        done = service(again).recover((identity,), ACTOR, quiet)
        assert done.keystore_renewed
        assert again.keystore.load().aliases == node.keystore.load().aliases
        check_recovered(again, file)


def test_a_foreign_keystore_is_used_and_one_that_nothing_opens_is_set_aside(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    with elsewhere(node, tmp_path) as again:
        again.paths.keystore_password.write_bytes(b"another password")
        service(again).recover((identity,), ACTOR, quiet)
        check_recovered(again, file)
        folder = again.paths.keystore_password.parent
        (aside,) = folder.glob("password.lost-*")
        assert aside.read_bytes() == b"another password"
        assert len(list(again.keystore.folders[0].glob("tableauserver.jks.lost-*"))) == 1


def test_a_regeneration_that_was_under_way_does_not_come_in_the_way(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    node.coordinator.put({regeneration.JOURNAL: Change(b"{}", 0)})
    with elsewhere(node, tmp_path, keystore=False) as again:
        service(again).recover((identity,), ACTOR, quiet)
        check_recovered(again, file)
        again.regenerate.run(ACTOR, quiet)
        check_recovered(again, file)
        service(again).drill((identity,), ACTOR)


class CutError(Exception):
    """As if the process had died."""


@pytest.mark.table
@pytest.mark.parametrize("keystore", [True, False], ids=["keystore there", "keystore lost"])
@pytest.mark.parametrize("step", ["_add_master_key", "_add_configuration_key", "_replace_values"])
def test_a_regeneration_that_was_cut_is_given_up(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path, step: str, keystore: bool
) -> None:
    """Its master key may be newer than the records, and its key the next one, which the entries name or do not name."""
    node.modes.set_mode(BAO, ACTOR)
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    real = getattr(RegenerateService, step)

    def cut(*words: object) -> None:
        real(*words)
        raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegenerateService, step, cut)
        with pytest.raises(CutError):
            node.regenerate.run(ACTOR, quiet, [regeneration.KEYS])
    old_key_id = node.configuration.document().configuration_key_id
    outside.failure = RootUnavailableError("gone for ever")
    with elsewhere(node, tmp_path, keystore=keystore) as again:
        service(again).recover((identity,), ACTOR, quiet)
        check_recovered(again, file)
        check_new_key(again, old_key_id)
        assert again.coordinator.get(regeneration.JOURNAL) is None
        later = opening.open_node(str(again.paths.root))
        later.regenerate.run(ACTOR, quiet, [regeneration.KEYS])
        check_recovered(later, file)
        later.close()


def test_a_journal_that_an_upgrade_brought_over_gets_its_key(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    old_key_id = node.configuration.document().configuration_key_id
    rmk_id, point = node.kms_store.status().rmk_id, node.kms_store.point()
    journal = recovery_journal.Journal(rmk_id, True, point, "", old_key_id)
    node.coordinator.put({recovery_journal.JOURNAL: Change(journal.serialize(), 0)})
    with elsewhere(node, tmp_path, keystore=False) as again:
        service(again).recover((identity,), ACTOR, quiet)
        check_recovered(again, file)
        check_new_key(again, old_key_id)


@pytest.mark.table
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_was_cut_is_taken_up_again(
    node: Node, identity: Identity, tmp_path: Path, step: str, moment: str
) -> None:
    """docs/format/recovery.md 6.3; the kills at every call are in tests/torture."""
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    place, method = STEPS[step]
    real = getattr(place, method)

    def cut(*words: object) -> None:
        if moment == "after":
            real(*words)
        raise CutError

    old_key_id = node.configuration.document().configuration_key_id
    with elsewhere(node, tmp_path, keystore=False) as again:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, method, cut)
            with pytest.raises(CutError):
                service(again).recover((identity,), ACTOR, quiet)
        assert (again.coordinator.get(recovery_journal.JOURNAL) is None) is (
            (step, moment) == ("end", "after")
        )
        later = opening.open_node(str(again.paths.root))
        done = service(later).recover((identity,), ACTOR, quiet)
        check_recovered(later, file)
        assert done.done is not ((step, moment) == ("end", "after"))
        assert len(later.kms_store.status().meks) == 2
        check_new_key(later, old_key_id)
        later.close()


def test_a_keystore_that_cannot_be_set_aside_is_told(
    node: Node, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(node, identity)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with elsewhere(node, tmp_path) as again:
        again.paths.keystore_password.write_bytes(b"another password")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse)
            with pytest.raises(StorageError, match=r"cannot set .* aside"):
                service(again).recover((identity,), ACTOR, quiet)
        assert service(again).recover((identity,), ACTOR, quiet).keystore_renewed


def test_a_journal_of_another_version_is_refused(node: Node, identity: Identity) -> None:
    add(node, identity)
    forms = (b'{"keystore":true,"rmk_id":"x","v":1}', b'{"keystore":true,"rmk_id":"x","v":2}')
    later = b'{"key_id":"x","keystore":true,"old_key_id":"x","rmk_id":"x","v":4}'
    for raw in (b"{", *forms, later, b"[]"):
        found = node.coordinator.get(recovery_journal.JOURNAL)
        node.coordinator.put({recovery_journal.JOURNAL: Change(raw, found.version if found else 0)})
        with pytest.raises(FormatError, match="journal of a change of keys"):
            service(node).recover((identity,), ACTOR, quiet)


def test_a_rolled_back_store_is_not_recovered_silently(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path
) -> None:
    """R19: recovery is no way around the epoch."""
    node.modes.set_mode(BAO, ACTOR)
    add(node, identity)
    with elsewhere(node, tmp_path) as again:
        database = again.paths.repository
        again.close()
        node.meks.rotate(ACTOR)
        node.repository.close()
        for path in database.parent.glob("repository.db*"):
            path.unlink()
        for path in node.paths.repository.parent.glob("repository.db*"):
            shutil.copy(path, database.parent)
        outside.failure = RootUnavailableError("gone")
        later = opening.open_node(str(again.paths.root))
        with pytest.raises(IntegrityError, match="rolled back") as caught:
            service(later).recover((identity,), ACTOR, quiet)
        epoch, _, digest = caught.value.hint.split()[-3:]
        later.kms_store.accept_epoch(int(epoch), digest, ACTOR)
        assert service(later).recover((identity,), ACTOR, quiet).done
        later.close()


def test_a_node_that_is_served_is_left_alone(node: Node, identity: Identity) -> None:
    with running.sole_server(node.paths):
        with pytest.raises(StateError, match="is served") as caught, recovering.alone(node):
            raise AssertionError
        assert "then tsm stop" in caught.value.hint
    with recovering.alone(node):
        pass
    with pytest.raises(ConflictError, match="of the work itself"), recovering.alone(node):
        raise ConflictError("of the work itself")


@pytest.mark.parametrize("keystore", [True, False])
def test_a_journal_of_an_earlier_loss_does_not_come_in_the_way(
    node: Node, identity: Identity, tmp_path: Path, keystore: bool
) -> None:
    """What is there decides: the keystore is renewed and the RMK replaced, whatever the journal says."""
    add(node, identity)
    file = node.envelope_keys.new_envelope(HERE)
    old = node.kms_store.status().rmk_id
    journal = recovery_journal.Journal(
        new_id(), keystore, node.kms_store.point(), new_id(), new_id()
    )
    node.coordinator.put({recovery_journal.JOURNAL: Change(journal.serialize(), 0)})
    with elsewhere(node, tmp_path, keystore=False) as again:
        done = service(again).recover((identity,), ACTOR, quiet)
        assert (done.done, done.keystore_renewed) == (True, True)
        assert done.rmk_id != old
        check_recovered(again, file)


def test_a_recovery_that_does_not_prove_is_not_reported(
    node: Node, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(node, identity)
    with elsewhere(node, tmp_path, keystore=False) as again:
        with monkeypatch.context() as patch:
            bad = replace(node.kms_store.status(), problems=("a MEK does not open",))
            patch.setattr(type(again.kms_store), "prove", lambda _: bad)
            with pytest.raises(IntegrityError, match="does not prove: a MEK"):
                service(again).recover((identity,), ACTOR, quiet)
        assert key_events.NODE_RECOVERED not in event_ids(again)
        assert again.coordinator.get(recovery_journal.JOURNAL) is not None
        assert service(again).recover((identity,), ACTOR, quiet).done


def _with_a_key_apart(node: Node) -> str:
    """A configuration key that is wrapped for no recipient."""
    keys = node.open_configuration_keys(installation(node))
    alias = node.keystore.load().newest
    key_id = new_id()
    keys.add_next(
        keys.wrapping.new_record(
            rng.new_key(), key_id=key_id, created_at=node.clock.now(), alias=alias
        )
    )
    keys.settle(keys.present.active)
    return key_id


def test_records_that_this_identity_does_not_open_are_kept_aside(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    key_id = _with_a_key_apart(node)
    file = node.envelope_keys.new_envelope(HERE)
    drilled = service(node).drill((identity,), ACTOR)
    assert drilled.not_opened == (key_id,)
    with elsewhere(node, tmp_path) as again:
        again.paths.keystore_password.unlink()
        path = again.keystore.folders[0] / "configuration_keys.json"
        before = path.read_bytes()
        done = service(again).recover((identity,), ACTOR, quiet)
        assert done.left == (key_id,)
        (aside,) = path.parent.glob("configuration_keys.json.lost-*")
        assert aside.read_bytes() == before
        assert aside.stat().st_mode & 0o777 == 0o600
        check_recovered(again, file)


def test_a_key_that_the_configuration_needs_is_never_left_behind(
    node: Node, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(node, identity)
    key_id = _with_a_key_apart(node)
    with elsewhere(node, tmp_path) as again:
        again.paths.keystore_password.unlink()
        path = again.keystore.folders[0] / "configuration_keys.json"
        before = path.read_bytes()
        monkeypatch.setattr(
            type(again.configuration), "configuration_keys_in_use", lambda *_: frozenset({key_id})
        )
        for ask in (service(again).plan, lambda by: service(again).recover(by, ACTOR, quiet)):
            with pytest.raises(KeyNotFoundError, match=f"the configuration needs {key_id}"):
                ask((identity,))
        assert path.read_bytes() == before
        assert again.coordinator.get(recovery_journal.JOURNAL) is None


def test_keys_that_the_keystore_still_opens_stay(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    """One damaged wrap breaks the records; what no recipient has is opened by the keystore."""
    add(node, identity)
    key_id = _with_a_key_apart(node)
    keys = node.open_configuration_keys(installation(node))
    first, second = keys.load()
    spoilt = first.wraps[0]._replace(wrapped=first.wraps[0].wrapped[:-1] + b"x")
    damaged = (first._replace(wraps=(spoilt, *first.wraps[1:])), second)
    data = generations.serialize(keys.present._replace(records=damaged), node.keystore.load())
    with elsewhere(node, tmp_path) as again:
        for folder in again.keystore.folders:
            (folder / "configuration_keys.json").write_bytes(data)
        done = service(again).recover((identity,), ACTOR, quiet)
        assert (done.keystore_renewed, done.left) == (True, ())
        assert again.open_configuration_keys(installation(again)).open(key_id)
