"""Judges the nodes of a cluster by what they report, as a reader sees it who trusts no clock but the board's; pure.

The order is that of docs/format/node-reports.md 4: the first thing that is wrong decides.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.clock import format_utc_ms
from strongroom.coordination.board import Posted
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import node_reports
from strongroom.joining.node_reports import KeysSeen, NodeReport, StoreSeen
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.system.plural import sized

BEAT_MS: Final = 5_000
"""Milliseconds between two reports of a node."""
SILENT_MS: Final = 3 * BEAT_MS
"""The age from which on a report says nothing of now."""
ABSENT_MS: Final = 3_000
"""How long a reader waits for a node to announce itself again: a moment after it has its connection back, it does."""
GRACE_MS: Final = 30_000
"""How long after a change of keys a node may still report the ones before."""

FULL_BYTES: Final = 1 << 20
"""The room below which a node is about to lose events and configuration: no file of its own is larger."""


class State(StrEnum):
    """The states of a node, in the eyes of a reader."""

    OK = "OK"
    ERROR = "ERROR"
    STALE = "STALE"
    STOPPED = "STOPPED"
    JOINING = "JOINING"


class Head(NamedTuple):
    """The keys that count.

    Attributes:
        store: The KMS store.
        keys: The configuration keys.
        since_ms: The time when they were put, or later, by the clock of the board.
    """

    store: StoreSeen
    keys: KeysSeen
    since_ms: int


class Seen(NamedTuple):
    """The signs of a node.

    Attributes:
        node: The entry in the registry.
        posted: The note; None if there is none.
        boot_id: The process that is alive for it; None if none is.
    """

    node: RegisteredNode
    posted: Posted | None
    boot_id: str | None


class Moment(NamedTuple):
    """The present of a reader.

    Attributes:
        installation_id: The installation.
        nonce: The nonce by which the reader has asked.
        asked_ms: When that was, by the clock of the board.
        now_ms: The present, by the same clock.
        head: The keys that count.
    """

    installation_id: str
    nonce: str
    asked_ms: int
    now_ms: int
    head: Head


class Judged(NamedTuple):
    """A node, as it is.

    Attributes:
        node_id: The node.
        state: The state.
        cause: The reason for any state but OK, in words.
        report: The report, if it can be believed; None else.
        is_settled: Whether waiting for another report would be in vain.
    """

    node_id: str
    state: State
    cause: str = ""
    report: NodeReport | None = None
    is_settled: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether something is to be done about the node; one that is just being brought in is not bad."""
        return self.state is not State.OK and not (self.state is State.JOINING and not self.cause)

    @property
    def checked_at(self) -> str:
        """When the node proved the keys for the last time that is known, by its own clock; empty if never."""
        return self.report.proof.at if self.report and self.report.proof else ""

    @property
    def identity(self) -> str:
        """The identity under which it did."""
        return self.report.proof.identity if self.report and self.report.proof else ""

    @property
    def epoch(self) -> int | None:
        """The epoch of the KMS store that the node has, by its report."""
        return self.report.store.epoch if self.report and self.report.store else None


def judge(seen: Seen, moment: Moment) -> Judged:
    """The state of one node that is expected."""
    node = seen.node
    if node.state is NodeState.JOINING:
        return Judged(node.node_id, State.JOINING, node.cause, is_settled=True)
    silence = _silence(seen, moment)
    if silence is not None:
        return silence
    try:
        report = _believed(seen, moment)
    except (FormatError, IntegrityError) as error:
        words = f"its report is not believed: {error.message}"
        return Judged(node.node_id, State.ERROR, words)
    return _unless_stale(_of_report(report, moment), node)


def _silence(seen: Seen, moment: Moment) -> Judged | None:
    """The judgement of a node that does not report."""
    node_id, posted = seen.node.node_id, seen.posted
    if posted is None or not posted.value:
        is_alive = seen.boot_id is not None
        words = "it has never reported"
        return Judged(node_id, State.STOPPED, words, is_settled=not is_alive)
    age_ms = moment.now_ms - posted.at_ms
    if age_ms <= SILENT_MS and seen.boot_id is not None:
        return None
    words = "is stopped" if seen.boot_id is None else "is there, and says nothing"
    return Judged(
        node_id,
        State.STOPPED,
        f"it {words}: not reporting since {format_utc_ms(posted.at_ms)}",
        is_settled=age_ms > SILENT_MS
        or (seen.boot_id is None and moment.now_ms - moment.asked_ms >= ABSENT_MS),
    )


def _believed(seen: Seen, moment: Moment) -> NodeReport:
    """The report of a note that hangs where it was made to hang.

    Raises:
        FormatError: The note is damaged.
        IntegrityError: The note is not the node's own, or not of this process, place or time.
    """
    node, posted = seen.node, seen.posted
    if posted is None:
        raise IntegrityError("there is none")
    found = node_reports.opened(
        posted.value, moment.installation_id, node.node_id, node.keys.signing
    )
    if found.boot_id != seen.boot_id:
        raise IntegrityError("another process wrote it than the one that is alive")
    if found.born != posted.born:
        raise IntegrityError("it was written for another place")
    if found.version != posted.version:
        raise IntegrityError(
            f"it was written to be version {found.version}, and hangs there as {posted.version}"
        )
    return found


def _of_report(report: NodeReport, moment: Moment) -> Judged:
    def judged(state: State, cause: str, *, is_settled: bool = False) -> Judged:
        return Judged(report.node_id, state, cause, report, is_settled)

    if cause := report.cause or _full(report):
        return judged(State.ERROR, cause)
    proof = report.proof if report.proof and moment.nonce in report.proof.nonces else None
    behind = _behind(report, moment.head)
    if proof is not None and not proof.cause and proof.store != moment.head.store:
        behind = behind or f"proved the KMS store of {_of(proof.store)}"
    if behind:
        head = moment.head
        counts = (
            f"it {behind}, and what counts is {_of(head.store)}, generation {head.keys.generation}"
        )
        if moment.now_ms - head.since_ms > GRACE_MS:
            return judged(State.ERROR, f"has old keys: {counts}")
        return judged(State.STALE, f"may have old keys: {counts}")
    if proof is None:
        seconds = (moment.now_ms - moment.asked_ms) // 1000
        return judged(State.STALE, f"it has not proved its keys in {seconds} s since it was asked")
    if proof.cause:
        return judged(State.ERROR, proof.cause, is_settled=True)
    return judged(State.OK, "", is_settled=True)


def _full(report: NodeReport) -> str:
    """The room on the disk of a node that has too little of it, in words; else empty."""
    if report.free_bytes is None or report.free_bytes >= FULL_BYTES:
        return ""
    free = sized(report.free_bytes)
    return f"its disk is full: {free} are left where its data directory lies"


def _unless_stale(found: Judged, node: RegisteredNode) -> Judged:
    """The same, but for a node without which keys were changed: it serves when its own word on them is registered."""
    if node.state is not NodeState.STALE or found.state is not State.OK:
        return found
    cause = "keys were changed without it, and it has not said yet that it opens them"
    return found._replace(state=State.STALE, cause=cause)


def _behind(report: NodeReport, head: Head) -> str:
    if report.keys != head.keys:
        found = "no" if report.keys is None else f"generation {report.keys.generation} of its"
        return f"has {found} configuration keys"
    if report.store != head.store:
        return f"has the KMS store of {_of(report.store)}"
    return ""


def _of(store: StoreSeen | None) -> str:
    return "no epoch" if store is None else f"epoch {store.epoch} ({store.digest[:8]})"
