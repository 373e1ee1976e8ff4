"""Rows whose file the backup lacks and the target has: the file stays, and is what the row names (A-26)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import FormatError, StorageError
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, UploadPartRow, UploadRow
from strongroom.repository.unit_of_work import Transaction
from strongroom.services.backups.make import BackupMade
from strongroom.services.content.items import placement_of
from strongroom.services.jobs.one import stored_file
from tests.support import backups
from tests.support.backups import State
from tests.support.rows import NOW

SEALED = pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])


class Hidden:
    """An extract whose file is not there while a backup is made."""

    def __init__(self, node: Node, *, encrypted: bool = True) -> None:
        self.node = node
        self.row = backups.publish(node, "hidden", b"of the extract", encrypted=encrypted)
        self.path = Path(node.files.place_of(self.row.storage_key))
        self.data = self.path.read_bytes()

    def backup(self, path: Path) -> BackupMade:
        self.path.unlink()
        made = backups.make(self.node, path)
        assert made.manifest.lost == (self.row.storage_key,)
        return made

    def put_back(self) -> None:
        self.path.write_bytes(self.data)


@SEALED
def test_a_file_that_came_back_stays(source: Node, tmp_path: Path, encrypted: bool) -> None:
    """Its key is the row's key again: it is not one of the files that go; nor with a second restore."""
    wanted = {**backups.contents(source), "hidden": b"of the extract"}
    hidden = Hidden(source, encrypted=encrypted)
    made = hidden.backup(tmp_path / "b.tsbak")
    hidden.put_back()
    for _ in range(2):
        done = backups.restore(source, made.path)
        assert (done.kept, done.lost, done.missing) == ([hidden.row.id], [], {})
        assert backups.contents(source) == wanted
        with source.repository.reading() as tx:
            assert tx.intents.list() == []
            assert backups.files(source) == tx.contents.storage_keys()
        assert source.stored_files.recover() == 0  # the next start
    assert backups.contents(source) == wanted


def test_a_file_that_came_back_and_was_rewrapped(source: Node, tmp_path: Path) -> None:
    """The row names the MEK of the backup, the header a newer one: the header counts."""
    hidden = Hidden(source)
    made = hidden.backup(tmp_path / "b.tsbak")
    hidden.put_back()
    source.meks.rotate("os:tester")
    source.vault.rewrap(stored_file(hidden.row), placement_of(hidden.row))
    assert backups.restore(source, made.path).kept == [hidden.row.id]
    assert backups.contents(source)["hidden"] == b"of the extract"


@SEALED
def test_a_file_without_a_row_stays_if_the_backup_names_it(
    source: Node, tmp_path: Path, encrypted: bool
) -> None:
    """Its content was deleted since: before the restore it belongs to nobody, then to the row."""
    hidden = Hidden(source, encrypted=encrypted)
    made = hidden.backup(tmp_path / "b.tsbak")
    with source.repository.transaction() as tx:
        tx.contents.delete(hidden.row.id)
    hidden.put_back()
    assert backups.restore(source, made.path).kept == [hidden.row.id]
    assert backups.contents(source)["hidden"] == b"of the extract"


def test_a_restore_that_fails_leaves_it(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = Hidden(source)
    made = hidden.backup(tmp_path / "b.tsbak")
    with source.repository.transaction() as tx:
        tx.contents.delete(hidden.row.id)
    hidden.put_back()
    before = State.of(source)

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("strongroom.services.backups.restore.RestoreService._switch", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        backups.restore(source, made.path)
    monkeypatch.undo()
    after = State.of(source)
    assert (after.rows, after.files) == (before.rows, before.files)


def test_a_file_that_is_still_lost(source: Node, tmp_path: Path) -> None:
    """The row comes back and names it all the same: the file may be put back later."""
    hidden = Hidden(source)
    done = backups.restore(source, hidden.backup(tmp_path / "b.tsbak").path)
    assert (done.kept, done.lost) == ([], [hidden.row.id])
    hidden.put_back()
    assert source.stored_files.recover() == 0
    assert backups.contents(source)["hidden"] == b"of the extract"


@pytest.mark.parametrize("what", ["another extract's", "damaged", "a folder"])
def test_what_is_not_the_rows_file_is_told_and_left(
    source: Node, tmp_path: Path, what: str
) -> None:
    hidden = Hidden(source)
    made = hidden.backup(tmp_path / "b.tsbak")
    if what == "a folder":
        hidden.path.mkdir()
    else:
        other = backups.publish(source, "other", b"of the extract")
        data = Path(source.files.place_of(other.storage_key)).read_bytes()
        hidden.path.write_bytes(data if what == "another extract's" else bytes(len(data)))
    done = backups.restore(source, made.path)
    assert (done.kept, done.lost, list(done.missing)) == ([], [], [hidden.row.id])
    assert hidden.path.exists()


def _by_other_content(tx: Transaction, row: ContentRow) -> None:
    (other,) = (one for one in tx.contents.list_for_site(row.site_id) if one.name == "plain")
    tx.contents.update(other.id, storage_key=row.storage_key)


def _by_an_upload(tx: Transaction, row: ContentRow) -> None:
    tx.uploads.insert(UploadRow("upload", row.site_id, row.owner_id, NOW, NOW))
    tx.uploads.add_part(UploadPartRow("upload", 1, row.storage_key, "", "", 14, 14), NOW)


@pytest.mark.parametrize("claim", [_by_other_content, _by_an_upload])
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "deleted"])
def test_a_file_that_is_something_elses_here(
    source: Node, tmp_path: Path, claim: Callable[[Transaction, ContentRow], None], moved: bool
) -> None:
    """No key is used twice, so no true backup asks this; a plain file would pass for the row's."""
    hidden = Hidden(source, encrypted=False)
    made = hidden.backup(tmp_path / "b.tsbak")
    hidden.put_back()
    with source.repository.transaction() as tx:
        claim(tx, hidden.row)
        if moved:
            tx.contents.update(hidden.row.id, storage_key="")
        else:
            tx.contents.delete(hidden.row.id)
    before = State.of(source)
    with pytest.raises(FormatError, match="belongs to something else here"):
        backups.restore(source, made.path)
    assert State.of(source) == before


def test_two_rows_of_one_lost_file(source: Node, tmp_path: Path) -> None:
    hidden = Hidden(source)
    with source.repository.transaction() as tx:
        _by_other_content(tx, hidden.row)
    made = hidden.backup(tmp_path / "b.tsbak")
    before = State.of(source)
    with pytest.raises(FormatError, match="two rows of the backup name"):
        backups.restore(source, made.path)
    assert State.of(source) == before
