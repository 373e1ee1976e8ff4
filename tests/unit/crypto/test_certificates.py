"""The internal certificate authority."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from strongroom.crypto import certificates
from strongroom.crypto.certificates import InternalCertificates
from strongroom.errors import FormatError

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def issued() -> InternalCertificates:
    return certificates.new_internal_certificates(NOW)


@pytest.mark.parametrize("role", ["root", "admin", "node"])
def test_keys_belong_to_their_certificates(issued: InternalCertificates, role: str) -> None:
    one = getattr(issued, role)
    certificate = x509.load_pem_x509_certificate(one.certificate)
    key = serialization.load_pem_private_key(one.key.reveal(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize("role", ["admin", "node"])
def test_the_root_signs(issued: InternalCertificates, role: str) -> None:
    """A strict verifier accepts them, for both directions."""
    root = x509.load_pem_x509_certificate(issued.root.certificate)
    leaf = x509.load_pem_x509_certificate(getattr(issued, role).certificate)
    leaf.verify_directly_issued_by(root)
    policy = PolicyBuilder().store(Store([root])).time(NOW)
    policy.build_server_verifier(x509.DNSName("localhost")).verify(leaf, [])
    policy.build_client_verifier().verify(leaf, [])


def test_validity(issued: InternalCertificates) -> None:
    root = x509.load_pem_x509_certificate(issued.root.certificate)
    node = x509.load_pem_x509_certificate(issued.node.certificate)
    assert node.not_valid_before_utc < NOW
    assert node.not_valid_after_utc == NOW + timedelta(days=certificates.LEAF_DAYS)
    assert root.not_valid_after_utc == NOW + timedelta(days=certificates.ROOT_DAYS)


def test_a_leaf_signs_nothing(issued: InternalCertificates) -> None:
    leaf = x509.load_pem_x509_certificate(issued.admin.certificate)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_keys_are_not_shown(issued: InternalCertificates) -> None:
    assert "PRIVATE" not in repr(issued)


def test_the_first_end_of_several_counts(issued: InternalCertificates) -> None:
    """P12."""
    first = NOW + timedelta(days=certificates.LEAF_DAYS)
    root, node = issued.root.certificate, issued.node.certificate
    assert certificates.ends_at(node) == first
    assert certificates.ends_at(root) == NOW + timedelta(days=certificates.ROOT_DAYS)
    assert certificates.ends_at(root + node) == certificates.ends_at(node + root) == first


@pytest.mark.parametrize("data", [b"", b"x", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_certificate_has_no_end(data: bytes) -> None:
    with pytest.raises(FormatError, match="no certificate"):
        certificates.ends_at(data)
