"""`tsm status`: whether the node is served, whether its keys are proved now, and which certificates end soon."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.session import Session
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.services.secret_inventory import Ending
    from strongroom.topology.prepared import PreparedNode

_STOPPED, _RUNNING, _DEGRADED, _PREPARED = "STOPPED", "RUNNING", "DEGRADED", "PREPARED"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `status`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} of the node and its services")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per service")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom import bootstrap
    from strongroom.topology import running

    waiting = bootstrap.prepared_node(session.options.data_dir)
    if waiting is not None:
        return _print_prepared(waiting, arguments, session)
    node = session.node
    found = running.find(node.paths)
    problem = _key_problem(session)
    ending = _ending(session)
    word = _STOPPED if found is None else _DEGRADED if problem else _RUNNING
    if arguments.json:
        session.out_json(
            {
                "status": word,
                "node": node.paths.node_id,
                "url": found.url if found else None,
                "keys": problem or "OK",
                "ending": [{"name": one.name, "ends_at": one.ends_at} for one in ending],
            }
        )
    elif arguments.verbose:
        _print_services(session, word, problem)
    else:
        session.out(f"Status: {word}")
    if problem:
        session.note(f"keys: {problem}")
    for one in ending:
        session.note(f"{one.name} ends on {one.ends_at}; {_renewal(one)}")
    return 1 if problem else 0


def _print_prepared(
    waiting: "PreparedNode", arguments: argparse.Namespace, session: Session
) -> int:
    """Of a node that has not joined: it has no service that could run."""
    if arguments.json:
        session.out_json(
            {
                "status": _PREPARED,
                "node": waiting.node_id,
                "installation": waiting.installation_id,
                "server": waiting.server or None,
                "admitted": waiting.is_admitted,
            }
        )
    else:
        session.out(f"Status: {_PREPARED}")
    session.note(f"this node is {waiting.describe()}")
    return 0


def _print_services(session: Session, word: str, problem: str) -> None:
    """The form that public parsers of `tsm status -v` read (requirements 3.7)."""
    session.out(f"{session.node.paths.node_id}: localhost")
    session.out(f"\tStatus: {word}")
    phrase = "is stopped" if word == _STOPPED else "is running"
    session.out(f"\t'Strongroom Web Service 0' {phrase}.")
    session.out(f"\t'Strongroom Backgrounder 0' {phrase}.")
    keys = "is in an error state" if problem else "is running"
    session.out(f"\t'Strongroom Key Management 0' {keys}.")


def _ending(session: Session) -> "tuple[Ending, ...]":
    """Certificates that want to be renewed (P12); where the configuration does not open, the keys' problem says so."""
    try:
        return session.node.secret_inventory.ending()
    except StrongroomError:
        return ()


def _renewal(one: "Ending") -> str:
    if one.origin == "generated":
        return "renew it: tsm security secrets rotate --only certs"
    return f"set a new one: tsm configuration set -k {one.name}"


def _key_problem(session: Session) -> str:
    try:
        status = session.node.kms.status()
    except StrongroomError as error:
        return error.message
    return "" if status.is_ok else status.problems[0]
