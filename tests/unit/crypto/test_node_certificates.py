"""The internal authority and the certificates of nodes (docs/format/certificates.md 1, 2; issue 11 C)."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from strongroom import ids
from strongroom.crypto import node_certificates
from strongroom.crypto.certificate_parts import BACKDATE
from strongroom.crypto.node_certificates import Issuing, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
NAME = NodeName(ids.new_id(), "node2")
AUTHORITY = node_certificates.new_authority(NAME.installation_id, NOW)
KEY = node_certificates.new_key()
CERTIFICATE = Issuing(AUTHORITY, NOW).certify(
    node_certificates.request(KEY, NAME), NAME, ("host.example.org", "node2")
)
NOTHING = SecretBytes(b"no key")


def loaded(data: bytes = CERTIFICATE) -> x509.Certificate:
    return x509.load_der_x509_certificate(data)


def test_a_certificate_names_its_node_and_holds_for_90_days() -> None:
    found = node_certificates.describe(CERTIFICATE)
    assert found.name == NAME
    assert found.begins == NOW - BACKDATE
    assert found.ends == NOW + timedelta(days=90)
    assert NAME.uri == f"strongroom://{NAME.installation_id}/node2"
    assert len(found.key_digest) == len(found.fingerprint) == 64
    assert found.fingerprint == node_certificates.fingerprint(CERTIFICATE)


def test_the_profile_is_that_of_the_format() -> None:
    """Design (f) 11: both uses, critical key usage, no authority, the name as a URI."""
    found = loaded().extensions
    basic = found.get_extension_for_class(x509.BasicConstraints)
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca) == (True, False)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (
        True,
        False,
        True,
    )
    uses = set(found.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert uses == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node2", "host.example.org"]
    root = loaded(AUTHORITY.certificate).extensions.get_extension_for_class(x509.BasicConstraints)
    assert (root.critical, root.value.ca, root.value.path_length) == (True, True, 0)
    assert isinstance(loaded().public_key(), ec.EllipticCurvePublicKey)


def test_only_its_authority_has_issued_it() -> None:
    other = node_certificates.new_authority(NAME.installation_id, NOW)
    assert node_certificates.is_issued_by(CERTIFICATE, AUTHORITY.certificate)
    assert not node_certificates.is_issued_by(CERTIFICATE, other.certificate)
    assert not node_certificates.is_issued_by(CERTIFICATE, CERTIFICATE)


def test_it_is_due_after_two_thirds_of_its_life_and_where_it_does_not_hold() -> None:
    found = node_certificates.describe(CERTIFICATE)
    assert not found.is_due(NOW + timedelta(days=59))
    assert found.is_due(NOW + timedelta(days=60))
    assert found.is_due(NOW - timedelta(days=1))
    assert found.holds(NOW)
    assert not found.holds(NOW + timedelta(days=91))
    assert not found.holds(NOW - timedelta(days=1))


def test_it_does_not_outlive_its_authority() -> None:
    short = node_certificates.new_authority(NAME.installation_id, NOW, timedelta(days=1))
    made = Issuing(short, NOW).certify(node_certificates.request(KEY, NAME), NAME)
    assert node_certificates.describe(made).ends == NOW + timedelta(days=1)


def altered(request: bytes) -> bytes:
    return request[:-1] + bytes([request[-1] ^ 1])


def strange(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(NAME.uri)])
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = made.add_extension(name, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def nameless() -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (b"", "is damaged"),
        (nameless(), "is damaged"),
        (altered(node_certificates.request(KEY, NAME)), "not signed by its own key"),
        (node_certificates.request(KEY, NAME._replace(node_id="node3")), "of another node"),
        (strange(ec.generate_private_key(ec.SECP384R1())), "another kind than P-256"),
        (strange(rsa.generate_private_key(65537, 2048)), "another kind than P-256"),
    ],
)
def test_a_bad_request_is_refused(asked: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        Issuing(AUTHORITY, NOW).certify(asked, NAME)


def test_what_is_no_certificate_and_no_key_is_refused() -> None:
    for call in (node_certificates.describe, node_certificates.from_pem):
        with pytest.raises(FormatError, match="no certificate"):
            call(b"x")
    with pytest.raises(FormatError, match="no private key") as caught:
        node_certificates.key_pem(NOTHING)
    assert "no key" not in str(caught.value.__cause__)


def test_pem_is_read_back_and_an_authority_is_no_node() -> None:
    both = (CERTIFICATE, AUTHORITY.certificate)
    assert node_certificates.from_pem(node_certificates.pem(both).encode()) == both
    assert b"PRIVATE KEY" in node_certificates.key_pem(KEY).reveal()
    assert node_certificates.describe(AUTHORITY.certificate).name is None


def other_names() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("https://a/b")])
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(names, critical=False)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_name_of_another_scheme_is_no_nodes() -> None:
    assert node_certificates.describe(other_names()).name is None
