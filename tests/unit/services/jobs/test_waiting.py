"""What a job waits for, in words (E-16, matrix 35)."""

import pytest

from strongroom.errors import FormatError
from strongroom.repository.rows import JobRow
from strongroom.services.jobs import roles
from strongroom.services.jobs.roles import NodeRole
from strongroom.services.jobs.waiting import Seen

BOTH = frozenset({"node1", "node2"})


def job(state: str, owner: str = "") -> JobRow:
    return JobRow("id", "kind", "site", None, "", state, "me", "now", owner_node=owner)


def test_a_job_that_is_worked_on_or_waits_for_its_turn_says_nothing() -> None:
    seen = Seen(BOTH, frozenset({"node1"}), shares_files=True)
    assert seen.waits_for(job("running", "node1")) == ""
    assert seen.waits_for(job("queued")) == ""
    for state in ("succeeded", "failed", "cancelled"):
        assert seen.waits_for(job(state, "node2")) == ""


def test_a_job_without_a_worker_says_whom_it_waits_for() -> None:
    none = frozenset[str]()
    assert Seen(BOTH, none, True).waits_for(job("queued")) == "a backgrounder on node1 or node2"
    without = Seen(none, BOTH, True).waits_for(job("queued"))
    assert without == "a node with the role extract-refreshes"
    shared = Seen(BOTH, frozenset({"node1"}), True).waits_for(job("running", "node2"))
    assert shared == "another node than node2, whose backgrounder does not run"
    own = Seen(BOTH, frozenset({"node1"}), False).waits_for(job("running", "node2"))
    assert own.startswith("node2, whose backgrounder does not run: its extracts lie on its own")


def test_the_entry_of_roles() -> None:
    """nodes.md 6."""
    assert roles.parse(b'{"roles":{"node2":"no-extract-refreshes"},"v":1}') == {
        "node2": NodeRole.NO_EXTRACTS
    }
    for bad in (
        b'{"roles":{"node2":"flows"},"v":1}',
        b'{"roles":{},"v":2}',
        b'{"roles":{},"v":1,"x":1}',
        b'{"roles":["node2"],"v":1}',
    ):
        with pytest.raises(FormatError):
            roles.parse(bad)
