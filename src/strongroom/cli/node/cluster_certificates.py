"""`strongroom cluster list-certificates`, `renew`, and the links between nodes in `check`."""

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.node import calls
from strongroom.cli.terminal import asking
from strongroom.cli.terminal.session import Session
from strongroom.clock import format_utc, parse_utc
from strongroom.errors import StateError, StrongroomError, UsageError
from strongroom.system.findings import Finding, bad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.joining.shown_certificates import ShownCertificates

_SKEW: Final = timedelta(minutes=5)
_ANSWER_S: Final = 10.0


def add_verbs(verbs: Any) -> None:
    """Add the commands to the parser of `cluster`."""
    showing = verbs.add_parser(
        "list-certificates", help="the certificates that the nodes show, and their authority"
    )
    showing.add_argument("--json", action="store_true", help="print them as JSON")
    showing.add_argument(
        "--pem",
        action="store_true",
        help="print the certificates of the authority, for --controller-ca",
    )
    showing.set_defaults(run=_show)
    renewing = verbs.add_parser("renew", help="give this node another certificate now")
    renewing.add_argument(
        "--authority", action="store_true", help="make another authority; every node follows"
    )
    renewing.add_argument(
        "--offline",
        action="store_true",
        help="by the files of this node alone, without ZooKeeper and PostgreSQL",
    )
    asking.add_option(renewing)
    renewing.set_defaults(run=_renew)


def _show(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.crypto import node_certificates
    from strongroom.node import certificates

    service = certificates.service(session.whole_node)
    known = service.find_authorities()
    if known is None:
        raise StateError(
            "this installation has no authority as yet",
            hint="a node of a cluster makes one when it is served; a single node with --control-port",
        )
    if arguments.pem:
        session.out(node_certificates.pem(known.certificates).rstrip())
        return 0
    rows = [_authority(one) for one in known.certificates]
    shown = service.shown()
    found = {"authorities": rows, "nodes": [_node(one) for one in shown.values()]}
    if arguments.json:
        session.out_json(found)
        return 0
    for row in rows:
        session.out(f"Authority: {row['fingerprint']}, valid until {row['ends_at']}")
    for node in found["nodes"]:
        session.out(
            f"{node['node']}: valid until {node['ends_at']}, {node['address'] or 'not called from elsewhere'}"
        )
    return 0


def _authority(certificate: bytes) -> dict[str, str]:
    from strongroom.crypto import node_certificates

    found = node_certificates.describe(certificate)
    return {"fingerprint": found.fingerprint, "ends_at": format_utc(found.ends)}


def _node(one: "ShownCertificates") -> dict[str, str]:
    return {"node": one.node_id, **_authority(one.certificates[0]), "address": one.address}


def _renew(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.offline and arguments.authority:
        raise UsageError(
            "--offline renews an authority by itself if it has ended",
            hint="leave --authority out",
        )
    from strongroom.node import certificates

    node = session.whole_node
    if arguments.offline:
        certificates.renew_offline(node, session.note)
        session.out("This node has another certificate.")
        session.note(
            "the other nodes accept it after the next start of this one with ZooKeeper, and follow a new authority then"
        )
        return 0
    service = certificates.service(node)
    if arguments.authority:
        asking.require_of_person(
            arguments,
            session,
            "every node and every tsm elsewhere must believe another authority; go on?",
        )
        made = service.renew_authority(session.actor)
        row = _authority(made.present.certificate)
        session.out(f"Authority: {row['fingerprint']}, valid until {row['ends_at']}")
        session.note(
            "each node shows a certificate of it within minutes; the one before is believed until all do"
        )
        return 0
    service.follow(session.actor, renew=True)
    session.out("This node has another certificate.")
    return 0


def renew_authority_if_any(session: Session) -> None:
    """Make another authority, since a removed machine knows the key of the present one; nothing without one."""
    from strongroom.node import certificates

    service = certificates.service(session.whole_node)
    if service.find_authorities() is not None:
        service.renew_authority(session.actor)
        session.note(
            "the nodes get certificates of another authority: tsm elsewhere must believe it anew"
        )


def links(session: Session) -> "Iterator[Finding]":
    """Call every other node that can be called; one finding for each."""
    if not session.node.paths.services.exists():
        return
    from strongroom.node import certificates

    try:
        shown = certificates.service(session.whole_node).shown()
    except StrongroomError as error:
        yield bad("nodes", "what they show", error.message, error.hint)
        return
    for one in shown.values():
        if one.node_id != session.node.paths.node_id and one.address:
            yield _link(session, one)


def _link(session: Session, one: "ShownCertificates") -> Finding:
    name = f"{one.node_id} {one.address}"
    try:
        found = _hello(session, one)
        theirs = parse_utc(str(found["now"]))
    except StrongroomError as error:
        return bad(name, "control service", error.message, error.hint)
    skew = theirs - session.node.clock.now()
    if abs(skew) > _SKEW:
        return bad(
            name,
            "clock",
            f"the clock of {one.node_id} differs from this machine's by {abs(skew.total_seconds()):.0f} s",
            "set both by a time service: certificates end by these clocks",
        )
    ends = f"TLS 1.3, certificate until {found['certificate_ends']}, version {found['version']}"
    return Finding(name, "control service", ends)


def _hello(session: Session, one: "ShownCertificates") -> dict[str, Any]:
    from strongroom.doors.control import reach

    called = calls.called(session, one)
    answer = called.ask({"verb": reach.HELLO, "arguments": {}}, answer_s=_ANSWER_S)
    return dict(answer["result"])
