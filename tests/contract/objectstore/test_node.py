"""A node whose extracts lie in an object store does all that it does on a disk (C-01, P4, A-25; issue 12 A)."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.doors.http import upkeep
from strongroom.envelope.header import Placement
from strongroom.errors import StateError
from strongroom.eventlog.events import extract_events
from strongroom.extracts import place
from strongroom.ids import new_id
from strongroom.node import backup, file_moves, opening
from strongroom.node.opening import Node
from strongroom.objectstore.base import Bucket
from strongroom.repository.rows import SiteMode
from strongroom.services.content.move_files import Moved
from tests.support import backups
from tests.support.object_stores import Between
from tests.support.web_client import HYPER, serve

ACTOR = "os:test"


def silent(_: int) -> Callable[[int], None]:
    """Progress that nobody sees."""
    return lambda _: None


@pytest.fixture
def root(node_dir: Path) -> Path:
    return node_dir


@pytest.fixture
def target(bucket: Bucket) -> str:
    return bucket.address.text


@pytest.fixture
def node(root: Path) -> Iterator[Node]:
    with closing(opening.open_node(str(root))) as opened:
        yield opened


def move(root: Path, target: str) -> Moved:
    with closing(opening.open_node(str(root))) as node, file_moves.alone(node):
        return file_moves.moves(node).move(ACTOR, target, silent)


def test_a_served_node_stores_and_reads_there(root: Path, target: str, bucket: Bucket) -> None:
    """Publish, download, a range, rewrap and re-encryption by jobs, replace, delete: no file comes to the disk."""
    move(root, target)
    with serve(root) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        one = client.publish("one").find("datasource").get("id", "")
        assert client.download(one).body == HYPER
        part = client.download(one, Range="bytes=100-199")
        assert (part.status, part.body) == (206, HYPER[100:200])
        again = client.publish("one", HYPER[:1000], query={"overwrite": "true"})
        assert again.status == 201, again.body
        assert client.download(one).body == HYPER[:1000]
        [row] = served.node.extract_list.of_site(client.site_id)
        assert served.node.extract_list.place(row).startswith(target.partition("//")[0])
        assert client.on_site("DELETE", f"/datasources/{one}").status == 204
    assert list(bucket.list("head")) == []
    assert not [path for path in (root / "extracts").rglob("*") if path.is_file()]


def test_a_start_while_the_store_is_away(
    root: Path, through: Bucket, between: Between, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """Matrix 19: found by the soak. A node that died while the store was away did not start again before it was back.

    The files that the dead one was writing, and deleting, go when the store answers, beside what the living one writes.
    """
    move(root, through.address.text)
    place = Placement(new_id(), new_id())
    with closing(opening.open_node(str(root))) as dead:
        written = dead.stored_files.create(place, encrypted=True)
        written.write(HYPER)
        written.commit()
        left = backups.publish(dead, "one", HYPER)
        with dead.repository.transaction() as tx:
            tx.contents.delete(left.id)
            dead.stored_files.discard_later(tx, left.storage_key)
    assert len(list(bucket.list("head"))) == 2
    between.dies_after = 0
    with closing(opening.open_node(str(root))) as session:
        assert not backup.tidy(session)
    with serve(root) as served:
        assert "stay for now" in caplog.text
        client = served.site("Sealed", SiteMode.ENFORCED)
        assert client.publish("two").status == 423
        between.dies_after = None
        assert client.publish("two").status == 201
        with served.node.stored_files.create(place, encrypted=True) as own:
            own.write(HYPER)
            upkeep.regularly(served.node)
            with served.node.repository.reading() as tx:
                [intent] = tx.intents.list()
            assert intent.storage_key == own.planned.storage_key
        assert len(list(bucket.list("head"))) == 1


def test_nothing_in_clear_lies_there(root: Path, target: str, bucket: Bucket) -> None:
    move(root, target)
    with serve(root) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        assert client.publish("one", HYPER * 4).status == 201
    for folder in ("head", "body"):
        found = list(bucket.list(folder))
        assert found
        for one in found:
            assert b"MARK-OF-PLAINTEXT" not in bucket.read(one.name).data


def test_a_backup_and_its_restore(root: Path, target: str, node: Node, tmp_path: Path) -> None:
    row = backups.publish(node, "one", HYPER)
    node.close()
    move(root, target)
    with closing(opening.open_node(str(root))) as again:
        path = tmp_path / "backup.tsbak"
        backups.make(again, path)
        again.vault.delete(row.storage_key)
        backups.restore(again, path)
        [restored] = again.extract_list.of_site(row.site_id)
        assert restored.storage_key != row.storage_key
        assert backups.contents(again) == {"one": HYPER}
        assert not again.files.is_keeping


def test_there_and_back_again(root: Path, target: str, node: Node, bucket: Bucket) -> None:
    wanted = {f"n{n}": HYPER + bytes([n]) for n in range(3)}
    for name, data in wanted.items():
        backups.publish(node, name, data, encrypted=name != "n0")
    node.close()
    with closing(opening.open_node(str(root))) as opened:
        plan = file_moves.moves(opened).plan(target)
        assert (plan.before, plan.files, plan.present) == (place.DISK, 3, 0)
        assert file_moves.present(opened) == place.Place(), "a plan changes nothing"
    move(root, target)
    with closing(opening.open_node(str(root))) as moved:
        assert file_moves.present(moved) == place.Place(target)
        assert list(moved.file_store(place.DISK).list()) == []
        assert backups.contents(moved) == wanted
        [told] = list(moved.events.history(extract_events.EXTRACTS_MOVED))
        details = told["details"]
        assert isinstance(details, dict)
        assert details["files"] == 3
        assert file_moves.moves(moved).plan(target).files == 0
    move(root, place.DISK)
    with closing(opening.open_node(str(root))) as back:
        assert backups.contents(back) == wanted
    for folder in ("head", "body", "gone"):
        assert list(bucket.list(folder)) == []


def test_a_move_under_way_stops_all_that_need_files(root: Path, target: str, node: Node) -> None:
    """Until it is gone on with, or undone; each says how."""
    backups.publish(node, "one", HYPER)
    begun = place.Place(coming=target).serialize()
    node.coordinator.put({place.ENTRY: Change(begun, 0)})
    node.close()
    with closing(opening.open_node(str(root))) as interrupted:
        with pytest.raises(StateError, match="being moved") as caught:
            _ = interrupted.files
        assert "extracts move" in caught.value.hint
        other = target.replace("?", "-other?")
        with pytest.raises(StateError, match="already"):
            file_moves.moves(interrupted).plan(other)
    move(root, place.DISK)
    with closing(opening.open_node(str(root))) as undone:
        assert backups.contents(undone) == {"one": HYPER}
        assert file_moves.present(undone) == place.Place()
