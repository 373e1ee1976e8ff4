"""A node's key for TLS and its request for a certificate, until the installation has answered (docs/format/nodes.md 1.5).

The key is made on the node and never leaves it; what goes out is the request, which the key has signed (PKCS#10).
"""

from typing import Final, NamedTuple

from strongroom.canonical import ASCII_LINE, Kind, to_base64
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.joining.own_certificate import Pair

FORMAT: Final = "strongroom-certificate-request-1"
MAX_BYTES: Final = 4096
_KIND = Kind("the file with the request for a certificate", ASCII_LINE, MAX_BYTES)


class CertificateRequest(NamedTuple):
    """A request and its key.

    Attributes:
        key: The private key, PKCS#8 in DER.
        asked: The request, DER; the same bytes at every attempt, since the installation knows a repetition by them.
    """

    key: SecretBytes
    asked: bytes

    def serialize(self) -> SecretBytes:
        """The bytes of the file."""
        return SecretBytes(
            _KIND.dumps(
                {
                    "format": FORMAT,
                    "key": to_base64(self.key.reveal()),
                    "request": to_base64(self.asked),
                }
            )
        )

    def answered(self, certificate: bytes, authorities: tuple[bytes, ...], name: NodeName) -> Pair:
        """The key with the certificate that the installation has made for it.

        Args:
            certificate: The certificate, DER.
            authorities: Certificates of the installation's authorities.
            name: The node.

        Raises:
            FormatError: The certificate is of another key or node, or of none of these authorities.
        """
        found = node_certificates.describe(certificate)
        if found.name != name or found.key_digest != node_certificates.key_digest(self.key):
            raise FormatError("the certificate in the answer is not for the key of this node")
        if not any(node_certificates.is_issued_by(certificate, one) for one in authorities):
            raise FormatError(
                "the certificate in the answer is of none of the installation's authorities"
            )
        return Pair(certificate, self.key)


def make(name: NodeName) -> CertificateRequest:
    """A new key, and the request for its certificate."""
    key = node_certificates.new_key()
    return CertificateRequest(key, node_certificates.request(key, name))


def parse(data: bytes) -> CertificateRequest:
    """The request of a file.

    Raises:
        FormatError: The file is damaged; the message quotes nothing of it.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "key", "request"))
    return CertificateRequest(SecretBytes(fields.raw("key")), fields.raw("request"))
