"""Backup and restore, failing at every mutating system call: whole or not there, old or new; the next run ends it (R17)."""

from pathlib import Path

import pytest

from strongroom.backup.open_backup import OpenBackup
from strongroom.filestore.blockfile import OpenedFile
from strongroom.filestore.pins import FOLDER
from tests.conftest import Torture
from tests.support import backups
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]

THEN = {"big": nodes.CANARY * 20_000, "small": nodes.CANARY}
SINCE = {"small": nodes.CANARY, "later": nodes.CANARY + b" later"}


def contents(home: Path) -> dict[str, bytes]:
    """Right after the fault: what is published, read whole; keys and events are in order."""
    nodes.check_opens(home)
    with nodes.opened(home) as node:
        return backups.contents(node)


def check_tidy(home: Path) -> None:
    """After the next run nothing lies about."""
    with nodes.opened(home) as node:
        with node.repository.reading() as tx:
            assert tx.intents.list() == []
            assert backups.files(node) == tx.contents.storage_keys()
        hidden = [path.name for path in node.paths.repository.parent.glob(".*")]
        assert hidden == []
        assert node.events.verify().breaks == ()
    nodes.check_no_canary(home)


def check_whole(path: Path) -> None:
    with OpenedFile(path) as file:
        OpenBackup.check(file)


@FAULTS
def test_a_backup(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """The file is there whole or not at all; what was pinned goes with the next one."""
    with nodes.opened(start / "node") as node:
        for name, data in THEN.items():
            backups.publish(node, name, data)
    place = start.with_name("place")
    home, folder = place / "node", place / "node/tabsvc/files/backups"
    lab = Lab(
        start,
        place,
        ("tsm", "maintenance", "backup", "-f", "x"),
        {"STRONGROOM_HOME": "{place}/node"},
    )

    def check(outcome: Outcome) -> None:
        assert contents(home) == THEN
        made = list(folder.glob("*"))
        assert [path.name for path in made] in ([], ["x.tsbak"])
        for path in made:
            check_whole(path)
        assert made or not outcome.succeeded
        run(home, "tsm", "maintenance", "backup", "-f", "y")
        run(home, "strongroom", "backup", "verify", "y", "--drill")
        check_tidy(home)
        assert not (home / "tabsvc/extracts" / FOLDER).exists()
        assert list(folder.glob(".*")) == []

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_a_restore(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """Rows and extracts are those of before or those of the backup, never both; run again, those of the backup."""
    source = start / "node"
    with nodes.opened(source) as node:
        for name, data in THEN.items():
            backups.publish(node, name, data)
    run(source, "tsm", "maintenance", "backup", "-f", "x")
    with nodes.opened(source) as node:
        with node.repository.transaction() as tx:
            rows = [
                row for site in tx.sites.page().rows for row in tx.contents.list_for_site(site.id)
            ]
            (gone,) = (row for row in rows if row.name == "big")
            tx.contents.delete(gone.id)
        node.files.delete(gone.storage_key)
        backups.publish(node, "later", SINCE["later"])
        node.meks.rotate("os:test")
    words = ("tsm", "maintenance", "restore", "-f", "x", "--ignore-prompt")
    place = start.with_name("place")
    home = place / "node"
    lab = Lab(start, place, words, {"STRONGROOM_HOME": "{place}/node"})

    def check(outcome: Outcome) -> None:
        found = contents(home)
        assert found in (THEN, SINCE)
        if outcome.succeeded:
            assert found == THEN
        check_whole(home / "tabsvc/files/backups/x.tsbak")
        run(home, *words)
        assert contents(home) == THEN
        check_tidy(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)
