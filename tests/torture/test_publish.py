"""Publishing, replacing, uploading in parts and deleting, killed and broken at every mutating system call.

After a restart there is the old or the new content, whole; no plaintext, no file without a row and no intent is left.
"""

from pathlib import Path

import pytest

from strongroom.doors.http import upkeep
from strongroom.extracts.model import ContentKind
from tests.conftest import Torture
from tests.support.servers import ROOT
from tests.torture import harness, nodes, publish_actions
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run
from tests.torture.publish_actions import NEW, OLD

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]


@pytest.fixture
def enforced(start: Path) -> Path:
    """A folder with a node whose default site is enforced."""
    run(start / "node", "strongroom", "sites", "set-mode", "Default", "enforced")
    return start


@pytest.fixture
def filled(enforced: Path) -> Path:
    """The same with one published item."""
    with nodes.opened(enforced / "node") as node:
        publish_actions.write(node, OLD, replaces=False)
    return enforced


def lab_of(start: Path, action: str) -> Lab:
    words = ("python", "-m", "tests.torture.publish_actions", action, "{place}/node")
    return Lab(start, start.with_name("place"), words, {"PYTHONPATH": str(ROOT)})


def contents(home: Path) -> list[bytes]:
    """After a restart: everything that is published, read back; nothing else is there."""
    with nodes.opened(home) as node:
        upkeep.at_start(node)
        upkeep.look_through_files(node)
        who = publish_actions.identity(node)
        with node.repository.reading() as tx:
            rows = tx.contents.list_for_site(who.site.id)
            known, intents = tx.storage_keys(), tx.intents.list()
        found = []
        for row in rows:
            _, reader = node.content.open(who, ContentKind.DATASOURCE, row.id)
            with reader:
                found.append(b"".join(reader.iterate()))
        stored = {
            path.relative_to(node.paths.extracts).as_posix()
            for path in node.paths.extracts.rglob("*")
            if path.is_file()
        }
    assert intents == []
    assert stored == known
    return found


@FAULTS
@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("publish", [], [NEW]),
        ("upload", [], [NEW]),
        ("overwrite", [OLD], [NEW]),
        ("delete", [OLD], []),
    ],
)
def test_old_or_new_and_nothing_else(
    request: pytest.FixtureRequest,
    few: Torture,
    faults: tuple[str, ...],
    action: str,
    before: list[bytes],
    after: list[bytes],
) -> None:
    start: Path = request.getfixturevalue("filled" if before else "enforced")
    lab = lab_of(start, action)
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        nodes.check_no_canary(home)
        found = contents(home)
        assert found == after or (found == before and not outcome.succeeded)
        nodes.check_opens(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)
