"""The entry of a node in the registry (docs/format/nodes.md §2): that it is active, a node can only say itself."""

import json
from dataclasses import replace

import pytest

from strongroom import ids
from strongroom.canonical import to_base64
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import node_keys, registry
from strongroom.joining.registry import NodeState, RegisteredNode, Report

INSTALLATION = ids.new_id()
KEYS, OTHERS = (node_keys.make(INSTALLATION, "node2") for _ in range(2))
THEN, NOW = "2026-11-30T01:00:00Z", "2026-11-30T02:00:00Z"
JOINING = RegisteredNode("node2", KEYS.public, NodeState.JOINING, THEN)
ACTIVE = JOINING.reported(INSTALLATION, KEYS, Report(NOW, ""))
REFUSED = JOINING.reported(INSTALLATION, KEYS, Report(NOW, "postgres, tls: no"))


def changed(node: RegisteredNode, **members: object) -> bytes:
    data = json.loads(node.serialize()) | members
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize("node", [JOINING, ACTIVE, REFUSED, ACTIVE.left_out(NOW)])
def test_an_entry_is_read_back(node: RegisteredNode) -> None:
    assert registry.parse(node.serialize(), INSTALLATION) == node


def test_a_report_says_the_state() -> None:
    assert (ACTIVE.state, ACTIVE.since, ACTIVE.cause) == (NodeState.ACTIVE, NOW, "")
    assert (REFUSED.state, REFUSED.since) == (NodeState.JOINING, THEN)
    assert (REFUSED.cause, JOINING.cause) == ("postgres, tls: no", "")
    again = ACTIVE.reported(INSTALLATION, KEYS, Report("2026-11-30T03:00:00Z", ""))
    assert again.since == NOW
    worse = ACTIVE.reported(INSTALLATION, KEYS, Report("2026-11-30T03:00:00Z", "x" * 2000))
    assert (worse.state, worse.since) == (NodeState.JOINING, "2026-11-30T03:00:00Z")
    assert len(worse.cause) == registry.MAX_CAUSE
    assert registry.parse(worse.serialize(), INSTALLATION) == worse
    out = ACTIVE.left_out("2026-11-30T04:00:00Z")
    assert (out.state, out.since) == (NodeState.LEFT_OUT, "2026-11-30T04:00:00Z")


def test_a_report_says_by_which_key_the_node_signs_its_log() -> None:
    """X7; nodes.md 2.6: a change that is not over, and a node of before, say none."""
    assert ACTIVE.log_key == KEYS.log_public != b""
    assert JOINING.log_key == b""
    assert KEYS.log is not None
    for keys in (KEYS.with_log(None), KEYS.with_log(KEYS.log.renewed())):
        none = JOINING.reported(INSTALLATION, keys, Report(NOW, ""))
        assert registry.parse(none.serialize(), INSTALLATION).log_key == b""
        assert json.loads(none.serialize())["report"] == {"at": NOW, "cause": ""}


def log_key(node: RegisteredNode, key: str) -> bytes:
    """The entry with another key of the log, as whoever has the key of the MACs can write it."""
    return changed(node, report={**json.loads(node.serialize())["report"], "log_key": key})


@pytest.mark.parametrize(
    "data",
    [
        log_key(ACTIVE, to_base64(OTHERS.log_public)),
        changed(ACTIVE, report={"at": NOW, "cause": ""}),
        JOINING.reported(INSTALLATION, OTHERS, Report(NOW, "")).serialize(),
        changed(ACTIVE, node_id="node3"),
        changed(REFUSED, report={"at": NOW, "cause": ""}, state="active"),
        changed(REFUSED, state="active"),
        changed(JOINING, state="active"),
        changed(ACTIVE, report=None, signature=""),
        replace(ACTIVE, keys=OTHERS.public).serialize(),
    ],
    ids=[
        "log key",
        "no log key",
        "keys",
        "node",
        "cause",
        "refused",
        "none",
        "unsigned",
        "exchanged",
    ],
)
def test_no_other_makes_a_node_active(data: bytes) -> None:
    """Who has the key of the entries' MAC, as each node has, does not have the key of another node."""
    with pytest.raises(IntegrityError):
        registry.parse(data, INSTALLATION)


def test_a_report_is_of_its_installation() -> None:
    with pytest.raises(IntegrityError):
        registry.parse(ACTIVE.serialize(), ids.new_id())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        JOINING.serialize() + b"\n",
        changed(JOINING, more=1),
        log_key(ACTIVE, "AAAA"),
        log_key(ACTIVE, ""),
        changed(JOINING, format="strongroom-registered-node-9"),
        changed(JOINING, node_id="x"),
        changed(JOINING, state="gone"),
        changed(JOINING, since="now"),
        changed(JOINING, signing_key="AAAA"),
        changed(JOINING, sealing_key="?"),
        changed(ACTIVE, report={"at": NOW}),
        changed(ACTIVE, signature=1),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        registry.parse(data, INSTALLATION)
