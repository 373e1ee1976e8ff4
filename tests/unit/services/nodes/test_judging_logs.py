"""The judgement of a node's event log by what others witnessed: a table of all that can be amiss (docs/format/log-heads.md 4)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from strongroom.coordination.board import Posted
from strongroom.crypto import said
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import cosignatures, merkle
from strongroom.eventlog.extending import Base, Step
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.eventlog.notes import LogSigner
from strongroom.joining import log_heads, node_keys, registry
from strongroom.joining.log_heads import LogHeads, Path, Seen
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.services.keys import log_signing
from strongroom.services.nodes import cosigning, judging_logs
from strongroom.services.nodes.judging_logs import JudgedLog, LogNotes, LogState

INSTALLATION = "6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f001"
OTHER = "6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f002"
AT = "2026-11-30T08:00:00Z"
SECONDS = 1_796_000_000
NOW_MS = SECONDS * 1000
NAMES = ("node1", "node2", "node3")
KEYS = {name: node_keys.make(INSTALLATION, name) for name in NAMES}
LINES = [b"%d" % number for number in range(100)]
FIRST = "ab" * 32
BEFORE = 60


class World(NamedTuple):
    """Three nodes: node1 reads, node3 is judged."""

    heads: dict[str, LogHeads]
    age_ms: dict[str, int]
    by: dict[str, str]
    memory: dict[str, Seen]

    def judged(self, node_id: str = "node3", **more: Any) -> JudgedLog:
        notes = {
            log_heads.name_of(name): Posted(
                one.signed(INSTALLATION, KEYS[self.by.get(name, name)].signing),
                7,
                40,
                NOW_MS - self.age_ms.get(name, 0),
            )
            for name, one in self.heads.items()
        }
        board = LogNotes("node1", INSTALLATION, nodes(), notes, NOW_MS, self.memory)
        return judging_logs.judge_shown(board._replace(**more), node_id)

    def with_head(self, **changed: Any) -> "World":
        return self._replace(heads={**self.heads, "node3": self.heads["node3"]._replace(**changed)})


def nodes() -> dict[str, RegisteredNode]:
    found = {}
    for name, keys in KEYS.items():
        node = RegisteredNode(name, keys.public, NodeState.JOINING, AT)
        found[name] = node.reported(INSTALLATION, keys, registry.Report(AT, ""))
    return found


def tree(lines: Sequence[bytes]) -> Frontier:
    found = EMPTY
    for line in lines:
        found = found.grown(line)
    return found


def signed(name: str, found: Frontier) -> bytes:
    log = KEYS[name].log
    assert log is not None
    signer = LogSigner(log_signing.origin(INSTALLATION, name), log.signing)
    return signer.sign(found.size, found.root)


def seen(watcher: str, of: str, found: Frontier, first: str = FIRST) -> Seen:
    name = log_signing.origin(INSTALLATION, watcher)
    note = cosignatures.cosigned(signed(of, found), name, KEYS[watcher].signing, SECONDS)
    return Seen(Base(first, found), note)


def head(name: str, lines: Sequence[bytes] = LINES, **more: Any) -> LogHeads:
    return LogHeads(name, 40, 7, AT, signed(name, tree(lines)), FIRST, len(lines), {}, {})._replace(
        **more
    )


def path(begin: int, lines: Sequence[bytes] = LINES, before: Sequence[bytes] = LINES) -> Path:
    """The steps from a number of lines to the end of these."""
    known = tree(before[:begin])
    return Path(begin, known.root, (Step((), merkle.span(begin, lines[begin:])),))


def world(lines: Sequence[bytes] = LINES, known: int = BEFORE, *, shown: bool = True) -> World:
    """A log of node3 with these lines, of which the others have witnessed some of `LINES`."""
    before = tree(LINES[:known])
    paths = {one: path(known, lines) for one in NAMES[:2]} if shown and known <= len(lines) else {}
    heads = {
        "node2": head("node2", seen={"node3": seen("node2", "node3", before)}),
        "node3": head("node3", lines, paths=paths),
        "node1": head("node1", seen={"node3": seen("node1", "node3", before)}),
    }
    return World(heads, {}, {}, {"node3": seen("node1", "node3", before)})


def test_a_log_that_goes_on_is_in_order() -> None:
    """4.6, 4.7: shown by its steps, or by the very head that was witnessed."""
    for found in (world().judged(), world(known=100, shown=False).judged()):
        assert found.state is LogState.OK, found
        assert [one.is_contained for one in found.witnesses] == [True, True]
        assert [one.node_id for one in found.witnesses] == ["node1", "node2"]
    assert world().judged().size == 100


CUT = LINES[:55]
FORKED = [*LINES[:50], *(b"x%d" % number for number in range(70))]
LYING = world(FORKED).with_head(
    paths={
        one: Path(BEFORE, tree(LINES[:BEFORE]).root, path(BEFORE, FORKED).steps) for one in NAMES
    }
)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            world(CUT),
            "it ends at line 55, and node1 witnessed at .* line 60: lines 56 to 60 are missing",
        ),
        (world(LINES[:59]), "line 60 is missing"),
        (
            world(FORKED),
            "its first 60 lines are not those that node1 witnessed at .*: the log was forked",
        ),
        (LYING, "the log was forked"),
        (world(FORKED[:BEFORE], shown=False), "the log was forked"),
        (
            world().with_head(lines=97),
            "it signed line 100, and its log ends at line 97: lines 98 to 100",
        ),
        (world().with_head(version=6), "an older one was posted again"),
        (world().with_head(born=39), "an older one was posted again"),
        (world().with_head(node_id="node2"), "of another node"),
        (world()._replace(by={"node3": "node2"}), "its note is not believed"),
        (
            world(FORKED, shown=False)._replace(age_ms={"node1": 10_001, "node2": 10_001}),
            "does not show that its log goes on from line 60, which node1 witnessed",
        ),
    ],
)
def test_what_contradicts_a_witness_is_told(found: World, words: str) -> None:
    """4.3, 4.5, 4.7 to 4.9: cut, forked, put back, replayed, another's; each by name."""
    judged = found.judged()
    assert judged.state is LogState.CHANGED, judged
    assert re.search(words, judged.faults[0]), judged


def changed_seen(change: Callable[[Seen], Seen]) -> World:
    made = world()
    other = made.heads["node2"]
    return made._replace(
        heads={**made.heads, "node2": other._replace(seen={"node3": change(other.seen["node3"])})}
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (world(shown=False), "goes on from what node1 witnessed at .* is not shown as yet"),
        (
            world(FORKED, shown=False)._replace(age_ms={"node1": 10_000, "node2": 10_000}),
            "is not shown as yet",
        ),
        (world()._replace(memory={}), "node1 has not witnessed it as yet"),
        (
            world().with_head(head=signed("node2", tree(LINES))),
            "by the key that the registry names",
        ),
        (world().with_head(head=b"no note\n"), "by the key that the registry names"),
        (world()._replace(age_ms={"node3": 180_001, "node1": 180_000}), "does not answer"),
        (world()._replace(by={"node2": "node3"}), "what node2 says of it is not believed"),
        (changed_seen(lambda _: seen("node3", "node3", tree(LINES))), "is not believed"),
        (changed_seen(lambda _: seen("node2", "node1", tree(LINES))), "the head of another log"),
        (
            changed_seen(lambda one: one._replace(base=Base(FIRST, tree(LINES[:7])))),
            "the head of another log",
        ),
        (changed_seen(lambda one: one._replace(note=b"")), "is not believed"),
    ],
)
def test_what_is_not_proved_is_told(found: World, words: str) -> None:
    """4.2, 4.4, 4.10, 4.11: silence, a witness that is none, a witness's word on another log."""
    judged = found.judged()
    assert judged.state is LogState.UNPROVED, judged
    assert re.search(words, "; ".join(judged.unproved)), judged


def test_a_node_without_a_note_or_a_key_is_named() -> None:
    """4.2; and a witness that posted nothing is no witness."""
    found = world()
    silent = found._replace(heads={"node1": found.heads["node1"]})
    assert silent.judged().unproved == ("it has never shown its event log",)
    lone = found._replace(heads={"node3": found.heads["node3"]})
    assert "what node2 says of it is not believed: there is none" in lone.judged().unproved
    keyless = {**nodes(), "node3": replace(nodes()["node3"], report=registry.Report(AT, ""))}
    assert "by which key" in found.judged(nodes=keyless).unproved[0]
    assert judging_logs.is_waiting([world(shown=False).judged()])
    renewed = found.with_head(head=signed("node2", tree(LINES))).judged()
    assert judging_logs.is_waiting([renewed])
    assert not judging_logs.is_waiting([found.judged(), silent.judged()])


def test_a_log_is_followed_through_its_archives() -> None:
    """3.3: the first lines of a log that was begun name the one before; else the steps lead nowhere."""
    from strongroom.eventlog import chain
    from strongroom.eventlog.events import log_events

    whole = tree(LINES)

    def steps(root: bytes, size: int = 100) -> tuple[Sequence[bytes], tuple[Step, ...]]:
        archived = log_events.event_log_archived(
            "os:a",
            file="f",
            seq=size,
            sha256="00",
            size=size,
            root=root.hex(),
            whole=True,
            reason="r",
        )
        opening = chain.make_line(archived, chain.Head(), time=AT, node="node3")
        later = [opening, b"one", b"two"]
        known = merkle.span(BEFORE, LINES[BEFORE:])
        return later, (Step((), known), Step((opening, b"one"), merkle.span(2, later[2:])))

    for root, size, state in (
        (whole.root, 100, LogState.OK),
        (tree(LINES[:99]).root, 100, LogState.CHANGED),
        (whole.root, 99, LogState.CHANGED),
    ):
        later, made = steps(root, size)
        way = Path(BEFORE, tree(LINES[:BEFORE]).root, made)
        found = world().with_head(
            head=signed("node3", tree(later)),
            first="cd" * 32,
            lines=3,
            paths=dict.fromkeys(NAMES, way),
        )
        assert found.judged().state is state, found.judged()
    lines, made = steps(whole.root)
    bare = (made[0], made[1]._replace(opening=(b"one", b"two")))
    found = world().with_head(
        head=signed("node3", tree(lines)),
        first="cd" * 32,
        lines=3,
        paths=dict.fromkeys(NAMES, Path(BEFORE, tree(LINES[:BEFORE]).root, bare)),
    )
    assert found.judged().state is LogState.CHANGED


# ---- the bytes of a note ---------------------------------------------------------------------------


def opened(note: bytes, node: str = "node3", installation: str = INSTALLATION) -> LogHeads:
    return log_heads.opened(note, installation, node, KEYS["node3"].public.signing)


NOTE = head(
    "node3",
    paths={
        "node1": Path(3, b"\x01" * 32, (*path(90).steps, Step((b"{}",), merkle.span(1, [b"a"]))))
    },
    seen={"node2": seen("node3", "node2", tree(LINES[:5]))},
)


def test_a_note_comes_back_as_it_was_and_every_changed_byte_is_refused() -> None:
    note = NOTE.signed(INSTALLATION, KEYS["node3"].signing)
    assert opened(note) == NOTE
    for at in range(0, len(note), 7):
        changed = bytearray(note)
        changed[at] ^= 1
        with pytest.raises((FormatError, IntegrityError)):
            opened(bytes(changed))
    with pytest.raises(IntegrityError):
        opened(note, installation=OTHER)
    with pytest.raises(IntegrityError, match="another node"):
        opened(note, "node1")
    report = Statement(Purpose.REPORT, Origin(INSTALLATION), said.of_report("node3", b"{}"))
    with pytest.raises(IntegrityError, match="purpose"):
        opened(report.signed(KEYS["node3"].signing))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"first":"abab', '"first":"xbab'),
        ('"lines":100', '"lines":-1'),
        ('"size":5', '"size":7'),
        ('"begin":90', '"begin":89'),
        ('"format":"strongroom-log-heads-1"', '"format":"strongroom-log-heads-2"'),
        ('"at":"2026', '"at":"x026'),
        ('"lines"', '"limes"'),
        ('"end":100', '"end":9223372036854775808'),
    ],
)
def test_a_note_that_its_node_signed_and_that_breaks_a_rule_is_refused(old: str, new: str) -> None:
    _, _, content = NOTE.signed(INSTALLATION, KEYS["node3"].signing)[:-64].partition(b"node3\0")
    changed = content.replace(old.encode(), new.encode(), 1)
    assert changed != content
    payload = said.of_log_heads("node3", changed)
    note = Statement(Purpose.LOG_HEADS, Origin(INSTALLATION), payload)
    with pytest.raises(FormatError):
        opened(note.signed(KEYS["node3"].signing))


def test_a_note_that_would_be_too_long_leaves_the_longest_ways_out() -> None:
    """2.1: 15 KiB; what a node has witnessed is never left out, since others count on it."""
    long = Path(3, b"\x01" * 32, (Step((b"x" * 9_000,), merkle.span(1, [])),))
    paths: Mapping[str, Path] = {"node1": long, "node2": long, "node4": path(90)}
    made = NOTE._replace(paths=paths)
    note = cosigning.fitted(made, KEYS["node3"])
    assert len(note) <= 16 << 10
    assert len(opened(note).paths) == 2
    assert "node4" in opened(note).paths
    with pytest.raises(ValueError, match=r"\d"):
        cosigning.fitted(NOTE._replace(head=b"x" * 20_000, paths={}), KEYS["node3"])
