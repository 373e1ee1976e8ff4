"""What is printed of the nodes of a cluster: in the status of the keys, and as blocks that parsers of `tsm status -v` know."""

import pytest

from strongroom.cli.keys import node_states
from strongroom.cli.keys.node_states import Asked
from strongroom.cli.node import node_blocks
from strongroom.services.nodes.judging import Judged, State
from tests.unit.services.nodes.test_judging import GOOD

TEXT = "Status: OK\nMode: Local\nMEKs:\n  one"
WELL = Judged("node2", State.OK, "", GOOD)
DENIED = Judged("node3", State.ERROR, "denied", GOOD)
COMING = Judged("node4", State.JOINING)
SILENT = Judged("node5", State.STALE, "no proof", GOOD)
GONE = Judged("node6", State.STOPPED, "not reporting")
STRANGE = Judged("node7", State.ERROR, "not believed")


def test_a_single_node_prints_what_it_printed() -> None:
    assert node_states.with_nodes(TEXT, 0, Asked(), is_brief=False) == TEXT
    assert node_states.with_nodes(TEXT, 0, Asked(), is_brief=True) == TEXT


def test_nodes_that_are_well_stand_below() -> None:
    told = node_states.with_nodes(TEXT, 0, Asked((WELL, COMING)), is_brief=False)
    assert told == (
        f"{TEXT}\nNodes:\n  node2\n    State: OK\n    Checked at: 2026-11-30T08:00:00Z\n"
        "    Identity: arn:of:two\n    Epoch: 7\n  node4\n    State: JOINING"
    )
    told = node_states.with_nodes(TEXT, 0, Asked((WELL, COMING)), is_brief=True)
    assert told == f"{TEXT}\nNodes: node2 OK, node4 JOINING"


def test_a_bad_node_makes_the_whole_an_error() -> None:
    """Behind this node's own problems, which stay where they were."""
    own = "Status: ERROR\nProblem: ours\nMode: Local"
    for text, problems in ((TEXT, 0), (own, 1)):
        told = node_states.with_nodes(text, problems, Asked((WELL, DENIED)), is_brief=True)
        lines = told.splitlines()
        assert lines[0] == "Status: ERROR"
        assert lines[1:][problems] == "Problem: node3 is ERROR: denied"
        assert lines[1:][:problems] == ["Problem: ours"][:problems]
        assert "Mode: Local" in lines
    told = node_states.with_nodes(TEXT, 0, Asked(problem="not known"), is_brief=False)
    assert told.startswith("Status: ERROR\nProblem: not known\nMode: Local\n")


@pytest.mark.parametrize(
    ("one", "word", "phrases"),
    [
        (WELL, "RUNNING", ("is running", "is stopped", "is running")),
        (DENIED, "DEGRADED", ("is running", "is stopped", "is in an error state")),
        (SILENT, "DEGRADED", ("is running", "is stopped", "status is unavailable")),
        (COMING, "JOINING", ("is stopped", "is stopped", "is stopped")),
        (GONE, "STOPPED", ("is stopped", "is stopped", "is stopped")),
        (STRANGE, "ERROR", ("status is unavailable",) * 2 + ("is in an error state",)),
    ],
)
def test_the_block_of_a_node(one: Judged, word: str, phrases: tuple[str, ...]) -> None:
    """H-tsm-status: the phrases that parsers know, and no other."""
    names = ("Web Service", "Backgrounder", "Key Management")
    host = "two.example" if one.report else "unknown"
    assert list(node_blocks.lines(one)) == [
        f"{one.node_id}: {host}",
        f"\tStatus: {word}",
        *(f"\t'Strongroom {name} 0' {said}." for name, said in zip(names, phrases, strict=True)),
    ]
    assert node_blocks.trouble(one) == {}


def test_a_process_that_hangs() -> None:
    hung = GOOD._replace(processes={"web service": "running", "backgrounder": "process 9 hangs"})
    one = WELL._replace(report=hung)
    assert node_blocks.word(one) == "DEGRADED"
    assert node_blocks.trouble(one) == {"backgrounder": "process 9 hangs"}
    assert "\t'Strongroom Backgrounder 0' is in an error state." in node_blocks.lines(one)
