"""`strongroom cluster`: check ZooKeeper and PostgreSQL, and bring a single node to them."""

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.node import cluster_certificates, cluster_passwords, cluster_status
from strongroom.cli.terminal.session import Session
from strongroom.errors import CoordinationError, LinkError, StorageError, UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.node.cluster import Enabled, Given
    from strongroom.services.nodes.enable import Extents
    from strongroom.system.findings import Finding

_NEEDED = (
    "zookeeper",
    "zookeeper_ca",
    "zookeeper_certificate",
    "zookeeper_password_file",
    "postgres",
    "postgres_password_file",
)


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `cluster`."""
    parser = argparse.ArgumentParser(
        prog=prog, description=f"{verb}: the services that several nodes share"
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    checking = verbs.add_parser(
        "check",
        help="prove every link to ZooKeeper and PostgreSQL, of this node or as given, and its object store",
    )
    _add_services(checking)
    checking.add_argument("--json", action="store_true", help="print the findings as JSON")
    checking.set_defaults(run=_check)
    enabling = verbs.add_parser(
        "enable", help="bring this node's entries and rows to ZooKeeper and PostgreSQL"
    )
    _add_services(enabling)
    enabling.add_argument(
        "--dry-run", action="store_true", help="check, and say how much there is; change nothing"
    )
    enabling.set_defaults(run=_enable)
    cluster_passwords.add_verbs(verbs)
    cluster_status.add_verb(verbs)
    cluster_certificates.add_verbs(verbs)
    return parser


def _add_services(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--zookeeper", metavar="H:P,...", help="the servers, named as in their certificates"
    )
    parser.add_argument(
        "--zookeeper-ca", metavar="FILE", help="the authority of the servers' certificates"
    )
    parser.add_argument(
        "--zookeeper-certificate", metavar="FILE", help="this node's certificate and its key, PEM"
    )
    parser.add_argument(
        "--zookeeper-user",
        metavar="NAME",
        default="tsm",
        help="the digest user that owns the tree; default %(default)s",
    )
    parser.add_argument(
        "--zookeeper-password-file", metavar="FILE", help="file with that user's password"
    )
    parser.add_argument(
        "--postgres",
        metavar="DSN",
        help="host=... port=... dbname=... user=... sslrootcert=FILE, without a password",
    )
    parser.add_argument(
        "--postgres-password-file", metavar="FILE", help="file with the database user's password"
    )


def _given(arguments: argparse.Namespace) -> "Given | None":
    """The services that the options name; None if no option names one."""
    from strongroom.cli.named_files import small_files
    from strongroom.crypto.secret import SecretBytes
    from strongroom.node.cluster import Given

    missing = [name for name in _NEEDED if getattr(arguments, name) is None]
    if len(missing) == len(_NEEDED):
        return None
    if missing:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise UsageError(f"{words} is needed", hint="name both services with all that they need")

    def password(file: str, what: str) -> SecretBytes:
        return SecretBytes(
            small_files.read_value(file, what, limit=cluster_passwords.LONGEST_PASSWORD)
        )

    return Given(
        hosts=arguments.zookeeper,
        ca=Path(arguments.zookeeper_ca),
        certificate=Path(arguments.zookeeper_certificate),
        user=arguments.zookeeper_user,
        zookeeper_password=password(
            arguments.zookeeper_password_file, "the password for ZooKeeper"
        ),
        postgres=arguments.postgres,
        postgres_password=password(arguments.postgres_password_file, "the password for PostgreSQL"),
    )


def _check(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import cluster

    given = _given(arguments)
    findings = cluster.check(session.whole_node, given)
    if given is None:
        findings = chain(findings, cluster_certificates.links(session))
    if arguments.json:
        found = list(findings)
        session.out_json(
            {
                "ok": all(one.is_ok for one in found),
                "checks": [
                    {
                        "link": one.link,
                        "check": one.check,
                        "ok": one.is_ok,
                        "detail": one.detail,
                        "hint": one.hint,
                    }
                    for one in found
                ],
            }
        )
        return _code(found)
    return _code(_told(session, findings))


def _told(session: Session, findings: "Iterable[Finding]") -> "list[Finding]":
    """The findings, each shown as soon as it is made."""
    found = []
    for one in findings:
        session.out(f"{'OK   ' if one.is_ok else 'ERROR'}  {one.link}, {one.check}: {one.detail}")
        if one.hint:
            session.out(f"       {one.hint}")
        found.append(one)
    return found


def _code(found: "list[Finding]") -> int:
    bad = [one for one in found if not one.is_ok]
    if not bad:
        return 0
    links = {one.link.partition(" ")[0] for one in bad}
    if "zookeeper" in links:
        return CoordinationError.exit_code
    is_stored = links.isdisjoint({"postgres", "object"})
    return LinkError.exit_code if is_stored else StorageError.exit_code


def _enable(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import cluster

    given = _given(arguments)
    if given is None:
        raise UsageError("--zookeeper and --postgres are needed", hint="see --help")
    node = session.whole_node
    move = cluster.Move(node, given)
    if not move.is_committed:
        _require_in_order(list(cluster.check(node, given)))
        if arguments.dry_run:
            _show(session, move.plan())
            session.note("nothing was changed (--dry-run)")
            return 0
    elif arguments.dry_run:
        session.note("the services are in force; the rest of an interrupted run is to be done")
        return 0
    with cluster.alone(node):
        done = move.enable(session.actor, session.note)
    _tell(session, done)
    return 0


def _require_in_order(found: "list[Finding]") -> None:
    """Refuse to begin where a link is not in order.

    Raises:
        CoordinationError: A link to ZooKeeper is not.
        StorageError: A link to PostgreSQL is not.
    """
    bad = next((one for one in found if not one.is_ok), None)
    if bad is None:
        return
    kind = CoordinationError if bad.link.startswith("zookeeper") else StorageError
    raise kind(
        f"{bad.link}, {bad.check}: {bad.detail}; nothing was changed",
        hint=bad.hint or "'strongroom cluster check' with the same options shows every link",
    )


def _show(session: Session, extents: "Extents") -> None:
    session.out(f"Entries for ZooKeeper: {extents.entries}, {counted(extents.entry_bytes, 'byte')}")
    session.out(f"Rows for PostgreSQL: {extents.rows}, {counted(extents.row_bytes, 'byte')}")


def _tell(session: Session, done: "Enabled") -> None:
    if done.extents is not None:
        _show(session, done.extents)
    else:
        session.note("an interrupted run was finished")
    for path in done.aside:
        session.note(f"what the node used until now is kept as {path}")
    session.out("This node is one of a cluster now.")
