"""The disk of one node is full (matrix 43): it is red and named, the others go on, and it follows when there is room."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.node.opening import Node
from tests.contract.cluster.commands import Run, at_work, joined
from tests.support import web_client
from tests.support.privileges import small_disk

pytestmark = pytest.mark.cluster
LIMIT_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 24) as folder:
        yield folder


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


def states(run: Run, home: Path) -> dict[str, tuple[str, str]]:
    said = run("tsm", home, "security", "kms", "status", "--json")
    return {one["id"]: (one["state"], one["cause"] or "") for one in json.loads(said.out)["nodes"]}


def has_followed(node: Node) -> bool:
    return any("9443" in file.read_text() for file in node.paths.tabsvc.rglob("*.yml"))


def test_a_full_disk_is_told_of_its_node_and_of_no_other(
    cluster_home: Path, run: Run, disk: Path
) -> None:
    """Its YAML files are behind; documents and rows are committed by the other node as before; nothing is done by hand."""
    second = disk / "two"
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
    with at_work(cluster_home) as one, at_work(second) as two:
        until(lambda: {state for state, _ in states(run, cluster_home).values()} == {"OK"})
        fill(disk / "others")
        one.configuration.set("gateway.https.port", "9443", actor="os:tests")
        one.configuration.apply(actor="os:tests")
        assert run("strongroom", cluster_home, "sites", "create", "West").code == 0
        until(lambda: has_followed(one))
        until(lambda: states(run, cluster_home)["node2"][0] == "ERROR")
        found = states(run, cluster_home)
        assert found["node1"] == ("OK", "")
        assert found["node2"][1].startswith("its disk is full: ")
        assert not has_followed(two)
        (disk / "others").unlink()
        until(lambda: has_followed(two))
        until(lambda: states(run, cluster_home)["node2"] == ("OK", ""))
        assert two.event_log_faults() == ()
