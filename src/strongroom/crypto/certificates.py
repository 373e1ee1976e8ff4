"""The internal certificate authority: a root, an admin and a node certificate (P-384, PEM).

Deterministic except for keys and serial numbers: times come in as arguments. No file is read or written.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.crypto.certificate_parts import builder, key_usage
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError

ROOT_DAYS = 3650
LEAF_DAYS = 1825
"""Five years: regenerating the internal tokens renews the certificates long before, and if not, they become due (P12)."""


@dataclass(frozen=True)
class IssuedCertificate:
    """A certificate and its private key.

    Attributes:
        certificate: The certificate in PEM.
        key: The private key in PEM, PKCS#8, not encrypted, since it is stored as a secret parameter.
    """

    certificate: bytes
    key: SecretBytes


@dataclass(frozen=True)
class InternalCertificates:
    """The internal certificate authority, and the certificates that it signed."""

    root: IssuedCertificate
    admin: IssuedCertificate
    node: IssuedCertificate


def new_internal_certificates(moment: datetime) -> InternalCertificates:
    """A new root, and an admin and a node certificate signed by it.

    Args:
        moment: The present, aware.
    """
    root_key = ec.generate_private_key(ec.SECP384R1())
    root_name = _name("strongroom internal root")
    root = (
        builder(root_name, root_name, root_key.public_key(), _validity(moment, ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(is_authority=True), critical=True)
        .sign(root_key, hashes.SHA384())
    )
    return InternalCertificates(
        root=_issued(root, root_key),
        admin=_leaf("strongroom internal admin", root, root_key, moment),
        node=_leaf("strongroom internal node", root, root_key, moment),
    )


def ends_at(pem: bytes) -> datetime:
    """When a certificate ends; of several certificates, the earliest end.

    Raises:
        FormatError: The PEM has no certificate, or a damaged one.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise FormatError("this is no certificate in PEM") from error
    return min(one.not_valid_after_utc for one in found)


def _leaf(
    common_name: str,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    moment: datetime,
) -> IssuedCertificate:
    key = ec.generate_private_key(ec.SECP384R1())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        builder(_name(common_name), root.subject, key.public_key(), _validity(moment, LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA384())
    )
    return _issued(certificate, key)


def _validity(moment: datetime, days: int) -> tuple[datetime, datetime]:
    return moment, moment + timedelta(days=days)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> IssuedCertificate:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return IssuedCertificate(
        certificate.public_bytes(serialization.Encoding.PEM), SecretBytes(private)
    )
