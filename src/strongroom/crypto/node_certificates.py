"""Certificates between the nodes of one installation: the internal authority, and one for each node (certificates.md 1, 2).

EC P-256, in DER. Deterministic except for keys and serial numbers: times come in as arguments.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.crypto.certificate_parts import builder, key_usage
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError

AUTHORITY_LIFE: Final = timedelta(days=1825)
NODE_LIFE: Final = timedelta(days=90)
_SCHEME: Final = "strongroom://"
_DER: Final = serialization.Encoding.DER
_USES: Final = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class Authority(NamedTuple):
    """The internal authority of an installation.

    Attributes:
        certificate: The certificate, DER.
        key: The private key, PKCS#8 in DER.
    """

    certificate: bytes
    key: SecretBytes


class NodeName(NamedTuple):
    """The name of a node in its certificate.

    Attributes:
        installation_id: The installation.
        node_id: The node.
    """

    installation_id: str
    node_id: str

    @property
    def uri(self) -> str:
        """The name as the certificate has it."""
        return f"{_SCHEME}{self.installation_id}/{self.node_id}"


class Described(NamedTuple):
    """The content of a certificate, as far as anybody decides by it; not authenticated.

    Attributes:
        begins: The begin of its validity.
        ends: The end of its validity.
        key_digest: SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal.
        fingerprint: SHA-256 of the certificate, hexadecimal.
        name: The node whose certificate it is; None if it is none of a node.
    """

    begins: datetime
    ends: datetime
    key_digest: str
    fingerprint: str
    name: NodeName | None

    def is_due(self, now: datetime) -> bool:
        """Whether two thirds of its life are over, or it does not hold now."""
        return now >= self.begins + (self.ends - self.begins) * 2 / 3 or now < self.begins

    def holds(self, now: datetime) -> bool:
        """Whether the certificate is valid at a time."""
        return self.begins <= now <= self.ends


def new_key() -> SecretBytes:
    """A new private key, PKCS#8 in DER."""
    return _private_bytes(ec.generate_private_key(ec.SECP256R1()))


def new_authority(
    installation_id: str, moment: datetime, life: timedelta = AUTHORITY_LIFE
) -> Authority:
    """A new authority that signs for itself.

    Args:
        installation_id: The installation.
        moment: The present, aware.
        life: How long it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, installation_id),
            x509.NameAttribute(NameOID.COMMON_NAME, "strongroom nodes"),
        ]
    )
    made = (
        builder(name, name, key.public_key(), (moment, moment + life))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(made.public_bytes(_DER), _private_bytes(key))


def request(key: SecretBytes, name: NodeName) -> bytes:
    """The request of a node for a certificate (PKCS#10), signed by its key, in DER."""
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_node_subject(name))
        .add_extension(_names(name, ()), critical=False)
        .sign(_private(key), hashes.SHA256())
    )
    return made.public_bytes(_DER)


def check_request(asked: bytes, name: NodeName) -> None:
    """Refuse a request for a certificate (PKCS#10) that could not be fulfilled; whoever sent it has its key.

    Args:
        asked: The request, in DER.
        name: The node that the request must name.

    Raises:
        FormatError: The request is damaged, of another node, of a key of another kind, or not signed by its key.
    """
    _checked_request(asked, name)


def key_digest(key: SecretBytes) -> str:
    """SHA-256 of the public half of a private key, hexadecimal, as `Described` has it."""
    return _digest(_private(key).public_key())


class Issuing(NamedTuple):
    """An authority that signs now.

    Attributes:
        authority: The authority.
        moment: The present, aware.
        life: How long certificates of nodes are valid, if the authority is.
    """

    authority: Authority
    moment: datetime
    life: timedelta = NODE_LIFE

    def certify(self, asked: bytes, name: NodeName, hosts: Sequence[str] = ()) -> bytes:
        """The certificate for a request, DER; of the request only its public key goes into it.

        Args:
            asked: The request, in DER.
            name: The node that is certified; the request must name it, too.
            hosts: Further names of the machine.

        Raises:
            FormatError: The request is damaged, of another node, of a key of another kind, or not signed by its key.
        """
        public = _checked_request(asked, name)
        root, key = _certificate(self.authority.certificate), _private(self.authority.key)
        ends = min(self.moment + self.life, root.not_valid_after_utc)
        made = (
            builder(_node_subject(name), root.subject, public, (self.moment, ends))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_USES), critical=False)
            .add_extension(_names(name, hosts), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        return made.public_bytes(_DER)


def describe(certificate: bytes) -> Described:
    """The content of a certificate.

    Raises:
        FormatError: The bytes are no certificate.
    """
    found = _certificate(certificate)
    return Described(
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        _digest(found.public_key()),
        fingerprint(certificate),
        _name_in(found),
    )


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Whether an authority signed a certificate.

    Raises:
        FormatError: The bytes of one are no certificate.
    """
    found, root = _certificate(certificate), _certificate(authority)
    try:
        found.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate, hexadecimal: what the bootstrap file and people pin."""
    return hashlib.sha256(certificate).hexdigest()


def pem(certificates: Sequence[bytes]) -> str:
    """Certificates in PEM, one behind the other."""
    found = (_certificate(one).public_bytes(serialization.Encoding.PEM) for one in certificates)
    return b"".join(found).decode("ascii")


def key_pem(key: SecretBytes) -> SecretBytes:
    """A private key in PEM, as the TLS library takes it; for memory only."""
    return SecretBytes(
        _private(key).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def from_pem(text: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM text, in DER.

    Raises:
        FormatError: The text has no certificate, or a damaged one.
    """
    try:
        return tuple(one.public_bytes(_DER) for one in x509.load_pem_x509_certificates(text))
    except ValueError as error:
        raise FormatError("this is no certificate in PEM") from error


# ---- inside ----------------------------------------------------------------------------------------


def _checked_request(asked: bytes, name: NodeName) -> ec.EllipticCurvePublicKey:
    try:
        found = x509.load_der_x509_csr(asked)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise FormatError("the request for a certificate is damaged") from error
    public = found.public_key()
    if not (isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"):
        raise FormatError("the request for a certificate is for a key of another kind than P-256")
    if uris != [name.uri]:
        raise FormatError("the request for a certificate is of another node")
    if not found.is_signature_valid:
        raise FormatError("the request for a certificate is not signed by its own key")
    return public


def _digest(public: CertificatePublicKeyTypes) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(_DER, form)).hexdigest()


def _certificate(data: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise FormatError("this is no certificate") from error


def _private(key: SecretBytes) -> ec.EllipticCurvePrivateKey:
    try:
        found = serialization.load_der_private_key(key.reveal(), None)
    except (ValueError, TypeError):
        # from None: the cause may quote what it was given
        raise FormatError("this is no private key of a certificate") from None
    return cast("ec.EllipticCurvePrivateKey", found)


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> SecretBytes:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return SecretBytes(key.private_bytes(_DER, form, none))


def _node_subject(name: NodeName) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name.installation_id),
            x509.NameAttribute(NameOID.COMMON_NAME, name.node_id),
        ]
    )


def _names(name: NodeName, hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    dns = dict.fromkeys((name.node_id, *hosts))
    return x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(name.uri), *map(x509.DNSName, dns)]
    )


def _name_in(found: x509.Certificate) -> NodeName | None:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        installation, _, node = uri.removeprefix(_SCHEME).partition("/")
        if uri.startswith(_SCHEME) and node:
            return NodeName(installation, node)
    return None
