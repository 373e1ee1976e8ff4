"""The keys that services use through a door: how their material is made, and what each kind of key can do.

Material is 32 random bytes of AES-256-GCM, HMAC and Ed25519, and a PKCS#8 document in DER of ECDSA on P-256
(docs/format/service-keys.md 2). Signatures have the encodings that Vault's clients expect: 64 bytes of Ed25519, DER of
ECDSA.
"""

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from strongroom.crypto import kdf, labels, rng, signing
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, UsageError
from strongroom.ids import id_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

DIGESTS = {
    "sha1": "sha1",
    "sha2-224": "sha224",
    "sha2-256": "sha256",
    "sha2-384": "sha384",
    "sha2-512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
"""The digests by their names on the wire, and in `hashlib`."""
WEAK = frozenset({"sha1"})
"""Digests that still authenticate old messages, and that no new signature is made of."""


def digest_name(wanted: str) -> str:
    """The name in `hashlib` of a digest.

    Raises:
        UsageError: No digest has that name.
    """
    try:
        return DIGESTS[wanted]
    except KeyError:
        raise UsageError(
            f"unsupported hash algorithm {wanted[:40]!r}", hint=f"known: {', '.join(DIGESTS)}"
        ) from None


def digest(name: str, data: bytes) -> bytes:
    """The digest of some bytes."""
    return hashlib.new(digest_name(name), data, usedforsecurity=False).digest()


def mac(key: SecretBytes, name: str, data: bytes) -> bytes:
    """The HMAC of some bytes."""
    return hmac.digest(key.reveal(), data, digest_name(name))


def same(one: bytes, other: bytes) -> bool:
    """Whether two values are equal, compared in constant time."""
    return hmac.compare_digest(one, other)


def mac_key(key: SecretBytes, key_id: str, version: int) -> SecretBytes:
    """The key by which a key that encrypts authenticates as well (service-keys.md 2.3)."""
    info = labels.framed(labels.SERVICE_HMAC, id_bytes(key_id), version.to_bytes(4, "big"))
    return kdf.hkdf(key, salt=b"", info=info)


def convergent_salt(
    key: SecretBytes, place: Place, plaintext: SecretBytes, key_id: str, version: int
) -> bytes:
    """The salt by which one value at one place has one ciphertext (service-keys.md 2.6).

    The salt is a MAC over the value and its place: two values, or two places, never share one, so that no key and nonce
    derived from it serves twice.
    """
    info = labels.framed(labels.SERVICE_CONVERGENT, id_bytes(key_id), version.to_bytes(4, "big"))
    subkey = kdf.hkdf(key, salt=b"", info=info)
    digest = hashlib.sha256(place.info).digest()
    return hmac.digest(subkey.reveal(), digest + plaintext.reveal(), "sha256")


def new_p256() -> SecretBytes:
    """A fresh key of ECDSA on P-256, as PKCS#8 in DER."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    return SecretBytes(
        made.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def new_symmetric() -> SecretBytes:
    """Fresh material of 32 bytes: a symmetric key, or a seed of Ed25519."""
    return rng.new_key()


def public_ed25519(key: SecretBytes) -> str:
    """The public key of a seed, in base64, as Vault shows it."""
    return base64.b64encode(signing.SigningKey(key).public).decode()


def public_p256(key: SecretBytes) -> str:
    """The public key of a PKCS#8 document, in PEM."""
    from cryptography.hazmat.primitives import serialization

    public = _p256(key).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


def pem_p256(key: SecretBytes) -> SecretBytes:
    """A private key as an export gives it: SEC 1 in PEM."""
    from cryptography.hazmat.primitives import serialization

    return SecretBytes(
        _p256(key).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def sign_p256(key: SecretBytes, name: str, data: bytes, *, prehashed: bool) -> bytes:
    """A signature in DER over some bytes, or over their digest."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _p256(key).sign(data, ec.ECDSA(_hash_of(name, prehashed=prehashed)))


def verify_p256(public: str, name: str, data: bytes, signature: bytes, *, prehashed: bool) -> bool:
    """Whether a signature in DER is one over these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_public_key(public.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise IntegrityError
    try:
        key.verify(signature, data, ec.ECDSA(_hash_of(name, prehashed=prehashed)))
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_ed25519(public: str, data: bytes, signature: bytes) -> bool:
    """Whether a signature is one over these bytes."""
    try:
        signing.verify(base64.b64decode(public), data, signature)
    except IntegrityError:
        return False
    return True


def _p256(key: SecretBytes) -> "EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        found = serialization.load_der_private_key(key.reveal(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IntegrityError from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        raise IntegrityError
    return found


def _hash_of(name: str, *, prehashed: bool) -> "HashAlgorithm | Prehashed":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    known: dict[str, Callable[[], HashAlgorithm]] = {
        "sha2-224": hashes.SHA224,
        "sha2-256": hashes.SHA256,
        "sha2-384": hashes.SHA384,
        "sha2-512": hashes.SHA512,
        "sha3-224": hashes.SHA3_224,
        "sha3-256": hashes.SHA3_256,
        "sha3-384": hashes.SHA3_384,
        "sha3-512": hashes.SHA3_512,
    }
    if name not in known:
        raise UsageError(
            f"no signature is made of the digest {name[:40]!r}", hint=f"known: {', '.join(known)}"
        )
    made = known[name]()
    return Prehashed(made) if prehashed else made
