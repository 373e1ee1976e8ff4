"""A-24: backups that are made while everything changes are each of one moment, and open whole."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strongroom.backup import opening
from strongroom.backup.open_backup import OpenBackup
from strongroom.errors import ConflictError, StrongroomError
from strongroom.filestore.blockfile import OpenedFile
from strongroom.node import backup as node_backups
from strongroom.node import opening as bootstrap
from strongroom.node.opening import Node
from strongroom.services.backups import verify
from strongroom.services.backups.make import BackupMade
from strongroom.services.content.items import placement_of
from strongroom.services.jobs.one import stored_file
from tests.support import backups

ROUNDS = 3


@contextmanager
def busy(home: Path, work: Callable[[Node, int], None]) -> Iterator[list[int]]:
    """Do something again and again, in a thread with a node of its own, until the end of the block."""
    stopping, done, failed = threading.Event(), list[int](), list[BaseException]()

    def run() -> None:
        node = bootstrap.open_node(str(home))
        try:
            while not stopping.is_set():
                work(node, len(done))
                done.append(1)
        except BaseException as error:  # noqa: BLE001 told by the test's own thread
            failed.append(error)
        finally:
            node.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        stopping.set()
        thread.join()
    assert not failed, failed
    assert done


def replace_some(node: Node, number: int) -> None:
    """Publish one in two parts of the platform, delete the oldest."""
    backups.publish(node, f"pair-{number}-a", b"a" * 5000)
    with node.repository.transaction() as tx:
        site = tx.sites.page().rows[0]
        rows = tx.contents.list_for_site(site.id)
        old = [row for row in rows if row.name.startswith("pair-")][:-3]
        for row in old:
            tx.contents.delete(row.id)
            node.stored_files.discard_later(tx, row.storage_key)
    for row in old:
        node.stored_files.discard(row.storage_key)


def rotate_and_rewrap(node: Node, number: int) -> None:
    """A new MEK, all that is there brought under it, the old ones retired if nothing needs them."""
    del number
    node.meks.rotate("os:busy")
    with node.repository.reading() as tx:
        rows = tx.contents.list_for_site(tx.sites.page().rows[0].id)
    for row in rows:
        if row.file_id:
            try:
                changed = node.vault.rewrap(stored_file(row), placement_of(row))
            except StrongroomError:
                continue  # deleted meanwhile
            with node.repository.transaction() as tx:
                if tx.contents.find(row.id):
                    tx.contents.update(row.id, mek_id=changed.mek_id)
    for mek_id in node.meks.usage().unused:
        try:
            node.meks.retire(mek_id, "os:busy")
        except StrongroomError:
            continue  # a backup needs it


def test_every_backup_under_load_opens_whole(source: Node, tmp_path: Path) -> None:
    home = source.paths.root
    made = list[BackupMade]()
    with busy(home, replace_some) as published, busy(home, rotate_and_rewrap) as rotated:
        while len(made) < ROUNDS or len(published) < 5 or len(rotated) < 2:
            with suppress(ConflictError):  # a key that was made and retired meanwhile: run it again
                made.append(backups.make(source, tmp_path / f"{len(made)}.tsbak", verify=False))
    for one in made:
        assert one.unreadable == ()
        assert one.manifest.lost == ()
        _check_opens(source, one.path, tmp_path)
    done = backups.restore(source, made[-1].path)
    assert (done.missing, done.lost) == ({}, [])
    assert set(backups.contents(source)) >= {"one", "two", "plain"}


def _check_opens(node: Node, path: Path, tmp_path: Path) -> None:
    with OpenedFile(path) as file:
        backup = OpenBackup.check(file)
        # by its own keys: the MEK that it was made under may have been retired since
        means = node_backups.means(node, backups.NOTHING, None)
        opened = opening.open_keys(backup, means)
        receipt = verify.receipt_of(backup, path, file.size, opened, node.clock)
        verify.drill(backup, opened, tmp_path / "trial", receipt, backups.silent)
    assert receipt.is_good, receipt
    assert receipt.opened == receipt.encrypted >= 2
