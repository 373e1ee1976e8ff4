"""A node's event log, as the other nodes witness it: a tail that was cut, a fork, an older head (issue 11 F, b11, E6; row 47)."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from strongroom.eventlog import chain, checkpoints
from strongroom.eventlog.checkpoints import Signing
from strongroom.eventlog.events import key_events, log_events
from strongroom.eventlog.extending import Shown
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.merkle import Frontier
from strongroom.joining import log_heads
from strongroom.node import log_witnesses, opening
from strongroom.node.opening import Node
from strongroom.services.nodes import judging_logs
from strongroom.services.nodes.cosigning import Cosigner
from tests.contract.cluster.commands import Run, joined, nodes
from tests.support import web_client
from tests.support.cluster_services import ClusterServices


class Witness(NamedTuple):
    """A node that is alive, and does its duty as a witness when the test says so."""

    home: Path
    node: Node
    cosigner: Cosigner

    @property
    def log(self) -> Path:
        return self.node.paths.events

    def tell(self) -> None:
        """Its minute has passed."""
        self.cosigner._next_s = 0.0
        self.cosigner.look()


@contextmanager
def witness(home: Path) -> Iterator[Witness]:
    with closing(opening.open_node(str(home))) as node, node.announced():
        yield Witness(home, node, log_witnesses.cosigner(node))


@pytest.fixture
def three(cluster_home: Path, run: Run, tmp_path: Path) -> Iterator[list[Witness]]:
    """Three nodes, each of which has witnessed the logs of the others."""
    homes = [cluster_home, tmp_path / "two", tmp_path / "three"]
    with web_client.serve(cluster_home) as served:
        for home in homes[1:]:
            joined(served, run, home)
    with ExitStack() as stack:
        made = [stack.enter_context(witness(home)) for home in homes]
        for _ in range(3):
            for one in made:
                one.tell()
        yield made


def verified(run: Run, home: Path) -> tuple[int, dict[str, Any], str]:
    said = run("strongroom", home, "events", "verify", "--all-nodes", "--json")
    found = {one["node"]: one for one in json.loads(said.out)["nodes"]} if said.out else {}
    return said.code, found, said.err


def append(one: Witness, count: int = 1) -> None:
    for number in range(count):
        one.node.events.append([key_events.mek_retired("os:tests", f"m{number}")])


def rewritten(one: Witness, lines: list[bytes]) -> None:
    """The log that the node's owner puts in the place of its own, and signs by its own key."""
    signer = one.node.events.checkpoints.signer()
    assert signer is not None
    note = checkpoints.signed(Signing(signer, Frontier(), ()), lines, chain.head_of(lines[-1]))
    one.log.write_bytes(b"\n".join(lines) + b"\n")
    one.log.with_suffix(".checkpoint").write_bytes(note)


def forked(one: Witness, kept: int, count: int) -> list[bytes]:
    """The first lines of a log, and others behind them."""
    lines = one.log.read_bytes().splitlines()[:kept]
    for number in range(count):
        event = key_events.mek_retired("os:eve", f"e{number}")
        head = chain.head_of(lines[-1])
        lines.append(chain.make_line(event, head, time="2026-11-30T12:00:00Z", node="node3"))
    return lines


def posted(one: Witness, name: str = "") -> bytes:
    assert one.node.board is not None
    found = one.node.board.read(log_heads.name_of(name or one.node.paths.node_id))
    assert found is not None
    return found.value


def post(by: Witness, name: str, note: bytes) -> None:
    """A note that somebody posts who has ZooKeeper's password."""
    assert by.node.board is not None
    place = by.node.board.take_place(log_heads.name_of(name))
    by.node.board.post(log_heads.name_of(name), note, place.version)


@contextmanager
def attacked(one: Witness, *all_nodes: Witness) -> Iterator[None]:
    """The node's log is as it was before, behind the block, and its note, too."""
    aside = one.home.with_name(f"{one.home.name}.events")
    shutil.copytree(one.log.parent, aside)
    yield
    shutil.rmtree(one.log.parent)
    shutil.move(aside, one.log.parent)
    for _ in range(2):
        for each in all_nodes:
            each.tell()


def refused(run: Run, by: Witness, node: str = "node3") -> str:
    """What another node says of a log that contradicts what was witnessed; the others are well."""
    code, found, err = verified(run, by.home)
    assert code == 20, (found, err)
    assert f"an event log was changed. {node}: " in err
    states = {name: one["state"] for name, one in found.items()}
    assert states.pop(node) == "CHANGED"
    assert "CHANGED" not in states.values()
    return str(found[node]["faults"][0])


def told(one: Witness) -> list[str]:
    """The heads that a node refused, by its event log."""
    found = one.node.events.history(log_events.LOG_HEAD_REFUSED)
    return [str(cast("dict[str, object]", each["details"])["cause"]) for each in found]


def grows_and_is_archived(three: list[Witness], run: Run) -> None:
    """E6: chains of all nodes agree with their witnesses, as they grow and are archived; a silent node is named."""
    first, second, third = three
    code, found, err = verified(run, first.home)
    assert code == 0, err
    assert {one["state"] for one in found.values()} == {"OK"}
    assert [one["proved_by"] for one in found.values()] == ["lines", "heads", "heads"]
    assert all(said["contained"] for one in found.values() for said in one["witnesses"])
    append(second, 5)
    for one in (second, first, third, second):
        one.tell()
    said = run("strongroom", third.home, "events", "verify", "--all-nodes")
    assert said.code == 0, said.err
    assert said.out.count(": it goes on from there") == 6
    assert "node2: OK" in said.out
    assert "lie on its own disk" in said.out
    # a log that was archived goes on in the one that names it
    assert run("strongroom", second.home, "events", "archive", "--reason", "long").code == 0
    append(second, 2)
    for one in (second, first, third, second):
        one.tell()
    code, found, err = verified(run, third.home)
    assert code == 0, (found, err)
    assert found["node2"]["events"] < 10
    # between two minutes a note is made anew only if a witness could not follow the one that hangs there
    before = posted(second)
    second.cosigner.look()
    assert posted(second) == before
    first.tell()
    append(second)
    second.tell()
    assert verified(run, first.home)[0] == 0
    copy = run("strongroom", first.home, "events", "verify", "--all-nodes", "--log", "a")
    assert (copy.code, "--log of a copy" in copy.err) == (2, True)


def renews_its_key(three: list[Witness], run: Run) -> None:
    """A log whose key is renewed, as by a regeneration, is shown anew at once, and refused by nobody."""
    first, second, _third = three
    second.node.log_key.renew("os:tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_witnesses, "WAIT_S", 0.0)
        assert verified(run, first.home)[1]["node2"]["state"] == "UNPROVED"
    first.tell()
    second.cosigner.look()
    assert verified(run, first.home)[0] == 0
    assert told(first) == []
    # the key by which another node's log is verified, and when that one reported: these nodes say nothing of their keys
    key = run("strongroom", second.home, "events", "checkpoint").out.partition("\n")[0]
    shown = nodes(run, first.home)["node2"]
    assert (shown["log_key"], shown["report_age_s"]) == (key, None)
    verbose = run("tsm", first.home, "topology", "list-nodes", "-v").out
    assert f"  Log key: {key}\n  Last report: -\n" in verbose


def cut_by_a_stranger(three: list[Witness], run: Run, lines: list[bytes], _: bytes) -> None:
    """The file is cut by whoever has no key: the node itself shows that its checkpoint signs more."""
    first, _second, third = three
    third.log.write_bytes(b"\n".join(lines[:-2]) + b"\n")
    third.tell()
    size, fault = len(lines), refused(run, first)
    assert f"it signed line {size}, and its log ends at line {size - 2}" in fault
    assert f"lines {size - 1} to {size} are missing" in fault


def cut_by_the_owner(three: list[Witness], run: Run, lines: list[bytes], _: bytes) -> None:
    """The log is cut, and signed by its own key."""
    first, second, third = three
    rewritten(third, lines[:-3])
    for one in (third, first, second):
        one.tell()
    size = len(lines)
    for by in (first, second):
        fault = refused(run, by)
        assert f"it ends at line {size - 3}, and node" in fault
        assert f"lines {size - 2} to {size} are missing" in fault
        assert any("are missing" in cause for cause in told(by))


def forked_by_the_owner(three: list[Witness], run: Run, lines: list[bytes], _: bytes) -> None:
    """The log has other lines behind a line that was witnessed, and more than before; with the way shown, and without."""
    first, second, third = three
    size = len(lines)
    rewritten(third, forked(third, size - 3, 9))
    for one in (third, first, second):
        one.tell()
    assert f"its first {size} lines are not those that node" in refused(run, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JsonlEventLog, "show", without_paths(JsonlEventLog.show))
        third.tell()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging_logs, "SHOWN_MS", -3_600_000)
        assert "does not show that its log goes on" in refused(run, second)


def older_log(three: list[Witness], run: Run, lines: list[bytes], before: bytes) -> None:
    """An older log and an older checkpoint, both genuine."""
    first, _second, third = three
    rewritten(third, before.splitlines())
    third.tell()
    assert f"to {len(lines)} are missing" in refused(run, first)


def other_notes(three: list[Witness], run: Run, _lines: list[bytes], _: bytes) -> None:
    """Notes that are genuine, and were made for another time or another node."""
    first, second, third = three
    older = posted(third)
    third.tell()
    post(third, "node3", older)
    assert "an older one was posted again" in refused(run, first)
    # what another node said, in the name of this one
    post(third, "node3", posted(third, "node2"))
    assert "its note is not believed" in refused(run, first)
    third.tell()
    # an older word of a witness, posted by who does not like its newest one
    older = posted(third, "node2")
    second.tell()
    post(third, "node2", older)
    assert "an older one was posted again" in refused(run, first, "node2")


ATTACKS = (cut_by_a_stranger, cut_by_the_owner, forked_by_the_owner, older_log, other_notes)


def attacked_by_the_owner(three: list[Witness], run: Run) -> None:
    """Row 47: each attack is told by name on every other node, and is over when the log is back."""
    first, second, third = three
    before = third.log.read_bytes()
    append(third, 6)
    for one in (third, first, second, third):
        one.tell()
    lines = third.log.read_bytes().splitlines()
    assert verified(run, first.home)[0] == 0
    for attack in ATTACKS:
        with attacked(third, *three):
            attack(three, run, lines, before)
    code, found, err = verified(run, first.home)
    assert code == 0, (found, err)


def says_nothing(three: list[Witness], run: Run) -> None:
    """Nobody speaks for a node that says nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging_logs, "SILENT_MS", -1)
        code, found, err = verified(run, three[0].home)
    assert (code, found["node3"]["state"]) == (24, "UNPROVED"), err
    assert "it does not answer: what it showed last is of " in found["node3"]["unproved"][0]


def begins_anew(three: list[Witness], run: Run) -> None:
    """A log that was lost for a good reason is witnessed anew, when an administrator of each node says so."""
    first, second, third = three
    lines = third.log.read_bytes().splitlines()
    rewritten(third, lines[:-4])
    for one in (third, first, second):
        one.tell()
    refused(run, first)
    words = ("events", "acknowledge", "--node", "node3", "--reason", "its disk was restored")
    for one in (first, second):
        said = run("strongroom", one.home, *words)
        assert said.code == 0, said.err
        assert f"forgot {len(lines)} events of node3" in said.out
        one.tell()
    for one in (third, first, second, third):
        one.tell()
    code, found, err = verified(run, first.home)
    assert code == 0, (found, err)
    assert run("strongroom", first.home, *words[:3], "node9", *words[4:]).code == 5


def test_whoever_owns_a_node_cannot_hide_what_its_log_said(
    three: list[Witness], run: Run, services: ClusterServices
) -> None:
    """Row 47, E6, E13: a tail that was cut, a fork, an older head, another one's note, silence; and no quorum.

    One test, since three nodes take as long as all of that.
    """
    for step in (
        grows_and_is_archived,
        renews_its_key,
        attacked_by_the_owner,
        says_nothing,
        begins_anew,
    ):
        step(three, run)
    for server in services.ensemble.servers[:2]:
        server.component.kill()
    said = run("strongroom", three[0].home, "events", "verify", "--all-nodes")
    assert (said.code, said.out) == (40, "")
    services.ensemble.mend()


def without_paths(show: Callable[..., Shown]) -> Callable[..., Shown]:
    return lambda log, bases: show(log, bases)._replace(paths={})


def test_a_single_node_is_verified_alone(node_dir: Path, run: Run) -> None:
    """A node without a cluster has no witness, and says so."""
    said = run("strongroom", node_dir, "events", "verify", "--all-nodes")
    assert said.code == 0, said.err
    assert said.out.startswith("verified ")
    assert "a single one" in said.err
    assert (
        run(
            "strongroom", node_dir, "events", "acknowledge", "--node", "node2", "--reason", "a"
        ).code
        == 7
    )
