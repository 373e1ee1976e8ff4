"""`strongroom events verify --all-nodes`: each node's event log, as far as it is proved from here (log-heads.md 4)."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.terminal.session import Session
from strongroom.errors import IntegrityError, UnacknowledgedError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.services.nodes.judging_logs import JudgedLog, WitnessSaid

_CHANGED_HINT = (
    "whoever owns that node cut or forked its log, or put an older one back: ask why; if it was restored, or made anew"
    " after a loss, 'strongroom events acknowledge --node NODE --reason TEXT' on each other node says so"
)
_UNPROVED_HINT = "a node that does not answer is started, or taken out; what is witnessed a moment ago is shown within seconds"


class All(NamedTuple):
    """The event logs of all nodes.

    Attributes:
        own: The node that asks.
        verified: The sentence on its own lines.
        logs: The logs; none of a single node.
    """

    own: str
    verified: str
    logs: "Sequence[JudgedLog]"


def ask(session: Session, verified: str) -> All:
    """The logs of all nodes, this node's own lines being verified.

    Raises:
        CoordinationError: ZooKeeper does not answer: nothing is known of any log now.
    """
    from strongroom.node import log_witnesses

    logs = log_witnesses.ask(session.whole_node)
    if not logs:
        session.note("this node is a single one: no other node witnesses its event log")
    return All(session.node.paths.node_id, verified, logs)


def lines(found: All) -> Iterator[str]:
    """A block for each node."""
    if not found.logs:
        yield found.verified
    for one in found.logs:
        yield f"{one.node_id}: {one.state}"
        if one.node_id == found.own:
            yield f"  {found.verified}"
        elif one.size is not None:
            yield (
                f"  signed head of {counted(one.size, 'event')}, shown at {one.at};"
                " its lines lie on its own disk, and are verified there"
            )
        for said in one.witnesses:
            yield f"  {_words(said)}"
        for words in one.faults:
            yield f"  changed: {words}"
        for words in one.unproved:
            yield f"  not proved: {words}"


def as_json(found: All) -> Sequence[Mapping[str, object]]:
    """The same for programs."""
    return [
        {
            "node": one.node_id,
            "state": one.state.value,
            "proved_by": "lines" if one.node_id == found.own else "heads",
            "events": one.size,
            "at": one.at,
            "witnesses": [
                {
                    "node": said.node_id,
                    "events": said.size,
                    "at": said.at,
                    "contained": said.is_contained,
                }
                for said in one.witnesses
            ],
            "faults": list(one.faults),
            "unproved": list(one.unproved),
        }
        for one in found.logs
    ]


def check_changed(found: All) -> None:
    """Refuse a log that contradicts what was witnessed of it.

    Raises:
        IntegrityError: There is one.
    """
    told = [f"{one.node_id}: {one.faults[0]}" for one in found.logs if one.faults]
    if told:
        raise IntegrityError(f"an event log was changed. {'; '.join(told)}", hint=_CHANGED_HINT)


def check_proved(found: All) -> None:
    """Refuse to call logs proved that are not.

    Raises:
        UnacknowledgedError: Of a log something was not proved from here.
    """
    told = [f"{one.node_id}: {one.unproved[0]}" for one in found.logs if one.unproved]
    if told:
        raise UnacknowledgedError(
            f"nothing contradicts the event logs, and not all is proved. {'; '.join(told)}",
            hint=_UNPROVED_HINT,
        )


def witness_anew(arguments: argparse.Namespace, session: Session) -> None:
    """Have this node witness another one's log anew, as `events acknowledge --node` says."""
    from strongroom.node import log_witnesses

    known = log_witnesses.forget(
        session.whole_node, arguments.node, session.actor, arguments.reason
    )
    session.out(
        f"{session.node.paths.node_id} forgot {counted(known, 'event')} of {arguments.node} that it had witnessed,"
        " and witnesses that log anew"
    )


def _words(said: "WitnessSaid") -> str:
    proved = {True: "it goes on from there", False: "it does NOT go on from there", None: ""}
    told = proved[said.is_contained] or "not shown as yet whether it goes on from there"
    return f"{said.node_id} witnessed {counted(said.size, 'event')} at {said.at}: {told}"
