"""Publishing and jobs killed and broken at every mutating system call: no extract is lost, no plaintext stays."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from strongroom.envelope.header import Placement
from strongroom.repository.rows import SiteMode
from tests.conftest import Torture
from tests.servers import ROOT
from tests.torture import content, harness, nodes
from tests.torture.content import EXTRACT, OLD
from tests.torture.harness import BROKEN, FULL, KILL, Lab, Outcome

pytestmark = pytest.mark.torture
_FAULTS = pytest.mark.parametrize("faults", [(KILL,), (FULL, BROKEN)], ids=["kill", "fault"])


def _lab(start: Path, action: str) -> Lab:
    words = [sys.executable, "-m", "tests.torture.content", action, "{place}/node"]
    return Lab(start, start.with_name("place"), words, {"PYTHONPATH": f"{ROOT}/src:{ROOT}"})


def _fill(start: Path, *, encrypted: bool) -> None:
    with nodes.opened(start / "node") as node:
        content.set_mode(node, SiteMode.ENABLED)
        for name, data in OLD.items():
            content.publish(node, name, data, encrypt=encrypted)


def _read(place: Path) -> dict[str, bytes]:
    with nodes.opened(place / "node") as node:
        return content.read(node)


@_FAULTS
@pytest.mark.parametrize(
    ("action", "news"),
    [
        ("publish", {"new": EXTRACT}),
        ("upload", {"new": EXTRACT}),
        ("replace", {"one": EXTRACT + b"newer"}),
        ("delete", {"one": None}),
    ],
    ids=["publish", "upload", "replace", "delete"],
)
def test_publishing(
    start: Path,
    few: Torture,
    faults: Sequence[str],
    action: str,
    news: dict[str, bytes | None],
) -> None:
    """E-09, issue E: an item is there whole or not at all, and no plaintext byte reaches the disk."""
    _fill(start, encrypted=True)
    with nodes.opened(start / "node") as node:
        content.set_mode(node, SiteMode.ENFORCED)
    lab = _lab(start, action)
    merged = {**OLD, **news}
    after = {name: data for name, data in merged.items() if data is not None}

    def check(outcome: Outcome) -> None:
        nodes.check_opens(lab.place / "node")
        found = _read(lab.place)
        assert found in (OLD, after), {name: len(data) for name, data in found.items()}
        assert found == after or not outcome.succeeded
        nodes.check_no_canary(lab.place)
        content.recover(lab.place / "node")
        assert _read(lab.place) == found
        with nodes.opened(lab.place / "node") as node:
            content.act(node, action)
        assert _read(lab.place) == after
        nodes.check_no_canary(lab.place)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@_FAULTS
@pytest.mark.parametrize("action", ["encrypt", "rekey", "rewrap", "decrypt"])
def test_jobs(start: Path, few: Torture, faults: Sequence[str], action: str) -> None:
    """Requirements section 10, crash rules: every extract opens at every moment, and the job ends its work."""
    _fill(start, encrypted=action != "encrypt")
    if action == "rewrap":
        nodes.run(start / "node", "tsm", "security", "kms", "rotate")
    lab = _lab(start, action)
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        del outcome
        nodes.check_opens(home)
        assert _read(lab.place) == OLD
        content.recover(home)
        with nodes.opened(home) as node:
            content.act(node, action)
            for row in content.rows(node).values():
                assert row.state == (0 if action == "decrypt" else 1)
                if action != "decrypt":
                    assert row.mek_id == node.keys.active_mek_id
                    node.stored_files.open(row, Placement(row.site_id, row.id)).close()
        assert _read(lab.place) == OLD
        content.recover(home)
        if action != "decrypt":
            nodes.check_no_canary(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)
