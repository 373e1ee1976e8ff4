"""Judges the other end of a connection between nodes: a certificate counts if its node named it, and is active now.

Looked up at each call: a node that was removed a moment ago is refused, whatever its certificate says. Every node has
the key of the authority, and a removed one had it, so the authority's signature alone proves nothing
(format/certificates.md 5).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.crypto import node_certificates
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import PermissionDeniedError, StateError
from strongroom.joining.own_certificate import OwnCertificate
from strongroom.joining.registry import RegisteredNode
from strongroom.joining.shown_certificates import ShownCertificates


class Material(NamedTuple):
    """All that the TLS library needs.

    Attributes:
        shown: The certificate of this node, then that of its authority, and the key: PEM.
        believed: The authorities that this node believes, PEM.
    """

    shown: SecretBytes
    believed: str


@dataclass(frozen=True)
class LinkPorts:
    """The ports of this service.

    Attributes:
        read: Reads the file of this node's certificate.
        nodes: Returns the registry, as it is now.
        shown: Returns what a node shows, as it is now; None if it shows nothing.
        clock: Gives the present.
        installation_id: Returns the installation.
    """

    read: Callable[[], OwnCertificate | None]
    nodes: Callable[[], Mapping[str, RegisteredNode]]
    shown: Callable[[str], ShownCertificates | None]
    clock: Clock
    installation_id: Callable[[], str]


class LinkService:
    """The judgement on the ends of connections."""

    def __init__(self, ports: LinkPorts) -> None:
        self._ports = ports

    def material(self) -> Material:
        """The certificate that this node shows, and the authorities that it believes, as they are now.

        Raises:
            StateError: The node has no certificate as yet.
        """
        own = self._ports.read()
        if own is None or own.present is None:
            raise StateError(
                "this node has no certificate as yet", hint="'strongroom cluster renew' makes one"
            )
        chain = node_certificates.pem((own.present.certificate, *own.authorities))
        key = node_certificates.key_pem(own.present.key).reveal()
        return Material(SecretBytes(chain.encode() + key), node_certificates.pem(own.authorities))

    def authority(self) -> str:
        """The authorities, PEM, the present one first; no secret."""
        return self.material().believed

    def caller(self, certificate: bytes) -> str:
        """The node whose certificate this is, by the registry as it is now.

        Args:
            certificate: The certificate in DER, whose signature and times the TLS library has checked.

        Raises:
            PermissionDeniedError: The certificate is no node's, or its node is not active.
        """
        name = node_certificates.describe(certificate).name
        if name is None or name.installation_id != self._ports.installation_id():
            raise PermissionDeniedError(
                "the certificate is none of a node of this installation",
                hint="each installation has an authority of its own",
            )
        self.check(name.node_id, certificate)
        return name.node_id

    def check(self, node_id: str, certificate: bytes) -> None:
        """Refuse a certificate that is not the one of a node that is active now.

        Raises:
            PermissionDeniedError: The certificate is another node's, or the node did not name it, or is not active.
        """
        described = node_certificates.describe(certificate)
        found = described.name.node_id if described.name else "nobody"
        if found != node_id:
            raise PermissionDeniedError(
                f"the certificate is that of {found}, not of {node_id}",
                hint=f"another node answers at the address of {node_id}: compare the addresses in"
                " 'strongroom cluster check'",
            )
        node = self._ports.nodes().get(node_id)
        if node is None or node.state.value != "active":
            state = "no node of this installation" if node is None else node.state.value
            since = "" if node is None else f" since {node.since}"
            raise PermissionDeniedError(
                f"{node_id} is {state}{since}, and is not spoken with",
                hint="'tsm topology list-nodes -v' shows the nodes and their states",
            )
        shown = self._ports.shown(node_id)
        if shown is None or described.key_digest not in shown.key_digests:
            raise PermissionDeniedError(
                f"{node_id} did not name the certificate {described.fingerprint[:16]}…, which says that it is its",
                hint=f"if the machine of {node_id} was renewed without ZooKeeper, start it with ZooKeeper once;"
                " else somebody has the key of the authority: 'strongroom cluster renew --authority'",
            )

    def describe(self) -> Mapping[str, str]:
        """How this node names itself to another one: its time, for the comparison of clocks."""
        own = self._ports.read()
        ends = "" if own is None or own.present is None else format_utc(own.present.described.ends)
        return {"now": format_utc(self._ports.clock.now()), "certificate_ends": ends}
