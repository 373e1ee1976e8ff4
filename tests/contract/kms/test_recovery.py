"""Recovery recipients on a real node: M1, R13. The outside root is a fake that can be lost; the real ones are in tests/interop.

A recovery works on a copy of the data directory, with nothing else but an identity.
"""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom import bootstrap, recovering
from strongroom.bootstrap import Node
from strongroom.cli import dispatch
from strongroom.coordination.base import Change
from strongroom.crypto import age, shares
from strongroom.crypto.age import Identity
from strongroom.envelope.header import Header, Placement
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
from strongroom.eventlog import events
from strongroom.ids import new_id
from strongroom.keystore.configuration_key import ConfigurationKeys
from strongroom.keystore.replicas import ReplicaCondition
from strongroom.kms.states import MekState
from strongroom.roots import recipient
from strongroom.roots.settings import RootSettings
from strongroom.services import recover, regenerate
from strongroom.services.kms_keeper import ROOTS
from strongroom.services.kms_roots import RootState
from strongroom.services.recover import RecoverService
from strongroom.topology import running
from tests.outside import Outside

HERE = Placement(new_id(), new_id())
BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")
ACTOR = "os:tester"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    real = bootstrap._Roots.build

    def build(roots: bootstrap._Roots, settings: RootSettings) -> object:
        inside = settings.kind in {"age", "shares"}
        return real(roots, settings) if inside else found.provider(settings)

    monkeypatch.setattr(bootstrap._Roots, "build", build)
    return found


@pytest.fixture
def identity() -> Identity:
    return age.new_identity()


def add(node: Node, identity: Identity) -> str:
    return node.roots.add(recipient.settings(identity.recipient), ACTOR)


def service(node: Node) -> RecoverService:
    return recovering.recovery_of(node)


def quiet(_: str) -> None:
    pass


@contextmanager
def elsewhere(node: Node, folder: Path, *, keystore: bool = True) -> Iterator[Node]:
    """A copy of the data directory on a fresh machine, perhaps without its keystore."""
    target = folder / "elsewhere"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(node.paths.root, target)
    again = bootstrap.open_node(str(target))
    if not keystore:
        lose_keystore(again)
    yield again
    again.close()


def lose_keystore(node: Node) -> None:
    for place in node.keystore.folders:
        shutil.rmtree(place)
    shutil.rmtree(node.paths.keystore_password.parent)


def check_recovered(node: Node, file: tuple[Header, object]) -> None:
    header, dek = file
    status = node.kms.prove()
    assert (status.is_ok, status.mode) == (True, "local"), status
    states = [mek.state for mek in status.meks]
    assert states.count(MekState.ENCRYPT_OR_DECRYPT) == 1
    assert states[-1] is MekState.ENCRYPT_OR_DECRYPT
    assert node.keys.open_envelope(header, HERE) == dek
    assert node.configuration.get("redis.password", actor=ACTOR)
    assert {state.condition for state in node.keystore.verify()} == {ReplicaCondition.INTACT}
    assert node.configuration.differing_files() == ()
    assert node.events.verify().breaks == ()
    assert problems(node) == []
    assert node.coordinator.get(recover.JOURNAL) is None


def problems(node: Node) -> list[str]:
    return [state.problem for state in node.roots.list() if state.problem]


def state_of(node: Node, identity: Identity) -> RootState:
    (found,) = [s for s in node.roots.list() if s.root_key_id == identity.recipient]
    return found


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


# ---- the wraps are there, always ---------------------------------------------------------------------


def test_a_recipient_is_wrapped_into_both_hierarchies(node: Node, identity: Identity) -> None:
    """Architecture, section 1: recovery roots are always added to both."""
    wrap_id = add(node, identity)
    state = state_of(node, identity)
    assert (state.wrap_id, state.kind, state.role) == (wrap_id, "age", "recovery")
    assert (state.online, state.problem, state.last_verified) == (False, "", "")
    status = node.kms.prove()
    assert status.is_ok
    assert [root.last_success for root in status.roots if root.kind == "age"] == [""]
    assert node.paths.recovery_records.exists()
    assert event_ids(node).count(events.ROOT_ADDED) == 1
    assert events.KEY_MOVED in event_ids(node)
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
        lambda: node.kms.rotate(ACTOR),
        lambda: node.roots.set_mode(BAO, ACTOR),
        lambda: node.regenerate.run(ACTOR, quiet),
        lambda: node.roots.set_mode(None, ACTOR),
    ]
    for step in steps:
        step()
        assert node.kms.prove().is_ok
        assert problems(node) == []
        assert state_of(node, identity).last_verified == verified
        drilled = service(node).drill((identity,), ACTOR, note=False)
        assert drilled.wrap_id not in seen
        seen.add(drilled.wrap_id)
        assert drilled.configuration_keys == tuple(
            sorted(record.id for record in node.open_configuration_keys(installation(node)).load())
        )


def installation(node: Node) -> str:
    return node.configuration.document().installation_id


def test_keys_left_behind_come_back_by_the_identity(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path
) -> None:
    """Q-05: the new store has the recipient too, and `recover` takes the closed keys back."""
    node.roots.set_mode(BAO, ACTOR)
    add(node, identity)
    file = node.keys.new_envelope(HERE)
    outside.failure = RootUnavailableError("gone")
    node.keys.forget()
    node.roots.set_mode(None, ACTOR, abandon=True)
    with pytest.raises(KeyNotFoundError):
        node.keys.open_envelope(file[0], HERE)
    with elsewhere(node, tmp_path, keystore=False) as again:
        done = service(again).recover((identity,), ACTOR, quiet)
        assert len(done.adopted) == 2
        check_recovered(again, file)


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
    node.kms.rotate(ACTOR)
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
    assert node.kms.prove().is_ok
    assert len(node.roots.list()) == 1
    assert node.keeper.settings() == ()


# ---- recovery ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keystore", [True, False], ids=["keystore there", "keystore lost"])
@pytest.mark.parametrize("mode", [BAO, None], ids=["external", "local"])
def test_a_copy_of_the_data_directory_and_an_identity_are_enough(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path, mode: RootSettings | None, keystore: bool
) -> None:  # fmt: skip
    """Must show 6: all providers gone, and once more with the keystore deleted."""
    if mode:
        node.roots.set_mode(mode, ACTOR)
    add(node, identity)
    file = node.keys.new_envelope(HERE)
    outside.failure = RootUnavailableError("gone for ever")
    with elsewhere(node, tmp_path, keystore=keystore) as again:
        assert service(again).plan((identity,)) != () or (mode is None and keystore)
        done = service(again).recover((identity,), ACTOR, quiet)
        assert done.done is not (mode is None and keystore)
        assert done.keystore_renewed is not keystore
        check_recovered(again, file)
        assert [root.kind for root in again.keeper.settings()] == ["age"]
        service(again).drill((identity,), ACTOR)
        if done.done:
            assert event_ids(again).count(events.NODE_RECOVERED) == 1
            assert events.RMK_UNWRAPPED in event_ids(again)


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
    node.roots.set_mode(BAO, ACTOR)
    node.roots.add(GCP, ACTOR)
    third = RootSettings("gcp", "projects/p/cryptoKeys/gone")
    node.roots.add(third, ACTOR)
    add(node, identity)
    file = node.keys.new_envelope(HERE)
    real, said = outside.provider, list[str]()

    def provider(settings: RootSettings) -> object:
        if settings != GCP:
            raise RootUnavailableError("gone")
        return real(settings)

    monkeypatch.setattr(outside, "provider", provider)
    with elsewhere(node, tmp_path) as again:
        service(again).recover((identity,), ACTOR, said.append)
        check_recovered(again, file)
        assert [state.kind for state in again.roots.list()] == ["local", "gcp", "age"]
        assert any("dropping the gcp root projects/p/cryptoKeys/gone" in line for line in said)


def test_the_drill_changes_nothing_but_its_date(node: Node, identity: Identity) -> None:
    add(node, identity)
    before = node.kms.status()
    drilled = service(node).drill((identity,), ACTOR)
    after = node.kms.prove()
    assert (drilled.rmk_id, drilled.meks, drilled.not_noted) == (before.rmk_id, 1, "")
    assert after.rmk_id == before.rmk_id
    assert after.epoch == before.epoch + 1
    assert state_of(node, identity).last_verified
    assert events.RECOVERY_DRILLED in event_ids(node)


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
        assert again.coordinator.get(recover.JOURNAL) is None


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
    keys.restore((record._replace(wraps=tuple(damaged)),))
    with pytest.raises(KeyNotFoundError, match="is not wrapped for the recovery recipient"):
        service(node).drill((identity,), ACTOR)


def test_the_second_copy_makes_up_for_damaged_records(
    node: Node, identity: Identity, tmp_path: Path
) -> None:
    add(node, identity)
    file = node.keys.new_envelope(HERE)
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
    file = node.keys.new_envelope(HERE)
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
    file = node.keys.new_envelope(HERE)
    with elsewhere(node, tmp_path, keystore=False) as again:
        again.coordinator.put({regenerate.JOURNAL: Change(b"{}", 0)})
        service(again).recover((identity,), ACTOR, quiet)
        check_recovered(again, file)
        again.regenerate.run(ACTOR, quiet)
        check_recovered(again, file)
        service(again).drill((identity,), ACTOR)


class CutError(Exception):
    """As if the process had died."""


@pytest.mark.parametrize("step", ["_renew_keystore", "_replace_store", "_finish", "_rewrap_keys"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_was_cut_is_taken_up_again(
    node: Node, identity: Identity, tmp_path: Path, step: str, moment: str
) -> None:
    """docs/format/recovery.md 6.2; the kills at every call are in tests/torture."""
    add(node, identity)
    file = node.keys.new_envelope(HERE)
    real = getattr(RecoverService, step)

    def cut(*words: object) -> None:
        if moment == "after":
            real(*words)
        raise CutError

    with elsewhere(node, tmp_path, keystore=False) as again:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RecoverService, step, cut)
            with pytest.raises(CutError):
                service(again).recover((identity,), ACTOR, quiet)
        assert (again.coordinator.get(recover.JOURNAL) is None) is (
            (step, moment) == ("_finish", "after")
        )
        later = bootstrap.open_node(str(again.paths.root))
        done = service(later).recover((identity,), ACTOR, quiet)
        check_recovered(later, file)
        assert done.done is not ((step, moment) == ("_finish", "after"))
        assert len(later.kms.status().meks) == 2
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
    for raw in (b"{", b'{"keystore":true,"rmk_id":"x","v":2}', b"[]"):
        found = node.coordinator.get(recover.JOURNAL)
        node.coordinator.put({recover.JOURNAL: Change(raw, found.version if found else 0)})
        with pytest.raises(FormatError, match="journal of the recovery"):
            service(node).recover((identity,), ACTOR, quiet)


def test_a_rolled_back_store_is_not_recovered_silently(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path
) -> None:
    """R19: recovery is no way around the epoch."""
    node.roots.set_mode(BAO, ACTOR)
    add(node, identity)
    with elsewhere(node, tmp_path) as again:
        database = again.paths.repository
        again.close()
        node.kms.rotate(ACTOR)
        node.repository.close()
        for path in database.parent.glob("repository.db*"):
            path.unlink()
        for path in node.paths.repository.parent.glob("repository.db*"):
            shutil.copy(path, database.parent)
        outside.failure = RootUnavailableError("gone")
        later = bootstrap.open_node(str(again.paths.root))
        with pytest.raises(IntegrityError, match="rolled back") as caught:
            service(later).recover((identity,), ACTOR, quiet)
        later.kms.accept_epoch(int(caught.value.hint.split()[-1].rstrip("'")), ACTOR)
        assert service(later).recover((identity,), ACTOR, quiet).done
        later.close()


def test_a_node_that_is_served_is_left_alone(node: Node, identity: Identity) -> None:
    with running.sole_server(node.paths):
        with pytest.raises(StateError, match="is served") as caught, recovering.alone(node):
            raise AssertionError
        assert "stop 'strongroom serve'" in caught.value.hint
    with recovering.alone(node):
        pass
    with pytest.raises(ConflictError, match="of the work itself"), recovering.alone(node):
        raise ConflictError("of the work itself")


# ---- the commands ------------------------------------------------------------------------------------


@pytest.fixture
def run(node_dir: Path) -> Callable[..., int]:
    def command(*words: str | Path, home: Path = node_dir) -> int:
        program = "tsm" if words[0] == "security" else "strongroom"
        return dispatch.main(program, [*map(str, words), "--data-dir", str(home)])

    return command


def _kit(run: Callable[..., int], folder: Path, threshold: int = 2, count: int = 3) -> list[Path]:
    words = ["security", "kms", "roots", "add", "shares", "--threshold", threshold]
    assert run(*words, "--shares", count, "--output", folder, "--label", "the board") == 0
    return sorted(folder.iterdir())


def test_a_kit_is_made_drilled_and_brings_the_node_back(
    run: Callable[..., int], node_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _kit(run, tmp_path / "kit")
    assert [path.name for path in files] == [f"share-{number}-of-3.txt" for number in (1, 2, 3)]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "kit").stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr()
    assert "Any 2 of the 3 shares" in told.out
    assert shares.words_of(files[0].read_text()).split()[10] not in told.out.split()
    assert run("security", "kms", "roots", "list", "--json") == 0
    _, kit = json.loads(capsys.readouterr().out)
    assert (kit["kind"], kit["online"], kit["last_verified"]) == ("shares", False, "")
    assert kit["id"] == kit["wrap_id"]
    assert kit["describe"]["label"] == "the board"
    assert kit["describe"]["threshold"] == "2"
    assert run("recover", "--drill", "--share", files[1]) == 0
    alone = capsys.readouterr().out
    assert "share 2 of 3" in alone
    assert f"of the kit {kit['root_key_id']}" in alone
    assert run("recover", "--drill", "--share", files[1], "--share", files[0]) == 0
    assert "opened" in capsys.readouterr().out
    assert run("recover", "--drill", "--json", "--share", files[2], "--share", files[0]) == 0
    assert json.loads(capsys.readouterr().out)["recipient"] == kit["root_key_id"]
    assert run("recover", "--share", files[1]) == 2
    assert "1 more is missing" in capsys.readouterr().err
    lose_keystore(bootstrap.open_node(str(node_dir)))
    given = ["recover", "--share", files[2], "--share", files[0]]
    assert run("recover", "--drill", "--share", files[1]) == 0
    assert "cannot be told" in capsys.readouterr().out
    assert run(*given, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("1. make a new keystore")
    assert run(*given) == 0
    assert "A new keystore was made." in capsys.readouterr().out
    assert run("security", "kms", "status") == 0
    assert run(*given) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert run(*given, "--dry-run") == 0
    assert run(*given, "--json") == 0
    assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))["done"] is False


def test_shares_that_cannot_be_are_named(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _kit(run, tmp_path / "kit")
    others = _kit(run, tmp_path / "other")
    foreign = tmp_path / "foreign"
    foreign.write_text(shares.split(age.new_identity(), 2, 2)[0])
    misread = tmp_path / "misread"
    misread.write_text(files[0].read_text().replace(" 1. ", " 1. academic "))
    picture = tmp_path / "picture"
    picture.write_bytes(b"\xff\xfe")
    capsys.readouterr()
    assert run("recover", "--share", files[0], "--share", others[1]) == 2
    assert "is of set" in capsys.readouterr().err
    assert run("recover", "--drill", "--share", files[0], "--share", others[1]) == 2
    assert run("recover", "--drill", "--share", foreign) == 1
    assert "of no kit of this node" in capsys.readouterr().out
    assert run("recover", "--drill", "--share", misread) == 2
    assert f"{misread}: the share is not intact" in capsys.readouterr().err
    assert run("recover", "--share", picture) == 2
    assert "not text" in capsys.readouterr().err


def test_an_age_identity_is_given_by_file(
    run: Callable[..., int], tmp_path: Path, identity: Identity, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "identity"
    file.write_bytes(b"# created: today\n" + identity.text.reveal() + b"\n")
    add_it = ["security", "kms", "roots", "add", "age", "--recipient", identity.recipient]
    assert run(*add_it, "--label", "the safe") == 0
    assert run(*add_it) == 7
    assert run("recover", "--drill", "--identity", file) == 0
    assert identity.recipient in capsys.readouterr().out
    assert run("security", "kms", "roots", "repair") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert run("recover", "--accept-epoch", "1", "--drill") == 2
    assert run("security", "kms", "set-mode", "local") == 0


def test_closed_keys_that_come_back_are_told(
    run: Callable[..., int], node: Node, outside: Outside, tmp_path: Path, identity: Identity,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "identity"
    file.write_bytes(identity.text.reveal())
    node.roots.set_mode(BAO, ACTOR)
    add(node, identity)
    outside.failure = RootUnavailableError("gone")
    node.keys.forget()
    node.roots.set_mode(None, ACTOR, abandon=True)
    lose_keystore(node)
    assert run("recover", "--identity", file) == 0
    assert capsys.readouterr().out.count("available again: ") == 2
    lose_keystore(node)
    assert run("recover", "--identity", file, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["done"], done["keystore_renewed"], done["adopted"]) == (True, True, [])
    epoch = bootstrap.open_node(str(node.paths.root)).kms.status().epoch
    assert run("recover", "--accept-epoch", epoch) == 0


def test_drift_is_repaired_by_command(
    run: Callable[..., int], node_dir: Path, identity: Identity, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("security", "kms", "roots", "add", "age", "--recipient", identity.recipient) == 0
    (node_dir / "tabsvc" / "recovery" / "configuration_keys.json").unlink()
    assert run("security", "kms", "roots", "verify") == 1
    assert "kms roots repair" in capsys.readouterr().err
    assert run("security", "kms", "roots", "repair") == 0
    assert "repaired: " in capsys.readouterr().out
    assert run("security", "kms", "roots", "verify") == 0


def test_a_kit_is_made_with_the_node(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """M1: a printed kit made at initialisation."""
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    new = ["init", "--admin", "admin", "--admin-password-file", password]
    home = tmp_path / "new"
    assert run(*new, "--recovery-shares", "2/2", home=home) == 2
    assert run(*new, "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert run(*new, "--recovery-shares", "two", "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert run(*new, "--recovery-shares", "3/2", "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert not home.exists()
    made = [*new, "--recovery-shares", "2/2", "--recovery-dir", tmp_path / "kit"]
    assert run(*made, home=home) == 0
    given = [word for path in (tmp_path / "kit").iterdir() for word in ("--share", path)]
    assert run("recover", "--drill", *given, home=home) == 0


def test_a_kit_goes_into_a_new_or_empty_folder_only(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    full, link, file = tmp_path / "full", tmp_path / "link", tmp_path / "file"
    full.mkdir()
    (full / "something").touch()
    link.symlink_to(tmp_path / "target", target_is_directory=True)
    (tmp_path / "target").mkdir()
    file.touch()
    named = tmp_path / ("x" * 300)
    for folder, code in ((full, 6), (link, 2), (file, 2), (file / "below", 2), (named, 41)):
        assert run(*words, "--output", folder) == code, folder
    assert list((tmp_path / "target").iterdir()) == []
    (full / "something").unlink()
    assert run(*words, "--output", full) == 0


def test_shares_by_which_nothing_is_wrapped_are_removed(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(ConfigurationKeys, "set_recipients", fail)
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    assert run(*words, "--output", tmp_path / "kit") == 41
    assert list((tmp_path / "kit").iterdir()) == []


def test_shares_that_are_relied_on_stay_though_the_command_fails(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the server may be lost after the commit."""
    real = bootstrap.Node.roots.func  # type: ignore[attr-defined]  # the property's function

    def cut(node: Node) -> object:
        service = real(node)
        add_root = service.add

        def add_and_fail(*words: object) -> None:
            add_root(*words)
            raise StateError("the server went away")

        service.add = add_and_fail
        return service

    monkeypatch.setattr(bootstrap.Node, "roots", property(cut))
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    assert run(*words, "--output", tmp_path / "kit") == 7
    (share,) = (tmp_path / "kit").iterdir()
    monkeypatch.undo()
    assert run("recover", "--drill", "--share", share) == 0
