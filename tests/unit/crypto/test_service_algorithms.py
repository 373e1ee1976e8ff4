"""The algorithms of service keys, against known answers and a second library (docs/format/service-keys.md 2)."""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from strongroom.crypto import service_algorithms as algorithms
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, UsageError
from strongroom.ids import new_id

DATA = b"what a service signs"
FOREIGN = {
    "sha2-224": hashes.SHA224(),
    "sha2-256": hashes.SHA256(),
    "sha2-384": hashes.SHA384(),
    "sha2-512": hashes.SHA512(),
    "sha3-224": hashes.SHA3_224(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}


@pytest.mark.parametrize(("name", "known"), algorithms.DIGESTS.items())
def test_digests_and_macs(name: str, known: str) -> None:
    key = SecretBytes(b"k" * 32)
    assert algorithms.digest(name, DATA) == hashlib.new(known, DATA).digest()
    assert algorithms.mac(key, name, DATA) == hmac.new(key.reveal(), DATA, known).digest()
    assert algorithms.same(b"one", b"one")
    assert not algorithms.same(b"one", b"two")


def test_a_digest_that_is_none() -> None:
    with pytest.raises(UsageError, match="unsupported hash algorithm 'md5'"):
        algorithms.digest("md5", DATA)


def test_each_version_of_each_key_authenticates_by_a_key_of_its_own() -> None:
    key, one, other = algorithms.new_symmetric(), new_id(), new_id()
    made = {
        algorithms.mac_key(key, key_id, version).reveal()
        for key_id in (one, other)
        for version in (1, 2)
    }
    assert len(made) == 4
    assert algorithms.mac_key(key, one, 1) == algorithms.mac_key(key, one, 1)
    assert key.reveal() not in made


def test_ed25519_is_that_of_others() -> None:
    key = algorithms.new_symmetric()
    foreign = ed25519.Ed25519PrivateKey.from_private_bytes(key.reveal())
    public = algorithms.public_ed25519(key)
    assert base64.b64decode(public) == foreign.public_key().public_bytes_raw()
    signature = foreign.sign(DATA)
    assert algorithms.verify_ed25519(public, DATA, signature)
    assert not algorithms.verify_ed25519(public, DATA + b".", signature)


@pytest.mark.parametrize("prehashed", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_ecdsa_is_that_of_others(name: str, prehashed: bool) -> None:
    """In both directions, over the bytes and over their digest."""
    key = algorithms.new_p256()
    pem = algorithms.pem_p256(key).reveal()
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    foreign = serialization.load_pem_private_key(pem, None)
    assert isinstance(foreign, ec.EllipticCurvePrivateKey)
    assert isinstance(foreign.curve, ec.SECP256R1)
    public = algorithms.public_p256(key)
    data = algorithms.digest(name, DATA) if prehashed else DATA
    kind = ec.ECDSA(Prehashed(FOREIGN[name]) if prehashed else FOREIGN[name])
    foreign.public_key().verify(
        algorithms.sign_p256(key, name, data, prehashed=prehashed), data, kind
    )
    signature = foreign.sign(data, kind)
    assert algorithms.verify_p256(public, name, data, signature, prehashed=prehashed)
    assert not algorithms.verify_p256(public, name, data, signature[:-1], prehashed=prehashed)
    other = bytes([data[0] ^ 1]) + data[1:]
    assert not algorithms.verify_p256(public, name, other, signature, prehashed=prehashed)


def test_no_signature_is_made_of_a_weak_digest() -> None:
    key = algorithms.new_p256()
    for weak in algorithms.WEAK:
        with pytest.raises(UsageError, match="no signature is made of the digest"):
            algorithms.sign_p256(key, weak, DATA, prehashed=False)


def test_a_key_of_another_kind_is_refused() -> None:
    strange = ed25519.Ed25519PrivateKey.generate()
    der = strange.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(IntegrityError):
        algorithms.public_p256(SecretBytes(der))
    pem = strange.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(IntegrityError):
        algorithms.verify_p256(pem.decode(), "sha2-256", DATA, b"", prehashed=False)
