"""`strongroom anchor`: compares the state of the node with its anchors, and takes it as it is (docs/format/anchor.md)."""

import argparse

from strongroom.cli.terminal.session import Session
from strongroom.errors import IntegrityError

_HINT = (
    "find out who put it back; if it is to count as it is: strongroom anchor accept --reason TEXT"
)


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `anchor`."""
    parser = argparse.ArgumentParser(
        prog=prog, description=f"compare the state of the node with its {verb}s"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify", help="look whether configuration, keys, repository or event log were put back"
    )
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify)
    accept = commands.add_parser(
        "accept", help="take the state as it is, though something was put back"
    )
    accept.add_argument(
        "--reason", metavar="TEXT", required=True, help="why; kept in the event log"
    )
    accept.set_defaults(run=_accept)
    return parser


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    node = session.node
    found = (*node.state_faults(), *node.event_log_faults())
    if arguments.json:
        session.out_json({"whole": not found, "faults": list(found)})
    for words in found:
        session.note(words)
    if found:
        raise IntegrityError(f"the state was put back or changed: {found[0]}", hint=_HINT)
    if not arguments.json:
        session.out("nothing was put back: the state is that of its anchors, or later")
    return 0


def _accept(arguments: argparse.Namespace, session: Session) -> int:
    told = session.node.accept_state(session.actor, arguments.reason)
    for words in told:
        session.out(f"accepted: {words}")
    if not told:
        session.note("nothing is to be accepted: the state is that of its anchors, or later")
    return 0
