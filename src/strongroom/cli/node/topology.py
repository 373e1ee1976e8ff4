"""`tsm topology`: the nodes, their roles, and the file that brings a new one the keys of the configuration (C-21, E-16)."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.named_files import output_file, sealing
from strongroom.cli.node import cluster_certificates, drains, maintenance_mode, set_process
from strongroom.cli.secrets import rotation
from strongroom.cli.terminal import asking, columns
from strongroom.cli.terminal.session import Session
from strongroom.clock import format_utc
from strongroom.errors import FormatError, UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.joining.registry import RegisteredNode
    from strongroom.joining.software import InForce, Software


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `topology`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: the nodes")
    nouns = parser.add_subparsers(required=True, metavar="NOUN")
    listing = nouns.add_parser("list-nodes", help="the nodes of the installation")
    listing.add_argument(
        "-v", "--verbose", action="store_true", help="with state, keys and services"
    )
    listing.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_option_of_names(listing)
    listing.set_defaults(run=_list)
    removing = nouns.add_parser(
        "remove-nodes", help="take nodes out, with the passwords and keys that they know"
    )
    removing.add_argument(
        "-n",
        "--nodes",
        required=True,
        metavar="NODES",
        help="ids of nodes, with commas between them",
    )
    removing.add_argument(
        "--force",
        action="store_true",
        help="also a node that does not run, or whose disk holds extracts",
    )
    removing.add_argument(
        "--keep-keys",
        action="store_true",
        help="do not regenerate the keys, which the removed machine knows",
    )
    asking.add_option(removing)
    removing.set_defaults(run=_remove)
    role = nouns.add_parser("set-node-role", help="say which jobs a node works on")
    role.add_argument("-n", "--nodes", required=True, metavar="NODE", help="the node's id")
    role.add_argument(
        "-r",
        "--role",
        required=True,
        metavar="ROLE",
        help="all-jobs, extract-refreshes, or no-extract-refreshes: no job that encrypts or decrypts",
    )
    role.set_defaults(run=_set_role)
    set_process.add_verb(nouns)
    drains.add_verbs(nouns)
    nodes = nouns.add_parser("nodes", help="nodes of the installation")
    verbs = nodes.add_subparsers(required=True, metavar="VERB")
    making = verbs.add_parser(
        "get-bootstrap-file", help="write what a new node needs: it holds the master key"
    )
    making.add_argument(
        "-f",
        "--file",
        required=True,
        metavar="FILE",
        help="a file, replaced if it is there, or a named pipe",
    )
    sealing.add_seal_options(making)
    making.add_argument(
        "-nec",
        "--no-embedded-credential",
        action="store_true",
        help="without what admits the node",
    )
    making.add_argument(
        "--server",
        metavar="URL",
        default="",
        help="where the new node reaches this one; without it, where this one serves now",
    )
    making.set_defaults(run=_make)
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.runtime.processes import SERVICES
    from strongroom.services.jobs.processes import Counts

    nodes = list(session.node.peers.all().values())
    roles = session.node.job_roles.all()
    seen = _seen(session) if nodes and (arguments.json or arguments.verbose) else None
    counts = session.node.node_processes.all()
    controller = session.node.present_controller()
    drained = drains.known(session, roles)
    if arguments.json:
        shown = [_json(one, seen) for one in nodes if seen] or [_alone(session)]
        session.out_json(
            [
                {
                    **one,
                    "role": roles.get(name),
                    "processes": counts[name]._asdict() if name in counts else None,
                    "controller": name == controller,
                    "drained": maintenance_mode.as_json(drained.get(name)),
                }
                for name, one in ((str(one["node"]), one) for one in shown)
            ]
        )
        return 0
    lines_of = {one.node_id: _lines(one, seen) if seen else () for one in nodes}
    for node_id, lines in lines_of.items() or [(session.node.paths.node_id, ())]:
        session.out(node_id)
        role, special = roles.get(node_id), []
        if role is not None and not role.is_usual:
            special.append(f"Role: {role}")
        # of a single node only what was set: whoever reads its services finds them where they always were
        if node_id in counts and (nodes or counts[node_id] != Counts()):
            told = (f"{name} {count}" for name, count in counts[node_id]._asdict().items())
            special.append(f"Processes: {', '.join(told)}")
        if node_id in drained:
            special.append(f"Drained: {drained[node_id].words}")
        if nodes and node_id == controller:
            special.append("Controller: yes")
        for line in (*lines, *special, *SERVICES) if arguments.verbose else ():
            session.out(f"  {line}")
    return 0


def _remove(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import removing

    names = [name.strip() for name in arguments.nodes.split(",") if name.strip()]
    if not names:
        raise UsageError("-n names no node", hint="such as: -n node2,node3")
    known = ", with the keys that they know" if not arguments.keep_keys else ""
    asking.require_of_person(
        arguments, session, f"{', '.join(names)} will be taken out for good{known}; go on?"
    )
    done = removing.remove(
        session.whole_node,
        session.actor,
        names,
        session.note,
        force=arguments.force,
        drain=lambda alive: drains.before_removal(session, alive),
    )
    session.out(f"Removed: {', '.join(names)}.")
    session.note(
        "ZooKeeper and PostgreSQL refuse the passwords that they know;"
        f" {counted(done.ended, 'session')} with PostgreSQL ended"
    )
    for name in done.running:
        session.note(
            f"warning: the processes of {name} run still, with keys in their memory: stop them there"
        )
    if arguments.keep_keys:
        session.note(
            "a removed machine knows the master key, the configuration keys and, from its memory, the RMK;"
            " with a copy of the configuration it opens every secret until you run"
            " 'tsm security regenerate-internal-tokens'"
        )
        return 1 if done.running else 0
    code = rotation.regenerate_all(session)
    cluster_certificates.renew_authority_if_any(session)
    session.note(
        "keys and secrets were made anew; extracts stay under MEKs that a removed machine may know"
        " until they are re-encrypted on every site: strongroom extracts reencrypt --site SITE --wait"
    )
    return code or (1 if done.running else 0)


def _set_role(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.jobs.roles import NodeRole

    try:
        role = NodeRole(arguments.role)
    except ValueError:
        raise UsageError(
            f"{arguments.role[:80]!r} is no role of a node",
            hint=f"one of: {', '.join(NodeRole)}",
        ) from None
    session.node.job_roles.set(session.actor, arguments.nodes, role)
    session.out(f"{arguments.nodes}: {role}")
    if not any(one.works_on_extracts for one in session.node.job_roles.all().values()):
        session.note("no node works on jobs now: they wait for one with the role extract-refreshes")
    return 0


def _alone(session: Session) -> dict[str, object]:
    from strongroom.runtime.processes import SERVICES

    return {"node": session.node.paths.node_id, "services": list(SERVICES)}


class _Seen(NamedTuple):
    installation_id: str
    ages_s: Mapping[str, int]
    software: "Mapping[str, Software]"
    in_force: "InForce"

    def version(self, one: "RegisteredNode") -> str | None:
        """The release that serves the node, as the node said itself; None if it has not."""
        return self.software[one.node_id].version if one.node_id in self.software else None

    def software_words(self, one: "RegisteredNode") -> str:
        """The same for people, with what that release may not do."""
        found = self.software.get(one.node_id)
        return found.words(self.in_force) if found is not None else "-"

    def log_key(self, one: "RegisteredNode") -> str:
        """The key that verifies the node's log, as `strongroom events checkpoint` prints it there."""
        from strongroom.eventlog.notes import Verifier
        from strongroom.services.keys import log_signing

        name = log_signing.origin(self.installation_id, one.node_id)
        return Verifier(name, one.log_key).text if one.log_key else ""


def _seen(session: Session) -> _Seen:
    from strongroom.node import cluster_nodes, releases

    installation_id = session.node.configuration.document().installation_id
    ages_s = cluster_nodes.report_ages(session.whole_node)
    return _Seen(installation_id, ages_s, *releases.known(session.whole_node))


def _json(one: "RegisteredNode", seen: _Seen) -> dict[str, object]:
    from strongroom.runtime.processes import SERVICES

    return {
        "node": one.node_id,
        "services": list(SERVICES),
        "state": one.state.value,
        "since": one.since,
        "fingerprint": one.keys.fingerprint,
        "log_key": seen.log_key(one),
        "report_age_s": seen.ages_s.get(one.node_id),
        "software": seen.version(one),
        "cause": one.cause,
    }


def _lines(one: "RegisteredNode", seen: _Seen) -> tuple[str, ...]:
    age_s = seen.ages_s.get(one.node_id)
    cause = (f"Cause: {one.cause}",) if one.cause else ()
    return (
        f"State: {one.state.value}",
        f"Since: {one.since}",
        f"Fingerprint: {one.keys.fingerprint}",
        *cause,
        f"Log key: {seen.log_key(one) or '-'}",
        f"Last report: {'-' if age_s is None else f'{age_s} s ago'}",
        f"Software: {seen.software_words(one)}",
    )


def _make(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.runtime import running
    from strongroom.services.nodes.admit import BootstrapRequest

    target, node = Path(arguments.file), session.node
    to = sealing.seal_from(arguments)
    if str(target) == "-":
        raise UsageError("name a file or a named pipe: keys are not printed")
    output_file.check_target(target)
    found = running.find(node.paths)
    server = _address(arguments.server) or (found.url if found else "")
    wanted = BootstrapRequest(
        str(target.absolute()), server, not arguments.no_embedded_credential, not to.is_empty
    )
    made = node.topology.make_bootstrap_file(session.actor, wanted)
    text = made.text.reveal()
    if to.is_empty:
        session.note(
            f"warning: {target} gets the master key in the clear; seal it with --recipient or"
            " --passphrase-file"
        )
    else:
        from strongroom.crypto import age

        text = age.seal(text, to)
    try:
        output_file.write_private(target, text)
    except BaseException:
        # also when the person gives up while a pipe has no reader: nobody may hold what was written
        node.topology.withdraw(session.actor, made.file)
        raise
    until = format_utc(made.file.expires_at)
    session.note(f"bootstrap file of {made.file.node_id} written to {target}, valid until {until}")
    session.note(
        f"fingerprint of the installation: {made.file.fingerprint}; compare it on the new node:"
        " initialize-tsm -b FILE --fingerprint F"
    )
    if made.file.credential is None:
        session.note("it holds no credential: an administrator admits the node")
    return 0


def _address(given: str) -> str:
    from strongroom.joining import bootstrap_file

    try:
        return bootstrap_file.check_server(given)
    except FormatError as error:
        raise UsageError(f"--server {given[:200]!r}: {error.message}") from error
