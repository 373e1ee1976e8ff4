"""A node's own certificate and its key, with all that it needs to renew them alone (docs/format/certificates.md 3).

The key is made on the node and never leaves it. Beside it lie the authorities that this node believes, and the sealed
authority as the configuration has it: without the coordination service the node still opens that by its keystore.
"""

from typing import Final, NamedTuple

from strongroom.canonical import ASCII_LINE, Fields, Kind, to_base64
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Described, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.joining.bootstrap_file import check_node_id
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk, durable

FORMAT: Final = "strongroom-node-certificate-1"
MAX_BYTES: Final = 128 << 10
_KIND = Kind("the file with the node's certificate", ASCII_LINE, MAX_BYTES)


class Pair(NamedTuple):
    """A certificate and its key.

    Attributes:
        certificate: The certificate, DER.
        key: The private key, PKCS#8 in DER.
    """

    certificate: bytes
    key: SecretBytes

    @property
    def described(self) -> Described:
        """The content of the certificate.

        Raises:
            FormatError: The bytes are no certificate.
        """
        return node_certificates.describe(self.certificate)


class OwnCertificate(NamedTuple):
    """The content of the file.

    Attributes:
        name: The node.
        present: The certificate that the node shows; None before its first one.
        coming: The one that it shows next, as soon as the others know of it; None but during a renewal.
        authorities: Certificates of the authorities that it believes, the present one first.
        sealed_authority: The authorities with their key, as an `ENC(...)` of the configuration.
    """

    name: NodeName
    present: Pair | None = None
    coming: Pair | None = None
    authorities: tuple[bytes, ...] = ()
    sealed_authority: str = ""

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates that the node may show now or in a moment."""
        pairs = (self.coming, self.present)
        return tuple(one.certificate for one in pairs if one is not None)

    def serialize(self) -> SecretBytes:
        """The bytes of the file."""
        return SecretBytes(
            _KIND.dumps(
                {
                    "format": FORMAT,
                    "installation_id": self.name.installation_id,
                    "node_id": self.name.node_id,
                    "present": _members(self.present),
                    "coming": _members(self.coming),
                    "authorities": [to_base64(one) for one in self.authorities],
                    "sealed": self.sealed_authority,
                }
            )
        )


def parse(data: bytes) -> OwnCertificate:
    """The content of a file.

    Raises:
        FormatError: The file is damaged; the message quotes nothing of it.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(
        (
            "format",
            "installation_id",
            "node_id",
            "present",
            "coming",
            "authorities",
            "sealed",
        )
    )
    return OwnCertificate(
        NodeName(fields.id("installation_id"), check_node_id(fields.text("node_id"))),
        fields.optional("present", _pair),
        fields.optional("coming", _pair),
        fields.raws("authorities"),
        fields.text("sealed"),
    )


def find(paths: DataPaths) -> OwnCertificate | None:
    """The file of a node; None if it has none as yet.

    Raises:
        FormatError: The file is damaged.
        StorageError: The file cannot be read.
    """
    try:
        with paths.certificate.open("rb") as file:
            return parse(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.problem(f"cannot read {paths.certificate}", error) from error


def write(paths: DataPaths, own: OwnCertificate) -> None:
    """Write the file, for its owner alone.

    Raises:
        StorageError: The disk refuses.
    """
    durable.write_file(paths.certificate, own.serialize().reveal())
    if paths.zookeeper_certificate.exists():
        show_to_zookeeper(paths, own)


def show_to_zookeeper(paths: DataPaths, own: OwnCertificate) -> bool:
    """Write the certificate as a file that ZooKeeper's client takes; from then on each renewal writes it anew.

    Returns:
        False if there is no certificate as yet.

    Raises:
        StorageError: The disk refuses.
    """
    if own.present is None:
        return False
    text = node_certificates.pem((own.present.certificate,)).encode("ascii")
    key = node_certificates.key_pem(own.present.key).reveal()
    durable.write_file(paths.zookeeper_certificate, text + key)
    return True


def _members(pair: Pair | None) -> dict[str, str] | None:
    if pair is None:
        return None
    return {
        "certificate": to_base64(pair.certificate),
        "key": to_base64(pair.key.reveal()),
    }


def _pair(fields: Fields, name: str) -> Pair:
    found = fields.inner(name)
    found.check_names(("certificate", "key"))
    return Pair(found.raw("certificate"), SecretBytes(found.raw("key")))
