"""A move of files is old or new, whenever it ends, and can be gone on with or undone (issue 12 A; object-store.md §8)."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.extracts import place
from strongroom.extracts.place import Place
from strongroom.filestore.base import FileStore
from strongroom.node import file_moves, opening
from strongroom.node.opening import Node
from strongroom.objectstore.base import Bucket
from strongroom.services.content import move_files
from tests.conftest import Torture
from tests.contract.objectstore.test_node import ACTOR, move, silent
from tests.support import backups
from tests.support.object_stores import Between

WANTED: Mapping[str, bytes] = {"small": b"x", "plain": b"p" * 9000, "large": bytes(300_000)}


@pytest.fixture(scope="module")
def filled(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with content on its disk; not to be changed."""
    path = Path(shutil.copytree(pristine_node, tmp_path_factory.mktemp("filled") / "node"))
    with closing(opening.open_node(str(path))) as node:
        for name, data in WANTED.items():
            backups.publish(node, name, data, encrypted=name != "plain")
    return path


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "node"))


@contextmanager
def opened(root: Path) -> Iterator[Node]:
    with closing(opening.open_node(str(root))) as node:
        yield node


def _requests(root: Path, there: str, between: Between, here: str = place.DISK) -> int:
    """How many requests a move needs; the files are where they were afterwards."""
    between.asked.clear()
    move(root, there)
    count = len(between.asked)
    move(root, here)
    return count


def all_is_well(root: Path) -> None:
    with opened(root) as node:
        assert backups.contents(node) == WANTED
        assert node.stored_files.recover() == 0


@pytest.mark.torture
@pytest.mark.parametrize("undone", [False, True], ids=["gone on with", "undone"])
@pytest.mark.parametrize("back", [False, True], ids=["to the store", "back to the disk"])
def test_a_move_that_ends_anywhere(
    root: Path, through: Bucket, between: Between, torture: Torture, undone: bool, back: bool
) -> None:
    """The store dies after each number of requests; the old place is in force, or the new one, and the next run ends well."""
    target = through.address.text
    there, here = (place.DISK, target) if back else (target, place.DISK)
    if back:
        move(root, target)
    count = _requests(root, there, between, here)
    few = replace(torture, size=3)
    for point in few.choose(range(count)):
        between.dies_after = point
        with pytest.raises(StrongroomError):
            move(root, there)
        between.dies_after = None
        with opened(root) as node:
            left = file_moves.present(node)
            assert left in {Place(here), Place(here, coming=there), Place(there, leaving=here)}
        goal = left.address if undone else there
        move(root, goal)
        with opened(root) as node:
            assert file_moves.present(node) == Place(goal)
        all_is_well(root)
        if goal != here:
            move(root, here)
    if here == place.DISK:
        assert not list(through.list("gone"))


def test_what_an_interrupted_run_copied_is_not_copied_again(
    root: Path, through: Bucket, between: Between
) -> None:
    target = through.address.text
    between.dies_after = _requests(root, target, between) * 2 // 3
    with pytest.raises(StorageError):
        move(root, target)
    between.dies_after = None
    done = move(root, target)
    assert done.present
    assert done.present + done.files == len(WANTED)
    all_is_well(root)


@pytest.mark.parametrize("harm", ["body", "head"])
def test_a_bad_copy_of_an_interrupted_run_is_made_anew(
    root: Path, through: Bucket, between: Between, bucket: Bucket, harm: str
) -> None:
    """Its body is gone, or its head is another: what is only there by name is not relied on."""
    target = through.address.text
    between.dies_after = _requests(root, target, between) * 2 // 3
    with pytest.raises(StorageError):
        move(root, target)
    between.dies_after = None
    for one in bucket.list(harm):
        if harm == "body":
            bucket.delete(one.name)
        else:
            data = bucket.read(one.name).data
            bucket.write(one.name, data[:-1] + bytes([data[-1] ^ 1]))
    move(root, target)
    all_is_well(root)


def test_files_of_others_are_never_taken_over(root: Path, bucket: Bucket) -> None:
    with opened(root) as node:
        other = node.file_store(bucket.address.text).put("theirs")
        other.write_at(0, b"x")
        other.commit()
    with pytest.raises(ConflictError, match="1 file that"):
        move(root, bucket.address.text)
    with opened(root) as node:
        assert file_moves.present(node) == Place()
        assert list(node.file_store(bucket.address.text).list()) == ["theirs"]


def test_a_file_that_rows_name_must_be_here(root: Path, bucket: Bucket) -> None:
    with opened(root) as node:
        key = next(iter(node.files.list()))
        node.files.delete(key)
    with pytest.raises(StateError, match="not in the store in force") as caught:
        move(root, bucket.address.text)
    assert key in caught.value.message


def test_no_other_node_may_be_alive(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(root) as node:
        monkeypatch.setattr(node.coordinator, "members", lambda: ["node1", "node2", "node3"])
        with pytest.raises(StateError, match="node2, node3 are alive"):
            file_moves.moves(node).move(ACTOR, bucket.address.text, silent)


def test_the_next_move_waits_for_the_rest_of_the_last(
    root: Path, through: Bucket, between: Between, tmp_path: Path
) -> None:
    """Files are left on the store that was left; no third store comes in between."""
    target = through.address.text
    move(root, target)
    with opened(root) as node:
        present, version = place.read(node.coordinator)
        left = present._replace(leaving=place.DISK).serialize()
        node.coordinator.put({place.ENTRY: Change(left, version)})
    with pytest.raises(StateError, match="files are left in disk"):
        move(root, place.DISK)
    assert move(root, target).removed == 0
    move(root, place.DISK)
    all_is_well(root)


def test_a_copy_that_is_not_what_was_sent_is_found(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = move_files._copy_one

    def damaging(file: object, target: FileStore, key: str, report: object) -> None:
        def open_damaged(wanted: str) -> object:
            found = genuine(wanted)
            read = found.read_into_at

            def read_into_at(offset: int, buffer: memoryview) -> int:
                count = read(offset, buffer)
                buffer[0] ^= 1
                return count

            found.read_into_at = read_into_at  # type: ignore[method-assign, assignment]
            return found

        genuine = target.open
        monkeypatch.setattr(target, "open", open_damaged)
        copied(file, target, key, report)  # type: ignore[arg-type]

    monkeypatch.setattr(move_files, "_copy_one", damaging)
    with pytest.raises(IntegrityError, match="not what was sent"):
        move(root, bucket.address.text)
    monkeypatch.undo()
    with opened(root) as node:
        assert file_moves.present(node).address == place.DISK
    move(root, place.DISK)
    all_is_well(root)


def test_the_commands(
    root: Path,
    through: Bucket,
    between: Between,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    from strongroom.cli import dispatch

    target = through.address.text

    def run(*words: str) -> tuple[int, str, str]:
        code = dispatch.main("strongroom", ["--data-dir", str(root), "extracts", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    assert run("store") == (0, "disk\n", "")
    code, out, err = run("move", "--to", target, "--dry-run")
    assert (code, "would be copied" in out, "nothing was changed" in err) == (0, True, True)
    assert json.loads(run("store", "--json")[1]) == Place()._asdict()
    between.dies_after = _requests(root, target, between) * 2 // 3
    code, out, err = run("move", "--to", target)
    assert (code, "does not let us" in err) == (StorageError.exit_code, True)
    between.dies_after = None
    code, out, err = run("store")
    assert (code, out, "are being moved" in err) == (0, "disk\n", True)
    code, out, err = run("list", "--site", "Default")
    assert (code, "being moved" in err) == (StateError.exit_code, True)
    code, out, _ = run("move", "--to", target, "--json")
    found = json.loads(out)
    assert (code, found["after"], found["files"] + found["present"]) == (0, target, 3)
    code, out, _ = run("list", "--site", "Default", "--json")
    assert all(one["path"].startswith(target.partition("//")[0]) for one in json.loads(out))
    code, out, _ = run("move", "--to", "disk", "--bytes")
    assert (code, out.splitlines()[-1]) == (0, "Extracts lie in: disk")
    assert run("move", "--to", "ftp://bucket")[0] == 2
    all_is_well(root)
