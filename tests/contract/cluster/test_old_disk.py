"""A node came back from a copy of its disk (matrix 40): every other node names it, and its own disk serves again."""

import shutil
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError
from strongroom.eventlog.events import key_events
from strongroom.node.opening import Node
from tests.contract.cluster.commands import Run, opened, started
from tests.contract.cluster.test_log_witnesses import Witness, append, verified, witness


def append_to(node: Node) -> None:
    node.events.append([key_events.mek_retired("os:tests", "m1")])


def told(*all_nodes: Witness) -> None:
    """Some minutes pass."""
    for _ in range(3):
        for one in all_nodes:
            one.tell()


def test_a_node_from_an_old_disk_is_named_by_the_others(
    cluster_home: Path, second_home: Path, run: Run, tmp_path: Path
) -> None:
    """It serves by the keys in force, and says itself that its log is behind; commands on it end with the same code."""
    started(second_home)
    old = Path(shutil.copytree(second_home, tmp_path / "old", symlinks=True))
    with witness(cluster_home) as one, witness(second_home) as two:
        append(two, 3)
        # the rows have the place of the log from now on
        assert run("strongroom", second_home, "sites", "create", "West").code == 0
        told(one, two)
        one.node.configuration.set("gateway.https.port", "9443", actor="os:tests")
        one.node.configuration.apply(actor="os:tests")
    new = Path(shutil.move(second_home, tmp_path / "new"))
    shutil.move(old, second_home)
    with opened(second_home) as node:
        faults = node.event_log_faults()
        assert faults, "the rows know more of the log than the disk has"
        with pytest.raises(IntegrityError):
            append_to(node)
    started(second_home)
    with witness(cluster_home) as one, witness(second_home) as two:
        two.node.events.take_as_it_is()
        assert any("9443" in file.read_text() for file in two.node.paths.tabsvc.rglob("*.yml"))
        told(two, one)
        code, found, err = verified(run, cluster_home)
        assert (code, found["node2"]["state"]) == (20, "CHANGED"), err
        assert found["node1"]["state"] != "CHANGED"
    shutil.rmtree(second_home)
    shutil.move(new, second_home)
    started(second_home)
    with witness(cluster_home) as one, witness(second_home) as two:
        told(two, one)
        code, found, err = verified(run, cluster_home)
        assert (code, found["node2"]["state"]) == (0, "OK"), err
