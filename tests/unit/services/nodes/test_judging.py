"""The judgement of a node by its report: a table of everything that can be amiss (docs/format/node-reports.md §4)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from strongroom.coordination.board import Posted
from strongroom.joining import node_keys, registry
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.node_reports import KeysSeen, NodeReport, OwnProof, StoreSeen
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.services.nodes import judging
from strongroom.services.nodes.judging import Head, Judged, Moment, Seen, State

INSTALLATION = "6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f001"
OTHER = "6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f002"
BOOT = "0193c9a2-7a1b-7c3d-8e4f-000000000001"
KEY = "0193c9a2-7a1b-7c3d-8e4f-000000000002"
AT = "2026-11-30T08:00:00Z"
NOW_MS = 1_796_000_000_000
STORE, OLDER = StoreSeen(7, "ab" * 32), StoreSeen(6, "cd" * 32)
KEYS = node_keys.make(INSTALLATION, "node2")
STRANGE = node_keys.make(INSTALLATION, "node2")
HEAD = Head(STORE, KeysSeen(KEY, 3), NOW_MS - judging.GRACE_MS - 1)
JUST_PUT = HEAD._replace(since_ms=NOW_MS - judging.GRACE_MS)
NONCE, FORMER = "AAAAAAAAAAAAAAAAAAAAAA==", "AQAAAAAAAAAAAAAAAAAAAA=="
PROOF = OwnProof(AT, (FORMER, NONCE), STORE, "", "arn:of:two", (KEY,))
GOOD = NodeReport(
    "node2",
    BOOT,
    born=40,
    version=9,
    at=AT,
    software="0.2.0",
    host="two.example",
    document=12,
    keys=KeysSeen(KEY, 3),
    store=STORE,
    processes={"web service": "running", "backgrounder": "stopped"},
    free_bytes=1 << 40,
    proof=PROOF,
)


def entry(state: NodeState = NodeState.ACTIVE, cause: str = "") -> RegisteredNode:
    node = RegisteredNode("node2", KEYS.public, NodeState.JOINING, AT)
    reported = node.reported(INSTALLATION, KEYS, registry.Report(AT, cause))
    return replace(reported, state=state)


def judge(
    report: NodeReport = GOOD,
    *,
    by: NodeKeys = KEYS,
    node: RegisteredNode | None = None,
    boot_id: str | None = BOOT,
    age_ms: int = 0,
    head: Head = HEAD,
    installation_id: str = INSTALLATION,
    hang: Callable[[Posted], Posted | None] = lambda posted: posted,
) -> Judged:
    note = report.signed(installation_id, by.signing)
    posted = hang(Posted(note, 9, 40, NOW_MS - age_ms))
    moment = Moment(INSTALLATION, NONCE, NOW_MS - 2000, NOW_MS, head)
    return judging.judge(Seen(node or entry(), posted, boot_id), moment)


def test_a_node_without_which_keys_were_changed_is_not_well_before_it_says_so() -> None:
    """A stale node serves nobody yet; what is amiss beside that is told first."""
    found = judge(node=entry(NodeState.STALE))
    assert (found.state, found.is_bad) == (State.STALE, True)
    assert "keys were changed without it" in found.cause
    assert (
        judge(GOOD._replace(cause="no keystore"), node=entry(NodeState.STALE)).cause
        == "no keystore"
    )


def test_a_node_that_proves_its_keys_is_well() -> None:
    found = judge()
    assert (found.state, found.cause, found.is_bad, found.is_settled) == (
        State.OK,
        "",
        False,
        True,
    )
    assert (found.checked_at, found.identity, found.epoch) == (AT, "arn:of:two", 7)
    assert judge(age_ms=judging.SILENT_MS).state is State.OK
    assert judge(head=JUST_PUT).state is State.OK


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (judge(hang=lambda _: None), "it has never reported"),
        (judge(hang=lambda one: one._replace(value=b"")), "it has never reported"),
        (judge(age_ms=judging.SILENT_MS + 1), "it is there, and says nothing: not reporting since"),
        (judge(boot_id=None), "it is stopped: not reporting since 2026-11-"),
        (judge(boot_id=None, age_ms=3_600_000), "it is stopped: not reporting since 2026-11-"),
        # silence comes before disbelief: whoever is off wrote nothing
        (judge(boot_id=None, by=STRANGE), "it is stopped"),
    ],
)
def test_a_silent_node_is_stopped(found: Judged, cause: str) -> None:
    assert found.state is State.STOPPED
    assert found.cause.startswith(cause)
    assert found.report is None
    assert found.is_bad


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (judge(by=STRANGE), ""),
        (judge(installation_id=OTHER), "a signed statement is of another installation"),
        (judge(GOOD._replace(node_id="node3")), "a signed report is of another node"),
        (judge(GOOD._replace(boot_id=KEY)), "another process wrote it"),
        (judge(boot_id=KEY), "another process wrote it"),
        (judge(GOOD._replace(born=41)), "it was written for another place"),
        (judge(hang=lambda one: one._replace(born=39)), "it was written for another place"),
        (judge(hang=lambda one: one._replace(version=10)), "it was written to be version 9"),
        (judge(GOOD._replace(version=10)), "it was written to be version 10"),
        (judge(hang=lambda one: one._replace(value=one.value[:-1])), ""),
        (judge(hang=lambda one: one._replace(value=b"{}")), "these bytes are no signed statement"),
    ],
)
def test_a_report_that_is_not_its_own_is_not_believed(found: Judged, cause: str) -> None:
    assert (found.state, found.report, found.epoch) == (State.ERROR, None, None)
    assert found.cause.startswith(f"its report is not believed: {cause}")
    assert found.is_bad
    assert not found.is_settled, "it may have been started just now"


@pytest.mark.parametrize(
    "changed",
    [
        {"store": OLDER},
        {"store": None},
        {"keys": None},
        {"keys": KeysSeen(KEY, 2)},
        {"keys": KeysSeen(BOOT, 3)},
        {"proof": PROOF._replace(store=OLDER)},
    ],
)
def test_old_keys_are_an_error_after_a_grace(changed: dict[str, object]) -> None:
    report = GOOD._replace(**changed)  # type: ignore[arg-type]
    found = judge(report)
    assert (found.state, found.is_bad) == (State.ERROR, True)
    assert found.cause.startswith("has old keys: it ")
    assert "epoch 7 (abababab), generation 3" in found.cause
    early = judge(report, head=JUST_PUT)
    assert (early.state, early.is_bad, early.is_settled) == (State.STALE, True, False)
    assert early.cause.startswith("may have old keys: it ")


def test_an_answer_to_others_is_none() -> None:
    for proof in (None, PROOF._replace(nonces=(FORMER,)), PROOF._replace(nonces=())):
        found = judge(GOOD._replace(proof=proof))
        assert (found.state, found.is_settled) == (State.STALE, False)
        assert found.cause == "it has not proved its keys in 2 s since it was asked"
    # what it found wrong for others is not told as of now either
    found = judge(GOOD._replace(proof=PROOF._replace(nonces=(FORMER,), cause="denied")))
    assert found.state is State.STALE


def test_what_the_node_says_itself() -> None:
    denied = judge(GOOD._replace(proof=PROOF._replace(cause="denied")))
    assert (denied.state, denied.cause, denied.is_settled) == (State.ERROR, "denied", True)
    lost = judge(GOOD._replace(cause="no keystore", keys=None, store=None, proof=None))
    assert (lost.state, lost.cause) == (State.ERROR, "no keystore")


@pytest.mark.parametrize(
    ("free", "state"),
    [(None, State.OK), (judging.FULL_BYTES, State.OK), (judging.FULL_BYTES - 1, State.ERROR)],
)
def test_a_full_disk_is_an_error(free: int | None, state: State) -> None:
    """Matrix 43."""
    found = judge(GOOD._replace(free_bytes=free))
    assert found.state is state
    assert found.cause.startswith("its disk is full: " if state is State.ERROR else "")


def test_a_node_that_joins_is_bad_only_with_a_cause() -> None:
    joining = judge(node=entry(NodeState.JOINING))
    assert (joining.state, joining.is_bad, joining.is_settled) == (State.JOINING, False, True)
    failed = judge(node=entry(NodeState.JOINING, "the root refuses"))
    assert (failed.state, failed.cause, failed.is_bad) == (State.JOINING, "the root refuses", True)
