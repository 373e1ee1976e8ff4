"""`strongroom parquet rotate` killed and broken at every mutating system call, and a thousand files killed in the middle."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.support import parquet_files
from tests.support.parquet_files import TABLE, beside, digests
from tests.support.servers import BIN
from tests.torture import harness, nodes
from tests.torture.harness import BROKEN, FULL, KILL, Lab, Outcome

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]


def _receipt(place: Path) -> dict[str, object]:
    line = ("strongroom", "parquet", "rotate", place / "dataset", "--json")
    found: dict[str, object] = json.loads(nodes.run(place / "node", *line))
    return found


def _make(start: Path, count: int) -> dict[str, str]:
    with nodes.opened(start / "node") as node:
        parquet_files.make_keys(node)
        for number in range(count):
            parquet_files.write(node, start / "dataset" / f"part-{number:04}.parquet")
        parquet_files.rotate_keys(node)
    return digests(start / "dataset")


def _check_readable(place: Path, names: list[str]) -> None:
    with nodes.opened(place / "node") as node:
        assert all(
            parquet_files.read(node, place / "dataset" / name).equals(TABLE) for name in names
        )


@pytest.mark.parametrize("faults", [(KILL,), (FULL, BROKEN)], ids=["kill", "fault"])
def test_rotating(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    before = _make(start, 2)
    variables = {"STRONGROOM_HOME": "{place}/node"}
    line = ("strongroom", "parquet", "rotate", "{place}/dataset")
    lab = Lab(start, start.with_name("place"), line, variables)

    def check(outcome: Outcome) -> None:
        _check_readable(lab.place, list(before))
        receipt = _receipt(lab.place)
        assert (receipt["current"], receipt["left"]) == (2, 0)
        if outcome.succeeded:
            assert receipt["rotated"] == 0
        assert digests(lab.place / "dataset") == before
        names = {path.name for path in (lab.place / "dataset").iterdir()}
        assert names == {*before, *(beside(Path(name)).name for name in before)}

    harness.torture(lab, few.choose(lab.points(*faults)), check)


def test_a_thousand_files_killed_in_the_middle(start: Path, torture: Torture) -> None:
    """Issue 13, must show 3: the data's digests are the same, and the receipt says that none is left."""
    count = 1000 if torture.whole else 120
    before = _make(start, count)
    first = beside(start / "dataset" / "part-0000.parquet")
    line = [str(BIN / "strongroom"), "parquet", "rotate", str(start / "dataset")]
    process = subprocess.Popen(
        line, env={**os.environ, "STRONGROOM_HOME": str(start / "node")}, stdout=subprocess.PIPE
    )
    ends_at = time.monotonic() + 100
    while "vault:v2:" not in first.read_text() and time.monotonic() < ends_at:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = [
        path.name for path in (start / "dataset").glob("_KEY*") if "vault:v2:" in path.read_text()
    ]
    assert 0 < len(done) < count
    receipt = _receipt(start)
    assert receipt["rotated"] == count - len(done)
    assert (receipt["current"], receipt["left"]) == (count, 0)
    assert digests(start / "dataset") == before
    _check_readable(start, list(before)[:: max(count // 20, 1)])
