"""The parts that all certificates of an installation share, whichever authority signs them: X.509 version 3 (RFC 5280)."""

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

BACKDATE: Final = timedelta(minutes=5)
"""How long before the present a certificate's validity begins, since a node's clock may be behind by some seconds."""


def builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    validity: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    """A certificate to which its extensions are still to be added, with a random serial number.

    Args:
        subject: The holder.
        issuer: The authority.
        public: The holder's key.
        validity: The present, and the end; the certificate begins `BACKDATE` earlier.
    """
    begins, ends = validity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - BACKDATE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """The uses of a key: an authority signs certificates and lists of revoked ones, and nothing else; a holder the opposite."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
