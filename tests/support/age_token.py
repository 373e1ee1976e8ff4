"""A hardware token in software, for the tests: `age1tag1…` recipients, and the plugin program that opens for them.

As the C2SP specification of age has it: a P-256 key, the stanza `p256tag`, HPKE; and the state machine `identity-v1` of
plugins over stdin and stdout. Run as a program it is that plugin; the identity text holds the private key.
"""

import base64
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem

from strongroom.crypto import bech32

NAME = "strongroomtest"
TOUCH = "touch the token"
_SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_INFO = b"age-encryption.org/p256tag"
_COLUMNS = 64


@dataclass(frozen=True)
class Token:
    """A token and what an age identity file says of it."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> "Token":
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def of_identity(cls, identity: str) -> "Token":
        number = bech32.decode(identity.lower(), f"age-plugin-{NAME}-")
        return cls(ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1()))

    @property
    def recipient(self) -> str:
        return bech32.encode("age1tag", self._point(serialization.PublicFormat.CompressedPoint))

    @property
    def post_quantum_recipient(self) -> str:
        """Of the same token and a fresh ML-KEM key: only to seal to."""
        encapsulation = mlkem.MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
        point = self._point(serialization.PublicFormat.UncompressedPoint)
        return bech32.encode("age1tagpq", encapsulation + point)

    @property
    def identity(self) -> str:
        number = self.key.private_numbers().private_value.to_bytes(32, "big")
        return bech32.encode(f"age-plugin-{NAME}-", number).upper()

    def _point(self, form: serialization.PublicFormat) -> bytes:
        return self.key.public_key().public_bytes(serialization.Encoding.X962, form)

    def file_key(self, encapsulated: bytes, sealed: bytes) -> bytes | None:
        try:
            return _SUITE.decrypt(encapsulated + sealed, self.key, info=_INFO)
        except (InvalidTag, ValueError):
            return None


def install(folder: Path) -> Path:
    """Put the plugin into a folder, which then goes into PATH."""
    folder.mkdir()
    program = folder / f"age-plugin-{NAME}"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{Path(__file__)}' \"$@\"\n")
    program.chmod(0o755)
    return folder


@dataclass(frozen=True)
class _Stanza:
    words: list[str]
    body: bytes


def _stanzas() -> Iterator[_Stanza]:
    while line := sys.stdin.readline():
        words, text = line.removeprefix("-> ").split(), ""
        while True:
            part = sys.stdin.readline().rstrip("\n")
            text += part
            if len(part) < _COLUMNS:
                break
        yield _Stanza(words, _bytes(text))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _say(words: str, body: bytes = b"") -> None:
    text = base64.b64encode(body).decode().rstrip("=")
    lines = [text[place : place + _COLUMNS] for place in range(0, len(text) + 1, _COLUMNS)]
    sys.stdout.write("\n".join([f"-> {words}", *lines]) + "\n")
    sys.stdout.flush()


def main() -> None:
    """The plugin's side of `identity-v1`."""
    tokens: list[Token] = []
    sealed: list[_Stanza] = []
    told = _stanzas()
    for stanza in told:
        if stanza.words[0] == "add-identity":
            tokens.append(Token.of_identity(stanza.words[1]))
        elif stanza.words[:3:2] == ["recipient-stanza", "p256tag"]:
            sealed.append(stanza)
        elif stanza.words[0] == "done":
            break
    _say("msg", TOUCH.encode())
    next(told)
    for stanza in sealed:
        for token in tokens:
            key = token.file_key(_bytes(stanza.words[4]), stanza.body)
            if key is not None:
                _say(f"file-key {stanza.words[1]}", key)
                next(told)
    _say("done")


if __name__ == "__main__":
    main()
