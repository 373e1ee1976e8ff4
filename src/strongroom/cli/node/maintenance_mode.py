"""`tsm maintenance enter|leave|status`: no client is served and no job worked on, and every node says when it is so (b14)."""

import argparse
import time
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.terminal import asking, parsing
from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError, UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.joining.maintenance import Maintenance
    from strongroom.services.nodes.maintenance import MaintenanceService, NodeStanding

WITHIN_S: Final = 60
"""How long requests and extracts under way have by default."""
_MARGIN_S: Final = 30
"""How much longer a command waits by default than the nodes do."""
_POLL_S: Final = 0.3


def add_verbs(verbs: Any) -> None:
    """Add the parsers of `enter`, `leave` and `status`."""
    entering = verbs.add_parser(
        "enter", help="turn clients away, let what is under way end, and wait until every node has"
    )
    entering.add_argument("--reason", required=True, metavar="TEXT", help="for people and the log")
    add_bounds(entering)
    entering.add_argument(
        "--without-node",
        action="append",
        default=[],
        metavar="N",
        help="do not wait for this node, which is stopped; may be given again",
    )
    _add_json(entering)
    asking.add_option(entering)
    entering.set_defaults(run=_enter)
    leaving = verbs.add_parser("leave", help="serve clients and work on jobs again")
    leaving.set_defaults(run=_leave)
    looking = verbs.add_parser("status", help="whether there is a maintenance, and who has drained")
    _add_json(looking)
    looking.set_defaults(run=_status)


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """Add `--within` and `--wait`."""
    parser.add_argument(
        "--within",
        type=parsing.number(0, 86_400),
        default=WITHIN_S,
        metavar="S",
        help="seconds for requests and extracts under way to end; default %(default)s",
    )
    parser.add_argument(
        "--wait",
        type=parsing.number(0, parsing.LONGEST_WAIT_S),
        metavar="S",
        help=f"seconds to wait until that is so; default: {_MARGIN_S} more than --within",
    )


def wait_s(given: int | None, found: "Maintenance") -> int:
    """The seconds that a command waits for the nodes."""
    return found.within_s + _MARGIN_S if given is None else given


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def as_json(found: "Maintenance | None") -> dict[str, object] | None:
    """A maintenance as scripts see it."""
    if found is None:
        return None
    return {
        "epoch": found.epoch,
        "reason": found.what,
        "by": found.by,
        "node": found.node,
        "since": found.since,
        "within_s": found.within_s,
    }


def _enter(arguments: argparse.Namespace, session: Session) -> int:
    reason = arguments.reason.strip()
    if not reason:
        raise UsageError("a maintenance has a reason", hint="such as: --reason 'new disks'")
    service = session.node.maintenance
    before = service.present()
    if before is None:
        asking.require_of_person(
            arguments,
            session,
            "no client is served, and no job worked on, until 'tsm maintenance leave'; go on?",
        )
    found = service.enter(
        session.actor, reason, within_s=arguments.within, without=arguments.without_node
    )
    if before is not None:
        session.note(f"the installation is in maintenance already, {before.words}")
    nodes = awaited(session, service, found, wait_s(arguments.wait, found))
    return _tell(arguments, session, found, nodes)


def awaited(
    session: Session, service: "MaintenanceService", found: "Maintenance", most_s: float
) -> "tuple[NodeStanding, ...]":
    """The nodes, when none of those that are alive drains any more, or the time is over; each that has is told.

    Whoever stops waiting is told what goes on all the same: no client is served until somebody ends it (findings D11).
    """
    try:
        return _awaited(session, service, found, most_s)
    except (KeyboardInterrupt, StrongroomError):
        session.note(service.goes_on)
        raise


def _awaited(
    session: Session, service: "MaintenanceService", found: "Maintenance", most_s: float
) -> "tuple[NodeStanding, ...]":
    end, told = time.monotonic() + most_s, set[str]()
    while True:
        nodes = service.standing(found)
        for one in nodes:
            if one.state == "drained" and one.node_id not in told:
                told.add(one.node_id)
                cut = f"; {counted(one.cut, 'request')} did not end in time" if one.cut else ""
                session.note(f"{one.node_id} has drained{cut}")
        if not any(one.state == "draining" for one in nodes) or time.monotonic() >= end:
            return nodes
        time.sleep(_POLL_S)


def _leave(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    ended = session.node.maintenance.leave(session.actor)
    if ended is None:
        session.out("There is no maintenance.")
    else:
        session.out(f"The maintenance has ended; it went on {ended.words}")
    return 0


def _status(arguments: argparse.Namespace, session: Session) -> int:
    found = session.node.maintenance.present()
    if found is not None:
        return _tell(arguments, session, found, session.node.maintenance.standing(found))
    if arguments.json:
        session.out_json({"maintenance": None, "nodes": []})
    else:
        session.out("There is no maintenance.")
    return 0


def _tell(
    arguments: argparse.Namespace,
    session: Session,
    found: "Maintenance",
    nodes: "tuple[NodeStanding, ...]",
) -> int:
    """Print the maintenance and its nodes; 1 if a node serves clients still, or may."""
    if arguments.json:
        shown = [{**one._asdict(), "through": one.is_through} for one in nodes]
        session.out_json({"maintenance": as_json(found), "nodes": shown})
    else:
        session.out(f"In maintenance {found.words}")
        for one in nodes:
            session.out(f"  {one.node_id}: {words(one)}")
    left = [one for one in nodes if not one.is_through]
    for one in left:
        session.note(f"{one.node_id} {_trouble(one)}")
    return 1 if left else 0


def words(one: "NodeStanding") -> str:
    """How a node stands, for people."""
    if one.at:
        return f"drained at {one.at}, {counted(one.cut, 'request')} cut off"
    return f"{one.state.value}, not waited for" if one.is_excused else one.state.value


def _trouble(one: "NodeStanding") -> str:
    if one.state == "draining":
        return "has not drained: it serves what is under way; 'tsm maintenance status' says when it has"
    return (
        "is dark: it is stopped, or cut off and may serve what it has in memory;"
        f" start it, or, if you know that it is stopped: --without-node {one.node_id}"
    )
