"""`tsm status`: whether the node is served, whether its keys are proved now, and which certificates and credentials end soon."""

import argparse
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.keys import node_states
from strongroom.cli.node import maintenance_mode, node_blocks
from strongroom.cli.terminal.session import Session
from strongroom.errors import CoordinationError, StrongroomError
from strongroom.runtime.running import OBJECT_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.cli.keys.node_states import Asked
    from strongroom.joining.maintenance import Maintenance
    from strongroom.joining.prepared import PreparedNode
    from strongroom.runtime.running import Running
    from strongroom.services.nodes.judging import Judged
    from strongroom.services.secrets.inventory import Ending

_STOPPED, _RUNNING, _DEGRADED, _PREPARED = "STOPPED", "RUNNING", "DEGRADED", "PREPARED"
_JOINING = "JOINING"
_OF_STORE = node_blocks.line(OBJECT_STORE, "")[:-1]
_UNPROVED = ("ERROR", "STALE")
"""The states of nodes that are there, and have not proved their keys."""


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `status`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} of the node and its services")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per service")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")
    node_states.add_option(parser)
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import opening
    from strongroom.runtime import running

    waiting = opening.prepared_node(session.options.data_dir)
    if waiting is not None:
        return _print_prepared(waiting, arguments, session)
    # first: without ZooKeeper nothing that this node remembers is shown as if it were now
    asked = node_states.ask(arguments, session)
    node = session.node
    found = running.find(node.paths)
    # the server of a node in a cluster has just proved its keys, perhaps by an identity that this command does not have
    is_proved = found is not None and any(
        one.report for one in asked.nodes if one.node_id == node.paths.node_id
    )
    problem, warnings = _keys(session, is_proved=is_proved)
    # asked for only where it is shown; `--local-only` waits for nobody else
    is_shown = (arguments.json or arguments.verbose) and not arguments.local_only
    controller = _controller(session) if is_shown else ""
    maintenance = _maintenance(session)
    trouble = {**_trouble(session, found, maintenance), **_store_trouble(asked, node.paths.node_id)}
    whole = _Whole(node.paths.node_id, asked, found, problem, trouble, controller)
    fingerprint = _fingerprint(session)
    ending = _ending(session)
    if arguments.json:
        session.out_json(
            {
                "status": whole.word,
                "node": node.paths.node_id,
                "url": (found.url or None) if found else None,
                "controller": whole.controller or None,
                "maintenance": maintenance_mode.as_json(maintenance),
                "keys": whole.keys or "OK",
                "fingerprint": fingerprint or None,
                "processes": whole.trouble,
                "ending": [{"name": one.name, "ends_at": one.ends_at} for one in ending],
                "warnings": list(warnings),
                **({"nodes": list(map(_node_json, asked.nodes))} if asked.nodes else {}),
            }
        )
    elif arguments.verbose:
        _print_services(session, whole)
    else:
        session.out(f"Status: {whole.word}")
        session.out(f"Keys: {'ERROR' if whole.keys else 'OK'}")
        session.out(f"Address: {(found.url or '-') if found else '-'}")
        session.out(f"Fingerprint: {fingerprint or '-'}")
    for words in whole.problems:
        session.note(words)
    for warning in warnings:
        session.note(f"keys: {warning}")
    for one in ending:
        session.note(f"{one.name} ends on {one.ends_at}; {_renewal(one)}")
    return 1 if whole.problems else 0


class _Whole(NamedTuple):
    """The node, and the nodes around it.

    Attributes:
        node_id: The node.
        asked: All nodes of its cluster.
        found: The server of the node, if it is served.
        problem: The problem with its keys, by this process; empty if there is none.
        trouble: All else that is wrong with it, by name.
        controller: The node that is the controller; empty if none is.
    """

    node_id: str
    asked: "Asked"
    found: "Running | None"
    problem: str
    trouble: "Mapping[str, str]"
    controller: str

    @property
    def others(self) -> "tuple[Judged, ...]":
        """The other nodes."""
        return tuple(one for one in self.asked.nodes if one.node_id != self.node_id)

    @property
    def own_keys(self) -> str:
        """The problem with the keys of this node, by this process or by the one that serves it."""
        own = (one for one in self.asked.nodes if one.node_id == self.node_id)
        return self.problem or next((one.cause for one in own if one.state in _UNPROVED), "")

    @property
    def keys(self) -> str:
        """The first problem with the keys of any node."""
        bad = (f"{one.node_id}: {one.cause}" for one in self.others if one.state in _UNPROVED)
        return self.own_keys or self.asked.problem or next(bad, "")

    @property
    def own_word(self) -> str:
        """The state of this node."""
        if self.found is None:
            return _STOPPED
        is_bad = any(one.is_bad for one in self.asked.nodes if one.node_id == self.node_id)
        return _DEGRADED if is_bad or self.own_keys or self.trouble else _RUNNING

    @property
    def word(self) -> str:
        """The state of all."""
        # a node that is being brought in is none of those that should run
        there = [one for one in self.others if one.is_bad or one.state != _JOINING]
        words = {self.own_word, *map(node_blocks.word, there)}
        return words.pop() if len(words) == 1 else _DEGRADED

    @property
    def problems(self) -> list[str]:
        """A sentence on everything that is not as it should be."""
        found = [f"keys: {self.problem}"] if self.problem else []
        found += [f"{name}: {why}" for name, why in self.trouble.items()]
        found += self.asked.problems
        for one in self.others:
            found += [f"{one.node_id}: {words}" for words in node_blocks.trouble(one).values()]
        return found


def _node_json(one: "Judged") -> dict[str, object]:
    processes = one.report.processes if one.report else {}
    word = {"status": node_blocks.word(one), "processes": dict(processes)}
    return {**node_states.as_json(one), **word}


def _maintenance(session: Session) -> "Maintenance | None":
    """The maintenance of all nodes, or of this one; None where the configuration does not open, as the keys' problem says."""
    try:
        node = session.node
        return node.maintenance.present() or node.drain_of(node.paths.node_id).present()
    except StrongroomError:
        return None


def _trouble(
    session: Session, found: "Running | None", maintenance: "Maintenance | None"
) -> "Mapping[str, str]":
    from strongroom.runtime import running

    told = maintenance.words if maintenance else ""
    return {
        **({"maintenance": told} if told else {}),
        **(running.trouble(found) if found else {}),
        **_https_trouble(session),
        **_log_trouble(session),
        **_state_trouble(session),
    }


def _store_trouble(asked: "Asked", node_id: str) -> "Mapping[str, str]":
    """How this node, by its report, does not reach the object store with its extracts."""
    own = (node_blocks.trouble(one) for one in asked.nodes if one.node_id == node_id)
    return {name: words for told in own for name, words in told.items() if name == OBJECT_STORE}


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


def _print_services(session: Session, whole: _Whole) -> None:
    """The form that public parsers of `tsm status -v` read."""
    found, keys = whole.found, whole.own_keys
    blocks = {one.node_id: list(node_blocks.lines(one)) for one in whole.asked.nodes}
    own = [f"{whole.node_id}: localhost", f"\tStatus: {whole.own_word}"]
    backgrounders = found.backgrounders if found else {"backgrounder": 0}
    placed = {"web service": bool(found and found.has_web), **backgrounders}
    for name, there in placed.items():
        phrase = node_blocks.IN_ERROR if name in whole.trouble else node_blocks.RUNNING
        if (
            name == "web service"
            and "maintenance" in whole.trouble
            and phrase == node_blocks.RUNNING
        ):
            phrase = node_blocks.DEGRADED
        own.append(node_blocks.line(name, phrase if there else node_blocks.STOPPED))
    own.append(
        f"\t'Strongroom Key Management 0' {node_blocks.IN_ERROR if keys else node_blocks.RUNNING}."
    )
    own += [line for line in blocks.get(whole.node_id, ()) if line.startswith(_OF_STORE)]
    blocks[whole.node_id] = own
    for node_id, lines in blocks.items():
        is_it = node_id == whole.controller
        session.out("\n".join([*lines, *node_blocks.of_controller(is_it=is_it)]))


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


def _keys(session: Session, *, is_proved: bool) -> tuple[str, tuple[str, ...]]:
    """The problems with the keys, and the credentials of their roots that end soon.

    Args:
        session: The session.
        is_proved: Whether the node itself tells of its keys, so that no root is to be asked here.
    """
    store = session.node.kms_store
    try:
        status = store.last_status() if is_proved else store.status()
    except StrongroomError as error:
        return error.message, ()
    return "" if status.is_ok or is_proved else status.problems[0], status.warnings


def _controller(session: Session) -> str:
    """The controller; empty if none is, or if no keystore opens the passwords for ZooKeeper, of which the keys' problem speaks.

    Raises:
        CoordinationError: ZooKeeper does not answer.
    """
    try:
        return session.node.present_controller()
    except CoordinationError:
        raise
    except StrongroomError:
        return ""


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
