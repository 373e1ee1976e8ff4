"""A root is its key, not the way to it: what moved opens again, proved by unwrapping (findings K3)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.backup import opening
from strongroom.backup.open_backup import OpenBackup
from strongroom.errors import RootError, StateError, StrongroomError
from strongroom.eventlog.events import key_events
from strongroom.filestore.blockfile import OpenedFile
from strongroom.node import backup
from strongroom.node import opening as bootstrap
from strongroom.node.opening import Node
from strongroom.roots import registry
from tests.contract.roots.harness import RootLab
from tests.contract.roots.key_moves import MOVES, Move, respelled
from tests.support import backups

ACTOR = "os:tester"
every_move = pytest.mark.parametrize("lab", list(MOVES), indirect=True)


@pytest.fixture
def move(
    lab: RootLab,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Move]:
    name = request.node.callspec.params["lab"]
    with MOVES[name](lab, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def again(node: Node) -> Iterator[Callable[[], Node]]:
    """The same node, as another process opens it: no key is in its memory."""
    opened: list[Node] = []

    def reopen() -> Node:
        opened.append(bootstrap.open_node(str(node.paths.root)))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


def by_roots_alone(node: Node, path: Path, *, use_backup_roots: bool = False) -> str:
    """What opens a backup, if no MEK of the node does."""
    means = backup.means(node, backups.NOTHING, None, use_backup_roots=use_backup_roots)
    with OpenedFile(path) as file:
        return opening.open_keys(OpenBackup.check(file), replace(means, own_ring=None)).by


def test_every_kind_that_is_asked_moves() -> None:
    kinds = {name.partition("-")[0] for name in MOVES}
    assert kinds == set(registry.MODES) - {registry.LOCAL}


@every_move
def test_a_key_that_moved_opens_by_its_new_way(
    move: Move, node: Node, again: Callable[[], Node], tmp_path: Path
) -> None:
    """`--abandon-external-keys` was all that was left."""
    node.modes.set_mode(move.before, ACTOR)
    row = backups.publish(node, "a", b"content")
    old = tmp_path / "old.tsbak"
    backups.make(node, old)
    rmk_id = node.kms_store.status().rmk_id
    move.leave()

    reopened = again()
    assert not reopened.kms_store.status().is_ok
    tried = reopened.modes.set_mode(move.after, ACTOR, dry_run=True)
    assert not tried.done
    assert "keep the RMK" in tried.plan[0]
    assert move.before.root_key_id in tried.plan[0]
    done = reopened.modes.set_mode(move.after, ACTOR)
    assert (done.done, done.root_key_id) == (True, move.after.root_key_id)

    reopened = again()
    status = reopened.kms_store.status()
    assert (status.is_ok, status.rmk_id) == (True, rmk_id), status.problems
    assert status.root_key_id == move.after.root_key_id
    assert backups.contents(reopened)[row.name] == b"content"
    told = [one for one in reopened.events.read() if key_events.ROOT_REACHED_ANEW in str(one)]
    assert len(told) == 1
    assert move.after.root_key_id in str(told[0])
    assert not reopened.modes.set_mode(move.after, ACTOR).done
    assert len(reopened.kms_store.root_settings()) == 1
    assert move.before.root_key_id in by_roots_alone(reopened, old)

    reopened.meks.rotate(ACTOR)
    assert again().kms_store.status().is_ok
    assert by_roots_alone(reopened, old)
    new = tmp_path / "new.tsbak"
    backups.make(reopened, new)
    assert by_roots_alone(again(), new)


@every_move
def test_an_older_backup_opens_where_only_the_new_way_was_ever_known(
    move: Move, node: Node, pristine_node: Path, tmp_path: Path
) -> None:
    import shutil

    node.modes.set_mode(move.before, ACTOR)
    backups.publish(node, "a", b"content")
    old = tmp_path / "old.tsbak"
    backups.make(node, old)
    move.leave()
    elsewhere = Path(shutil.copytree(pristine_node, tmp_path / "elsewhere"))
    other = bootstrap.open_node(str(elsewhere))
    try:
        with pytest.raises(StrongroomError):
            by_roots_alone(other, old)
        other.modes.set_mode(move.after, ACTOR)
        for use_backup_roots in (False, True):
            by = by_roots_alone(other, old, use_backup_roots=use_backup_roots)
            assert move.after.root_key_id in by
    finally:
        other.close()


@every_move
def test_another_key_is_not_taken_for_it(move: Move, node: Node, again: Callable[[], Node]) -> None:
    """What does not unwrap is a move, and that needs the present keys."""
    assert move.other is not None
    node.modes.set_mode(move.before, ACTOR)
    move.leave()
    reopened = again()
    with pytest.raises(RootError, match="present keys cannot be opened"):
        reopened.modes.set_mode(move.other, ACTOR)
    assert [one.root_key_id for one in reopened.kms_store.root_settings()] == [
        move.before.root_key_id
    ]


@every_move
def test_a_name_alone_does_not_make_another_key_the_same(move: Move, node: Node) -> None:
    """An address is used again: real roots refuse to unwrap, and it is a move to a new RMK like any other."""
    assert move.other is not None
    node.modes.set_mode(move.before, ACTOR)
    rmk_id = node.kms_store.status().rmk_id
    move.leave()
    named = move.other.also_as([move.before.root_key_id])
    assert node.modes.set_mode(named, ACTOR).done
    status = node.kms_store.status()
    assert status.is_ok, status.problems
    assert status.rmk_id != rmk_id
    assert [one.root_key_id for one in node.kms_store.root_settings()] == [named.root_key_id]


@every_move
def test_a_recovery_root_that_moved_is_reached_anew(
    move: Move, node: Node, again: Callable[[], Node]
) -> None:
    wrap_id = node.roots.add(move.before, ACTOR)
    assert node.roots.reach_anew(move.after, ACTOR) == ""  # the present way works
    move.leave()
    reopened = again()
    assert reopened.roots.reach_anew(move.other or move.after, ACTOR) == ""
    assert reopened.roots.reach_anew(move.after, ACTOR) == wrap_id
    assert [state.problem for state in again().roots.list()] == ["", ""]
    reopened.meks.rotate(ACTOR)
    assert again().kms_store.status().is_ok


@every_move
def test_the_mode_moves_to_the_key_of_a_recovery_root_by_its_new_way(
    move: Move, node: Node, again: Callable[[], Node]
) -> None:
    """One key wraps the RMK once, by whatever name."""
    node.roots.add(move.before, ACTOR)
    move.leave()
    reopened = again()
    reopened.modes.set_mode(move.after, ACTOR)
    (state,) = again().roots.list()
    assert (state.kind, state.problem) == (move.after.kind, "")
    with pytest.raises(StateError):
        reopened.roots.add(move.after, ACTOR)


@pytest.mark.parametrize("lab", ["openbao"], indirect=True)
def test_there_and_back_again_leaves_one_way(
    move: Move, node: Node, again: Callable[[], Node]
) -> None:
    node.modes.set_mode(move.before, ACTOR)
    for settings in (move.after, move.before, respelled(move.after), move.before):
        assert again().modes.set_mode(settings, ACTOR).done
        (kept,) = again().kms_store.root_settings()
        assert kept.root_key_id == settings.root_key_id
        assert again().kms_store.status().is_ok
