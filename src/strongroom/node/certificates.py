"""Composes the certificates between nodes: the service, its duty, the judgement on callers, and a renewal without services.

Beside the composition root, which opens nodes; when what is renewed, is `services.nodes.certificates`' business.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from strongroom.clock import format_utc
from strongroom.crypto import node_certificates
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.joining import authorities, own_certificate, own_keys
from strongroom.node.opening import Node
from strongroom.runtime import duties
from strongroom.runtime.duties import Duty
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey
from strongroom.services.nodes.certificates import (
    CertificatePorts,
    CertificateService,
    Lives,
    new_pair,
)
from strongroom.services.nodes.links import LinkPorts, LinkService
from strongroom.system import hosts

if TYPE_CHECKING:
    from strongroom.joining.node_keys import NodeKeys
    from strongroom.joining.own_certificate import OwnCertificate

EVERY_S: Final = 15.0
"""Seconds between two looks at whether a certificate is due, or the authority is another one."""
_NAME: Final = "renewal of certificates"


def service(node: Node, lives: Lives | None = None) -> CertificateService:
    """The certificate of a node, and the authority of its installation."""
    return CertificateService(
        CertificatePorts(
            configuration=node.configuration,
            coordinator=node.coordinator,
            peers=node.peers,
            event_log=node.events,
            clock=node.clock,
            read=partial(own_certificate.find, node.paths),
            write=partial(own_certificate.write, node.paths),
            keys=lambda: _keys(node),
            node_id=node.paths.node_id,
            hosts=_own_names(),
            lives=lives or Lives(),
        )
    )


def links(node: Node) -> LinkService:
    """The judgement on who is at the other end of a connection."""
    return LinkService(
        LinkPorts(
            read=partial(own_certificate.find, node.paths),
            nodes=node.peers.all,
            shown=service(node).shown_by,
            clock=node.clock,
            installation_id=lambda: node.configuration.document().installation_id,
        )
    )


@contextmanager
def kept(node: Node, actor: str, address: str) -> Iterator[None]:
    """Keep the certificate of a serving node valid, and what it says of it true, until the end of the block.

    Args:
        node: The node.
        actor: The process, for the events.
        address: The place of its control service; empty if it has none.
    """
    ours = service(node)
    duty = Duty(_NAME, EVERY_S, lambda: ours.follow(actor, address))
    with duties.kept([duty]) as running:
        stop = node.configuration.on_change(lambda: running.hasten(_NAME))
        try:
            yield
        finally:
            stop()


def renew_offline(node: Node, report: Callable[[str], None]) -> "OwnCertificate":
    """Renew the certificate of this node, and an authority that has ended, by nothing but the files of this machine.

    The other nodes learn of both at the next start of this node with its services.

    Args:
        node: The node; of its services none is asked.
        report: Is told each step.

    Raises:
        StateError: The node never had a certificate.
        KeystoreError: The keystore of this node does not open the authority.
    """
    own = own_certificate.find(node.paths)
    if own is None or not own.sealed_authority:
        raise StateError(
            f"{node.paths.certificate} has no authority: this node never had a certificate",
            hint="start the node with ZooKeeper: it gets one by itself",
        )
    installation, open_key = own.name.installation_id, node.authority.open_local
    key_id = committed.key_id_of(own.sealed_authority)
    key = ValueKey(installation, key_id, open_key(key_id))
    known = authorities.parse(SecretBytes(key.open(authorities.PARAMETER, own.sealed_authority)))
    now = node.clock.now()
    if not node_certificates.describe(known.present.certificate).holds(now):
        known = known.renewed(node_certificates.new_authority(installation, now))
        sealed = key.seal(authorities.PARAMETER, known.serialize().reveal())
        own = own._replace(authorities=known.certificates, sealed_authority=sealed)
        report(f"new authority: {node_certificates.fingerprint(known.present.certificate)}")
    signing = node_certificates.Issuing(known.present, now)
    made = new_pair(signing, own.name, _own_names())
    own = own._replace(present=made, coming=None)
    own_certificate.write(node.paths, own)
    report(f"new certificate of {own.name.node_id}, valid until {format_utc(made.described.ends)}")
    return own


def _keys(node: Node) -> "NodeKeys | None":
    return None if node.outside is None else own_keys.read(node.paths)


def _own_names() -> tuple[str, ...]:
    """The names of this machine that a certificate can have."""
    found = []
    for name in ("localhost", socket.gethostname()):
        try:
            found.append(hosts.host(name))
        except hosts.HostError:
            continue
    return tuple(dict.fromkeys(found))
