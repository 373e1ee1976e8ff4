"""A move of files and a backup that pins them exclude each other, whichever comes first (A-24; object-store.md §6.3, §8.2)."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.errors import ConflictError, StateError
from strongroom.extracts import place
from strongroom.extracts.place import Place
from strongroom.ids import new_id
from strongroom.node import backup, file_moves, opening
from strongroom.node.opening import Node
from strongroom.objectstore import lasting
from strongroom.objectstore.base import Bucket
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import BackupMade, BackupRequest
from strongroom.services.content import move_files
from tests.contract.objectstore.test_move import all_is_well, filled, opened, root
from tests.contract.objectstore.test_node import ACTOR, move, silent
from tests.support import backups

DAY = timedelta(days=1)
__all__ = ["filled", "root"]


@pytest.fixture
def there(root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the bucket, in which the files lie."""
    move(root, bucket.address.text)
    monkeypatch.setattr(move_files, "_LOCK_WAIT_S", 0)
    return bucket.address.text


@pytest.fixture
def node(root: Path, there: str) -> Iterator[Node]:
    """A node that has opened its store already, as a command has that is slow to begin."""
    with closing(opening.open_node(str(root))) as found:
        assert found.files_place == there
        yield found


def pin(bucket: Bucket, days: int = 1) -> str:
    lasting.write(bucket, pin_id := new_id(), file="b.tsbak", until=bucket.now() + days * DAY)
    return pin_id


def made(
    node: Node, path: Path, stage: Callable[[str, int], None] = lambda _name, _size: None
) -> BackupMade:
    request = BackupRequest(path, ACTOR, pinned_until=node.clock.now() + DAY)
    keys = BackupKeys(node.kms_store, node.assets, node.identity)
    return backup.backups(node, keys).make(request, stage)


@pytest.mark.parametrize("behind", [False, True], ids=["before it says so", "when it has said so"])
def test_a_pin_that_comes_while_a_move_begins(
    root: Path, there: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    """After the first look for pins: the second one sees it, and the store in force is as before."""

    def late(*_: object) -> None:
        pin(bucket)

    if behind:
        genuine = move_files.MoveService._put

        def put(service: move_files.MoveService, new: Place) -> None:
            genuine(service, new)
            if new.coming:
                late()

        monkeypatch.setattr(move_files.MoveService, "_put", put)
    else:
        monkeypatch.setattr(move_files.MoveService, "_check_target", late)
    with pytest.raises(StateError, match=r"b\.tsbak until"):
        move(root, place.DISK)
    monkeypatch.undo()
    with opened(root) as found:
        assert file_moves.present(found) == Place(there)
    all_is_well(root)


def test_a_pin_that_comes_before_the_old_store_is_emptied(
    root: Path, there: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new store is in force, and the old one stays whole until the pin is no more."""
    copied, pins = move_files._copy_one, list[str]()

    def late(*told: object) -> None:
        copied(*told)  # type: ignore[arg-type]
        pins.extend([] if pins else [pin(bucket)])

    monkeypatch.setattr(move_files, "_copy_one", late)
    with pytest.raises(StateError, match=r"b\.tsbak until"):
        move(root, place.DISK)
    monkeypatch.undo()
    with opened(root) as found:
        assert file_moves.present(found) == Place(place.DISK, leaving=there)
        assert len(list(found.file_store(there).list())) == 3
        assert [one.address for one in backup.pinned_stores(found)] == [there]
        [kept] = backup.pinned_stores(found)
        kept.release(pins[0])
    assert move(root, place.DISK).removed == 3
    all_is_well(root)


def test_a_pin_whose_time_is_over_holds_no_move(root: Path, there: str, bucket: Bucket) -> None:
    """Nobody sweeps a store that is not in force, so such a pin would stay for ever."""
    assert there
    over = pin(bucket, -1)
    assert [(one.id, one.in_force) for one in lasting.listed(bucket)] == [(over, False)]
    assert move(root, place.DISK).removed == 3
    assert lasting.listed(bucket) == []
    pin(bucket, -1)
    move(root, bucket.address.text)
    all_is_well(root)


def test_a_store_with_a_pin_refuses_to_be_emptied(root: Path, there: str, bucket: Bucket) -> None:
    held = pin(bucket)
    with opened(root) as found:
        store = found.object_store(there)
        with pytest.raises(StateError, match="1 backup"):
            store.empty()
        assert len(list(store.list())) == 3
        store.release(held)
        assert store.empty() == 3


@pytest.mark.parametrize("left", ["coming", "moved"])
def test_a_backup_that_had_opened_the_store_before_a_move(
    root: Path, node: Node, there: str, bucket: Bucket, tmp_path: Path, left: str
) -> None:
    """The backup fails, and says why; nothing is pinned in a store that a move empties."""
    if left == "moved":
        move(root, place.DISK)
    else:
        version = place.read(node.coordinator)[1]
        coming = Place(there, coming=place.DISK).serialize()
        node.coordinator.put({place.ENTRY: Change(coming, version)})
    path = tmp_path / "late.tsbak"
    with pytest.raises(StateError, match="moved"):
        made(node, path)
    with pytest.raises(StateError, match="moved"):
        backups.make(node, path)
    assert not path.exists()
    assert lasting.listed(bucket) == []
    assert not node.files.is_keeping


def test_a_move_while_a_backup_is_made(root: Path, node: Node, there: str, tmp_path: Path) -> None:
    refused = list[str]()

    def stage(name: str, _: int) -> None:
        if name == "backup":
            with pytest.raises(ConflictError) as caught:
                move(root, place.DISK)
            refused.append(caught.value.message)

    assert made(node, tmp_path / "b.tsbak", stage).pinned == 2
    assert len(refused) == 1
    with pytest.raises(StateError, match=r"b\.tsbak until"):
        move(root, place.DISK)
    assert file_moves.present(node) == Place(there)


def test_a_backup_while_a_move_is_under_way(
    root: Path, node: Node, bucket: Bucket, tmp_path: Path
) -> None:
    refused = list[str]()

    def begin(_: int) -> Callable[[int], None]:
        with pytest.raises(ConflictError) as caught:
            made(node, tmp_path / "b.tsbak")
        refused.append(caught.value.message)
        return silent(0)

    with opened(root) as found, file_moves.alone(found):
        file_moves.moves(found).move(ACTOR, place.DISK, begin)
    assert len(refused) == 1
    assert lasting.listed(bucket) == []
    all_is_well(root)
