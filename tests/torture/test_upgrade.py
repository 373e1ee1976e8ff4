"""The upgrade of the oldest released node, killed and broken at every mutating system call (issue 10, "Must show" 5)."""

import json
import shutil
from pathlib import Path

import pytest

from strongroom.errors import UpgradeNeededError
from strongroom.eventlog.events import node_events
from tests.conftest import Torture
from tests.support import golden
from tests.torture import harness, nodes
from tests.torture.harness import BROKEN, FULL, KILL, Lab, Outcome
from tests.torture.nodes import run

pytestmark = pytest.mark.torture
OLDEST = golden.REVISIONS[0]
WORDS = ("strongroom", "upgrade", "--no-backup")


@pytest.fixture
def oldest(tmp_path: Path) -> Path:
    start = golden.unpack(OLDEST, tmp_path / "start")
    shutil.rmtree(start / "node" / "tabsvc" / "files")
    (start / "node" / "tabsvc" / "serve.json").unlink(missing_ok=True)
    return start


def test_an_upgrade_that_was_interrupted_is_finished_by_the_next(
    oldest: Path, few: Torture
) -> None:
    """Until it is finished every command refuses the node; then nothing is lost."""
    facts = json.loads((golden.NODES / f"{OLDEST}.json").read_text())
    lab = Lab(oldest, oldest.with_name("place"), WORDS, {"STRONGROOM_HOME": "{place}/node"})
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        try:
            nodes.check_opens(home)
        except UpgradeNeededError:
            assert not outcome.succeeded
        run(home, *WORDS)
        nodes.project(home)
        found = nodes.check_whole(home)
        for name, value in facts["secrets"].items():
            assert found[name] == value.encode()
        run(home, "strongroom", "decrypt", lab.place / "loose.sealed", lab.place / "loose")
        with nodes.opened(home) as node:
            assert list(node.events.history(node_events.FORMAT_UPGRADED))
            assert node.coordinator.get("journal/upgrade") is None

    harness.torture(lab, few.choose(lab.points(KILL, FULL, BROKEN)), check)
