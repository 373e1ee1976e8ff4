"""Seals to a public key (RFC 9180), opened by HPKE done again from its parts, which opens the RFC's own vector first."""

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from strongroom.crypto import hpke
from strongroom.crypto.hpke import SealingKey
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

KEY, OTHER = SealingKey(hpke.new_private()), SealingKey(hpke.new_private())


def _extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(b"HPKE-v1" + suite + label + ikm)
    return mac.finalize()


def _expand(prk: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), size, labelled).derive(prk)


def opened(sealed: bytes, private: bytes, info: bytes, *, aad: bytes = b"", aead: int = 2) -> bytes:
    """Base mode, X25519, HKDF-SHA256; `aead` is 1 for AES-128-GCM, 2 for AES-256-GCM (RFC 9180, sections 4, 5 and 7)."""
    key = X25519PrivateKey.from_private_bytes(private)
    encapsulated, ciphertext = sealed[:32], sealed[32:]
    kem = b"KEM" + b"\x00\x20"
    dh = key.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + key.public_key().public_bytes_raw()
    shared = _expand(_extract(b"", kem, b"eae_prk", dh), kem, b"shared_secret", context, 32)
    suite = b"HPKE\x00\x20\x00\x01" + aead.to_bytes(2, "big")
    hashed = [_extract(b"", suite, b"psk_id_hash", b""), _extract(b"", suite, b"info_hash", info)]
    schedule = b"\0" + b"".join(hashed)
    secret = _extract(shared, suite, b"secret", b"")
    made = _expand(secret, suite, b"key", schedule, 16 * aead)
    nonce = _expand(secret, suite, b"base_nonce", schedule, 12)
    return AESGCM(made).decrypt(nonce, ciphertext, aad)


def test_the_other_hands_open_the_vector_of_the_rfc() -> None:
    """RFC 9180, A.1.1, sequence number 0 (AES-128-GCM: the RFC has no vector of X25519 with AES-256-GCM)."""
    private = "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"
    encapsulated = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    ciphertext = (
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    sealed = bytes.fromhex(encapsulated + ciphertext)
    message = opened(sealed, bytes.fromhex(private), info, aad=b"Count-0", aead=1)
    assert message == b"Beauty is truth, truth beauty"


def test_what_is_sealed_opens_by_other_hands() -> None:
    private = hpke.new_private()
    sealed = hpke.seal(SealingKey(private).public, SecretBytes(b"a message"), info=b"what it is")
    assert opened(sealed, private.reveal(), b"what it is") == b"a message"
    assert len(sealed) == 32 + len(b"a message") + 16


def test_it_opens_for_its_key_and_as_what_it_is_only() -> None:
    sealed = hpke.seal(KEY.public, SecretBytes(b"a message"), info=b"one")
    assert KEY.open(sealed, info=b"one") == SecretBytes(b"a message")
    for key, data, info in (
        (OTHER, sealed, b"one"),
        (KEY, sealed, b"other"),
        (KEY, sealed[:-1], b"one"),
        (KEY, bytes(32) + sealed[32:], b"one"),
        (KEY, b"", b"one"),
    ):
        with pytest.raises(IntegrityError):
            key.open(data, info=info)


def test_no_two_seals_are_alike() -> None:
    message = SecretBytes(b"m")
    assert len({hpke.seal(KEY.public, message, info=b"") for _ in range(16)}) == 16


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31), b"short"])
def test_nothing_is_sealed_to_what_is_no_key(public: bytes) -> None:
    """A point of a small order would give a secret that everybody knows."""
    with pytest.raises(FormatError, match="no key to which"):
        hpke.seal(public, SecretBytes(b"m"), info=b"")


def test_a_private_key_has_32_bytes() -> None:
    with pytest.raises(FormatError, match="has 32 bytes, not 31"):
        SealingKey(SecretBytes(bytes(31)))
