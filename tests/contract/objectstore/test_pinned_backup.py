"""A backup that leaves extracts in their object store: kept there, found again, or named (A-24, A-25; backup.md 7)."""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.backup.open_backup import OpenBackup
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, NotFoundError, StateError, StorageError
from strongroom.filestore.blockfile import OpenedFile
from strongroom.ids import new_id
from strongroom.node import backup, create, file_moves, opening
from strongroom.node.opening import Node
from strongroom.objectstore import lasting, sweep
from strongroom.objectstore.base import Bucket
from strongroom.services.backups import checks
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import BackupMade, BackupRequest
from strongroom.services.backups.restore import Restored, RestoreRequest
from strongroom.services.content.items import placement_of
from strongroom.services.jobs.one import stored_file
from tests.contract.objectstore.test_node import ACTOR, move
from tests.contract.objectstore.test_sweep import NOW, put
from tests.support import backups
from tests.support.object_stores import Between, Fault
from tests.support.web_client import ADMIN, PASSWORD

if TYPE_CHECKING:
    from strongroom.repository.rows import ContentRow

WANTED = {"one": b"1" * 300_000, "two": b"2" * 20_000, "plain": b"p" * 9_000}
DAY = timedelta(days=1)


class World:
    """A node, which is in its folder already, whose extracts lie in a bucket, and a backup of it by a pin."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.root, self.bucket = folder / "node", bucket
        self.rows: dict[str, ContentRow] = {}
        with closing(opening.open_node(str(self.root))) as node:
            for name, data in WANTED.items():
                self.rows[name] = backups.publish(node, name, data, encrypted=name != "plain")
        move(self.root, bucket.address.text)
        self.node = opening.open_node(str(self.root))
        self.made = self.pinned_backup(folder / "pinned.tsbak")

    def pinned_backup(self, path: Path) -> BackupMade:
        """A backup whose extracts are pinned for a day."""
        request = BackupRequest(path, ACTOR, pinned_until=self.node.clock.now() + DAY)
        keys = BackupKeys(self.node.kms_store, self.node.assets, self.node.identity)
        return backup.backups(self.node, keys).make(request, backups.silent)

    def restore(self, node: Node | None = None, **options: object) -> Restored:
        """A restore of that backup."""
        target, request = node or self.node, RestoreRequest(ACTOR, "pinned")
        with backup.alone(target), OpenedFile(self.made.path) as file:
            return backup.restores(target).restore(
                OpenBackup.check(file),
                backup.means(target, backups.NOTHING, None),
                replace(request, **options),  # type: ignore[arg-type]  # names of its fields
                backups.silent,
            )

    def delete(self, *names: str) -> None:
        """Delete content and its files, as the server does."""
        for name in names:
            with self.node.repository.transaction() as tx:
                tx.contents.delete(self.rows[name].id)
            self.node.vault.delete(self.rows[name].storage_key)

    def body(self, name: str) -> str:
        """The object with the body of an extract."""
        folder = f"body/{self.rows[name].storage_key}"
        [one] = self.bucket.list(folder)
        return one.name


@pytest.fixture
def world(node_dir: Path, bucket: Bucket) -> Iterator[World]:
    made = World(node_dir.parent, bucket)
    yield made
    made.node.close()


def test_what_is_deleted_replaced_and_rewrapped_comes_back(world: World) -> None:
    """The bodies of encrypted extracts are not in the file; a day's sweep and a new MEK change nothing."""
    made = world.made
    assert (made.extracts, made.plain, made.pinned, made.manifest.version) == (1, 1, 2, 3)
    assert made.size < len(WANTED["one"])
    names = [one.name for one in made.manifest.entries]
    assert sum(name.startswith("pinned/") for name in names) == 2
    world.node.meks.rotate("os:tester")
    world.node.vault.rewrap(stored_file(world.rows["two"]), placement_of(world.rows["two"]))
    world.delete("one")
    backups.publish(world.node, "three", b"3")
    assert sweep.sweep(world.bucket, NOW) == 0
    for _ in range(2):  # the second one restores from what the first one has replaced
        done = world.restore()
        assert (done.extracts, done.pinned, done.missing, done.lost) == (3, 2, {}, [])
        assert backups.contents(world.node) == WANTED


def test_a_copy_is_what_it_was(world: World, tmp_path: Path) -> None:
    """By default everything is in the file, and nothing is pinned for it."""
    made = backups.make(world.node, tmp_path / "copied.tsbak")
    assert (made.extracts, made.pinned, made.pinned_until, made.manifest.version) == (3, 0, "", 2)
    assert [one.id for one in lasting.listed(world.bucket)] == [world.made.manifest.id]


def test_what_is_gone_is_named_and_nothing_is_changed(world: World) -> None:
    world.bucket.delete(world.body("one"))
    world.bucket.write(world.body("two"), b"short")
    before = backups.State.of(world.node)
    with pytest.raises(StateError, match="of 2 pinned extracts, 2 cannot be read") as caught:
        world.restore()
    assert world.rows["one"].storage_key in caught.value.message
    assert backups.State.of(world.node) == before
    done = world.restore(despite_missing=True)
    assert (done.extracts, done.pinned) == (1, 0)
    assert set(done.lost) | set(done.missing) == {world.rows[name].id for name in ("one", "two")}
    assert set(done.gone) == {world.rows[name].id for name in ("one", "two")}
    assert "no body" in done.gone[world.rows["one"].id]


def test_an_outage_is_no_loss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store refuses to say whether a body is there: a restore ends, whatever was agreed to, and changes nothing."""

    def away(_: Bucket, name: str) -> int:
        raise StorageError(f"the store does not let us look at {name}")

    monkeypatch.setattr(type(world.bucket), "size", away)
    before = backups.State.of(world.node)
    with pytest.raises(StorageError, match="does not let us"):
        world.restore(despite_missing=True)
    assert backups.State.of(world.node) == before


def test_a_changed_body_is_found_before_anything_is_replaced(world: World) -> None:
    """Of the same length: only reading it to its end shows it."""
    name = world.body("one")
    data = bytearray(world.bucket.read(name).data)
    data[100_000] ^= 1
    world.bucket.write(name, bytes(data))
    before = backups.State.of(world.node)
    with pytest.raises(IntegrityError, match=world.rows["one"].id):
        world.restore()
    after = backups.State.of(world.node)
    assert (after.rows, after.files) == (before.rows, before.files)


def test_a_fresh_machine_asks_no_store_that_nobody_named(world: World, tmp_path: Path) -> None:
    """7.4: the address in the file is a claim; with the operator's word the extracts are copied to the new machine."""
    fresh = tmp_path / "fresh"
    create.create_node(str(fresh), ADMIN, SecretBytes(PASSWORD.encode()))
    with closing(opening.open_node(str(fresh))) as node:
        with pytest.raises(StateError, match="not in disk"):
            world.restore(node, without_keys=True)
        address = world.bucket.address.text
        done = world.restore(node, without_keys=True, pinned_from=address)
        assert (done.extracts, done.pinned) == (3, 2)
        assert len(backups.files(node)) == 3
        assert len(done.missing) == 2, "their MEK is in the keystore of the other machine"


def test_a_backup_that_fails_pins_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(checks, "has_room", full)
    with pytest.raises(StorageError, match="no room"):
        world.pinned_backup(tmp_path / "other.tsbak")
    assert [one.id for one in lasting.listed(world.bucket)] == [world.made.manifest.id]


def test_a_body_that_is_gone_already_is_in_no_backup(world: World, tmp_path: Path) -> None:
    world.bucket.delete(world.body("one"))
    with pytest.raises(NotFoundError, match="no body"):
        world.pinned_backup(tmp_path / "other.tsbak")


def test_the_commands(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.cli import dispatch

    world.node.close()

    def run(*words: str) -> tuple[int, str, str]:
        code = dispatch.main("strongroom", ["--data-dir", str(world.root), *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    code, out, err = run("backup", "make", "-f", "nightly", "--extracts", "pin", "--pin-days", "3")
    assert (code, "does not hold 2 extracts" in err) == (0, True), err
    code, out, _ = run("backup", "verify", "nightly", "--drill")
    assert (code, "Not in the file: 2 extracts" in out, "; 2 looked for" in out) == (0, True, True)
    assert "Opened: 2; read whole: 2" in out
    pins = json.loads(run("backup", "pins", "list", "--json")[1])
    assert [one["file"] for one in pins] == ["pinned.tsbak", "nightly.tsbak"]
    made = datetime.fromisoformat(pins[1]["made_at"])
    assert datetime.fromisoformat(pins[1]["until"]) - made < timedelta(days=3, hours=1)
    heading, *rows = run("backup", "pins", "list")[1].splitlines()
    assert (heading.split(), len(rows)) == (["ID", "UNTIL", "STATE", "FILE"], 2)
    assert run("backup", "pins", "list", "--no-header")[1].splitlines() == rows
    assert all("in force" in row for row in rows)
    assert [row.split()[0] for row in rows] == [one["id"][:8] for one in pins]
    full = run("backup", "pins", "list", "--full-ids", "--no-header")[1].splitlines()
    assert [row.split()[0] for row in full] == [one["id"] for one in pins]
    code, _, err = run("extracts", "move", "--to", "disk")
    assert (code, "are pinned in" in err) == (StateError.exit_code, True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = run("backup", "pins", "release", pins[0]["id"])
    assert (code, "not agreed to" in err) == (StateError.exit_code, True), err
    for one in pins:
        code, out, _ = run("backup", "pins", "release", one["id"][:8], "-y")
        assert (code, out) == (0, f"Released: {one['file']}\n")
    assert run("backup", "pins", "release", pins[0]["id"], "-y")[0] == NotFoundError.exit_code
    assert run("backup", "make", "-f", "x", "--pin-days", "3")[0] == 2
    assert run("backup", "make", "-f", "x", "--extracts", "pin", "--pin-days", "0")[0] == 2
    world.bucket.delete(world.body("one"))
    code, out, _ = run("backup", "verify", "nightly", "--drill")
    assert (code, f"Cannot be read: {world.rows['one'].id}" in out) == (1, True)
    assert run("extracts", "move", "--to", "disk")[0] != 0, "a body is gone"
    with closing(opening.open_node(str(world.root))) as node:
        kinds = [one["id"] for one in node.events.read()]
        assert kinds.count("BACKUP_PIN_RELEASED") == 2
        assert file_moves.present(node).address == world.bucket.address.text


def test_a_disk_pins_nothing(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from strongroom.cli import dispatch

    root = node_dir
    for words, code in (
        (("make", "-f", "x", "--extracts", "pin"), StateError.exit_code),
        (("pins", "list"), 0),
        (("pins", "release", new_id(), "-y"), StateError.exit_code),
    ):
        assert dispatch.main("strongroom", ["--data-dir", str(root), "backup", *words]) == code
        capsys.readouterr()


class TestPins:
    """The pins of a store, without a node (object-store.md §6.3)."""

    @pytest.fixture
    def pin(self, bucket: Bucket) -> str:
        pin_id = new_id()
        lasting.write(bucket, pin_id, file="b.tsbak", until=bucket.now() + DAY)
        return pin_id

    def test_a_pin_keeps_what_is_deleted_later(
        self, bucket: Bucket, pin: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from strongroom.objectstore.store import ObjectFileStore

        with closing(ObjectFileStore(bucket, "node1")) as store:
            put(store, "one")
            reference = store.reference("one")
            store.delete("one")
            assert store.reference("one") == reference
            assert sweep.sweep(bucket, NOW) == 0
            store.open_reference("one", reference).close()
            assert not store.is_keeping, "a lasting pin is none of a node"
            monkeypatch.setattr(lasting, "SLACK", -DAY)  # as if the pin were a day younger
            assert sweep.sweep(bucket, NOW) == 1
            with pytest.raises(NotFoundError):
                store.open_reference("one", reference)
            with pytest.raises(NotFoundError):
                store.reference("one")
        assert [one.id for one in lasting.listed(bucket)] == [pin]

    def test_a_pin_ends(self, bucket: Bucket, pin: str) -> None:
        lasting.write(bucket, over := new_id(), file="old", until=bucket.now() - DAY)
        assert {one.id for one in lasting.listed(bucket)} == {pin, over}
        sweep.sweep(bucket, NOW)
        assert [one.id for one in lasting.listed(bucket)] == [pin]
        lasting.release(bucket, pin)
        assert lasting.protected_since(bucket) is None
        for strange in (pin, "../head", ""):
            with pytest.raises(NotFoundError, match="has a pin in"):
                lasting.release(bucket, strange)

    @pytest.mark.parametrize("name", [None, "strange"])
    def test_a_damaged_pin_stops_the_sweep(self, bucket: Bucket, name: str | None) -> None:
        bucket.write(f"{lasting.FOLDER}/{name or new_id()}", b"{}")
        with pytest.raises(FormatError, match="the pin of a backup"):
            sweep.sweep(bucket, NOW)

    def test_a_pin_whose_answer_is_lost(
        self, through: Bucket, bucket: Bucket, between: Between
    ) -> None:
        between.faults.append(Fault("PUT", "/pin/", answer_lost=True))
        lasting.write(through, pin_id := new_id(), file="b", until=bucket.now() + DAY)
        assert [one.id for one in lasting.listed(bucket)] == [pin_id]
