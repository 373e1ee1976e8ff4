"""A file that was sealed to a passphrase opens on every machine, and nothing that was changed in it passes."""

import base64
import hmac

import pyrage
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from strongroom.crypto import age
from strongroom.crypto.age import OpenWith
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

PHRASE = "correct horse battery staple"
WITH = OpenWith(passphrase=SecretBytes(PHRASE.encode()))
CHUNK = 64 * 1024


def unpadded(raw: bytes) -> bytes:
    return base64.b64encode(raw).rstrip(b"=")


def derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(key)


def sealed(chunks: list[bytes], *, stanzas: int = 1, factor: int = 2) -> bytes:
    """A file by the specification of age, with little work, and chunks as the test wants them."""
    salt, file_key, nonce = b"s" * 16, b"k" * 16, b"n" * 16
    wrapping = Scrypt(b"age-encryption.org/v1/scrypt" + salt, 32, 1 << factor, 8, 1)
    body = ChaCha20Poly1305(wrapping.derive(PHRASE.encode())).encrypt(bytes(12), file_key, None)
    stanza = b"-> scrypt %s %d\n%s\n" % (unpadded(salt), factor, unpadded(body))
    header = age.MAGIC + stanza * stanzas + b"---"
    mac = hmac.digest(derived(file_key, b"", b"header"), header, "sha256")
    cipher = ChaCha20Poly1305(derived(file_key, nonce, b"payload"))
    payload = b"".join(
        cipher.encrypt(number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, None)
        for number, chunk in enumerate(chunks)
    )
    return header + b" " + unpadded(mac) + b"\n" + nonce + payload


def test_what_the_library_sealed_opens() -> None:
    """One size, for the library works a second for its key, and so does whoever opens it."""
    data = bytes(range(251)) * 600
    assert age.open_sealed(pyrage.passphrase.encrypt(data, PHRASE), WITH).reveal() == data


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_a_file_of_any_size_opens_here_and_in_the_library(size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    chunks = [data[at : at + CHUNK] for at in range(0, size, CHUNK)] or [b""]
    file = sealed(chunks)
    assert pyrage.passphrase.decrypt(file, PHRASE) == data
    assert age.open_sealed(file, WITH).reveal() == data


def test_a_machine_that_is_slow_or_busy_opens_what_a_fast_one_sealed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library refuses by the machine's speed: it said "excessive work parameter" of what the machine itself had sealed."""

    def busy(*_: object) -> bytes:
        raise pyrage.DecryptError("Excessive work parameter for passphrase.")

    file = pyrage.passphrase.encrypt(b"content", PHRASE)
    monkeypatch.setattr(pyrage.passphrase, "decrypt", busy)
    assert age.open_sealed(file, WITH).reveal() == b"content"


def test_the_library_opens_what_the_tests_seal() -> None:
    """So that the refusals below are of what was changed, and of nothing else."""
    data = [b"a" * CHUNK, b"b"]
    assert pyrage.passphrase.decrypt(sealed(data), PHRASE) == b"".join(data)
    assert age.open_sealed(sealed(data), WITH).reveal() == b"".join(data)


def test_a_changed_bit_anywhere_is_noticed() -> None:
    file = sealed([b"content"])
    for place in range(len(file)):
        for bit in (1, 0x80):
            changed = bytearray(file)
            changed[place] ^= bit
            if b"scrypt c3Nzc3Nzc3Nzc3Nzc3Nzcw 2" not in changed:
                continue  # other work: the next test
            with pytest.raises((IntegrityError, FormatError)):
                age.open_sealed(bytes(changed), WITH)


@pytest.mark.parametrize(
    "file",
    [
        sealed([b"content"]).replace(b"Nzcw 2", b"Nzcw 3"),
        sealed([b"content"]).replace(b"c3Nzc3Nz", b"c3Nzc3Nx"),
        sealed([b"content"]).replace(b"Nzcw 2", b"Nz 2"),
        sealed([b"content"]).replace(b"Nzcw 2", b"Nzcx 2"),
        sealed([b"content"]).replace(b"Nzcw 2", b"Nzc! 2"),
        sealed([b"content"]).replace(b" 2\n", b" 2\nAAAA", 1),
        sealed([b"content"], stanzas=2),
        sealed([b"a" * CHUNK, b""]),
        sealed([b"a" * CHUNK, b"b"])[:-17],
        sealed([b"a", b"b"]),
        sealed([b"content"]) + b"more",
    ],
    ids=[
        "other work",
        "other salt",
        "short salt",
        "another spelling",
        "no base64",
        "a longer body",
        "two stanzas",
        "an empty last chunk",
        "without its last chunk",
        "a short chunk before the last",
        "longer",
    ],
)
def test_what_is_not_as_it_was_sealed_is_refused(file: bytes) -> None:
    with pytest.raises(IntegrityError):
        age.open_sealed(file, WITH)


def test_another_passphrase_and_a_file_for_a_recipient_are_refused_alike() -> None:
    other = OpenWith(passphrase=SecretBytes(b"another"))
    with pytest.raises(IntegrityError, match="authentication failed"):
        age.open_sealed(sealed([b"content"]), other)
    identity = age.new_identity()
    file = age.seal(b"content", age.SealTo((identity.recipient,)))
    with pytest.raises(IntegrityError, match="authentication failed"):
        age.open_sealed(file, WITH)
