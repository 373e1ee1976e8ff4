"""`tsm status`: whether the node is served, whether its keys are proved now, and which certificates and credentials end soon."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.joining.prepared import PreparedNode
    from strongroom.runtime.running import Running
    from strongroom.services.secrets.inventory import Ending

_STOPPED, _RUNNING, _DEGRADED, _PREPARED = "STOPPED", "RUNNING", "DEGRADED", "PREPARED"
_JOINING = "JOINING"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `status`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} of the node and its services")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per service")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import opening
    from strongroom.runtime import running

    waiting = opening.prepared_node(session.options.data_dir)
    if waiting is not None:
        return _print_prepared(waiting, arguments, session)
    node = session.node
    found = running.find(node.paths)
    problem, warnings = _keys(session)
    fingerprint = _fingerprint(session)
    ending = _ending(session)
    trouble = {
        **(running.trouble(found) if found else {}),
        **_https_trouble(session),
        **_log_trouble(session),
        **_state_trouble(session),
    }
    word = _STOPPED if found is None else _DEGRADED if problem or trouble else _RUNNING
    if arguments.json:
        session.out_json(
            {
                "status": word,
                "node": node.paths.node_id,
                "url": found.url if found else None,
                "keys": problem or "OK",
                "fingerprint": fingerprint or None,
                "processes": trouble,
                "ending": [{"name": one.name, "ends_at": one.ends_at} for one in ending],
                "warnings": list(warnings),
            }
        )
    elif arguments.verbose:
        _print_services(session, found, trouble, problem)
    else:
        session.out(f"Status: {word}")
        session.out(f"Keys: {'ERROR' if problem else 'OK'}")
        session.out(f"Address: {found.url if found else '-'}")
        session.out(f"Fingerprint: {fingerprint or '-'}")
    if problem:
        session.note(f"keys: {problem}")
    for name, why in trouble.items():
        session.note(f"{name}: {why}")
    for warning in warnings:
        session.note(f"keys: {warning}")
    for one in ending:
        session.note(f"{one.name} ends on {one.ends_at}; {_renewal(one)}")
    return 1 if problem or trouble else 0


def _print_prepared(
    waiting: "PreparedNode", arguments: argparse.Namespace, session: Session
) -> int:
    """Of a node that has not joined: it has no service that could run."""
    word = _JOINING if waiting.is_joining else _PREPARED
    if arguments.json:
        session.out_json(
            {
                "status": word,
                "node": waiting.node_id,
                "installation": waiting.installation_id,
                "server": waiting.server or None,
                "admitted": waiting.is_admitted,
                "cause": waiting.cause or None,
            }
        )
    else:
        session.out(f"Status: {word}")
    session.note(f"this node is {waiting.describe()}")
    return 0


def _print_services(
    session: Session, found: "Running | None", trouble: "Mapping[str, str]", problem: str
) -> None:
    """The form that public parsers of `tsm status -v` read."""
    session.out(f"{session.node.paths.node_id}: localhost")
    word = _STOPPED if found is None else _DEGRADED if problem or trouble else _RUNNING
    session.out(f"\tStatus: {word}")
    pids = (found.pid, found.backgrounder_pid) if found else (0, 0)
    for name, pid in zip(("Web Service", "Backgrounder"), pids, strict=True):
        phrase = "is in an error state" if name.lower() in trouble else "is running"
        # a server that is starting has not said its number yet; of the other there is none then
        there = found is not None and (pid or name == "Web Service")
        session.out(f"\t'Strongroom {name} 0' {phrase if there else 'is stopped'}.")
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


def _keys(session: Session) -> tuple[str, tuple[str, ...]]:
    """The problems with the keys, and the credentials of their roots that end soon."""
    try:
        status = session.node.kms_store.status()
    except StrongroomError as error:
        return error.message, ()
    return "" if status.is_ok else status.problems[0], status.warnings


def _fingerprint(session: Session) -> str:
    """The fingerprint of the installation; empty where the configuration does not open, of which the keys' problem speaks."""
    try:
        return session.node.identity.fingerprint()
    except StrongroomError:
        return ""


def _https_trouble(session: Session) -> "Mapping[str, str]":
    """Why HTTPS is asked for and cannot be served, if so (findings K18)."""
    from strongroom.services.configuration import https_material

    why = https_material.problem_now(session.node.configuration, session.node.clock)
    return {"https listener": why} if why else {}


def _log_trouble(session: Session) -> "Mapping[str, str]":
    """How the event log contradicts its anchor (docs/format/anchor.md 5); why it cannot be compared, the keys' problem says."""
    try:
        found = session.node.event_log_faults()
    except StrongroomError:
        return {}
    return {"event log": found[0]} if found else {}


def _state_trouble(session: Session) -> "Mapping[str, str]":
    """How all else contradicts its anchors (docs/format/anchor.md 3); why it cannot be compared, the keys' problem says."""
    try:
        found = session.node.state_faults()
    except StrongroomError:
        return {}
    return {"state": found[0]} if found else {}
