"""The certificates that a node shows, in its own words: an entry for each node (docs/format/certificates.md 4); pure.

Each node has the key of the authority, and so could make a certificate for any other. Therefore a certificate counts
for a node only if that node itself has named it, under its own signature.
"""

from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Kind, to_base64
from strongroom.crypto import node_certificates, said
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining.bootstrap_file import check_node_id

PREFIX: Final = "topology/certificates/"
FORMAT: Final = "strongroom-shown-certificates-1"
_MOST: Final = 2
_KIND = Kind("the entry of a node's certificates", UTF_8, most=16 << 10)


class ShownCertificates(NamedTuple):
    """The certificates of a node, and where the node answers.

    Attributes:
        node_id: The node.
        certificates: A certificate or two in DER, the newest first.
        address: `host:port` of its control service; empty if it has none.
        at: The time, as documents have it.
    """

    node_id: str
    certificates: tuple[bytes, ...]
    address: str
    at: str

    @property
    def key_digests(self) -> frozenset[str]:
        """SHA-256 of each public key.

        Raises:
            FormatError: The bytes are no certificate.
        """
        return frozenset(node_certificates.describe(one).key_digest for one in self.certificates)

    def says_the_same(self, other: "ShownCertificates | None") -> bool:
        """Whether another entry says the same, at whatever time."""
        return other is not None and other._replace(at=self.at) == self

    def signed(self, installation_id: str, key: SigningKey) -> bytes:
        """The bytes of the entry, signed by the node's own key."""
        statement = _said(installation_id, self.node_id, _KIND.dumps(self._members()))
        signature = to_base64(statement.signature(key))
        return _KIND.dumps({**self._members(), "signature": signature})

    def _members(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "node_id": self.node_id,
            "shown": [to_base64(one) for one in self.certificates],
            "address": self.address,
            "at": self.at,
        }


def parse(data: bytes, installation_id: str, node_id: str, public: bytes) -> ShownCertificates:
    """The content of a node's entry, after its signature was checked.

    Args:
        data: The entry.
        installation_id: The installation.
        node_id: The node whose entry it is.
        public: The node's key, by the registry.

    Raises:
        FormatError: The entry is damaged.
        IntegrityError: The node itself did not say this.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "node_id", "shown", "address", "at", "signature"))
    found = ShownCertificates(
        check_node_id(fields.text("node_id")),
        fields.raws("shown"),
        fields.text("address"),
        fields.time("at"),
    )
    if not 0 < len(found.certificates) <= _MOST:
        raise FormatError("the entry of a node's certificates names none, or too many")
    if found.node_id != node_id:
        raise IntegrityError(f"the certificates of {node_id} are said to be those of another node")
    statement = _said(installation_id, node_id, _KIND.dumps(found._members()))  # noqa: SLF001 same module
    statement.check(fields.raw("signature"), public)
    return found


def _said(installation_id: str, node_id: str, payload: bytes) -> Statement:
    purpose = Purpose.CERTIFICATES
    return Statement(purpose, Origin(installation_id), said.of_certificates(node_id, payload))
