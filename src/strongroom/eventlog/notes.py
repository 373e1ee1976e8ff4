"""Signed notes that hold a checkpoint (C2SP signed-note, tlog-checkpoint; format/events.md §5.2). No file IO."""

import base64
import binascii
import hashlib
from typing import NamedTuple

from strongroom.crypto import labels, signing
from strongroom.crypto.signing import SigningKey
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.eventlog import merkle

MAX_NOTE_BYTES = 65_536
_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_MAX_SIZE = 2**63 - 1
_DASH = "\u2014 "


class Checkpoint(NamedTuple):
    """How far a log had come.

    Attributes:
        origin: The name of the log, which is also the name of its key.
        size: How many lines it had.
        root: Root hash of the tree over them.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text, with its final newline."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


class Verifier(NamedTuple):
    """The name and the public key by which notes are verified.

    Attributes:
        name: The key's name: the origin of the log.
        public: 32 bytes, Ed25519.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """`<name>+<key id>+<base64>`, as `parse_verifier` reads it."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"


class LogSigner:
    """Signs the checkpoints of one log.

    Attributes:
        verifier: The name and the public key of the present key.
        former: Name and public key of the key before, while that one is being replaced; None otherwise.
    """

    def __init__(
        self, origin: str, key: SigningKey, former: SigningKey | Verifier | None = None
    ) -> None:
        """Take the keys; of a former key that was lost the public half is enough, and it signs nothing."""
        self._key = key
        self._former = former if isinstance(former, SigningKey) else None
        self.verifier = Verifier(origin, key.public)
        self.former = Verifier(origin, former.public) if former else None

    @property
    def key_ids(self) -> frozenset[bytes]:
        """The ids of the keys whose signatures this signer knows."""
        return frozenset(one.key_id for one in (self.verifier, self.former) if one)

    def sign(self, size: int, root: bytes, *, with_former: bool = False) -> bytes:
        """The signed note of a checkpoint.

        Args:
            size: How many lines the log has.
            root: The root of the tree over them.
            with_former: Whether the former key signs too, if there is one: who knows only that one learns of the new one.
        """
        origin = self.verifier.name
        text = Checkpoint(origin, size, root).text
        note = f"{text}\n{self._line(self.verifier, self._key, text)}"
        if with_former and self.former and self._former:
            note += self._line(self.former, self._former, text)
        return note.encode()

    def open(self, note: bytes) -> Checkpoint:
        """The checkpoint of a note that the present key signed, or, while that one is being replaced, the former key.

        Raises:
            FormatError: The bytes are not a signed note that holds a checkpoint.
            IntegrityError: The note has no signature of these keys, or one that does not verify.
        """
        try:
            return open_note(note, self.verifier)
        except IntegrityError:
            if self.former is None:
                raise
            return open_note(note, self.former)

    @staticmethod
    def _line(verifier: Verifier, key: SigningKey, text: str) -> str:
        signature = _base64(verifier.key_id + key.sign(text.encode()))
        return f"{_DASH}{verifier.name} {signature}\n"

    def seal(self, data: bytes) -> bytes:
        """Sign data that was derived from this log.

        The signed text begins with words and a blank, and a note's first line, the origin, holds no blank: nobody can
        pass such a signature off as that of a checkpoint.
        """
        return self._key.sign(self._sealed(data))

    def check_seal(self, data: bytes, signature: bytes) -> None:
        """Verify a signature that `seal` made.

        Raises:
            IntegrityError: The signature does not verify.
        """
        signing.verify(self.verifier.public, self._sealed(data), signature)

    def _sealed(self, data: bytes) -> bytes:
        return labels.DERIVED + self.verifier.name.encode() + b"\n" + data


def open_note(note: bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint of a signed note; signatures of other keys are passed over, as the format asks.

    Raises:
        FormatError: The bytes are not a signed note that holds a checkpoint.
        grityError: The note has no signature of this key, or one that does not verify, or names another log.
    """
    text, signatures = split(note)
    found = [sig[_KEY_ID_BYTES:] for name, sig in signatures if _is_of(name, sig, verifier)]
    if not found:
        raise IntegrityError(f"the checkpoint is not signed by {verifier.name}")
    for signature in found:
        signing.verify(verifier.public, text.encode(), signature)
    checkpoint = _checkpoint(text)
    if checkpoint.origin != verifier.name:
        raise IntegrityError(f"the checkpoint is of another log: {checkpoint.origin}")
    return checkpoint


def told_by(note: bytes) -> Checkpoint:
    """The checkpoint of a note; no signature is verified.

    Raises:
        FormatError: The bytes are not a signed note that holds a checkpoint.
    """
    return _checkpoint(split(note)[0])


def key_ids(note: bytes, name: str) -> frozenset[bytes]:
    """The ids of the keys of one name that a note has signatures of; nothing is verified.

    Raises:
        FormatError: The bytes are not a signed note.
    """
    _, signatures = split(note)
    return frozenset(one[:_KEY_ID_BYTES] for who, one in signatures if who == name)


def parse_verifier(text: str) -> Verifier:
    """The verifier of its text form.

    Raises:
        UsageError: The text is no verifier key, or one of another algorithm than Ed25519.
    """
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    verifier = Verifier(name, key[1:])
    known = key[:1] == _ED25519 and len(verifier.public) == signing.PUBLIC_BYTES
    if not known or not name or verifier.key_id.hex() != key_id:
        raise UsageError(
            "this is no key that verifies checkpoints",
            hint="'strongroom events checkpoint' prints it: NAME+ID+KEY",
        )
    return verifier


def split(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text of a signed note, and of each signature its name and its bytes; nothing is verified.

    Raises:
        FormatError: The bytes are not a signed note.
    """
    message = "this is no signed note"
    if len(note) > MAX_NOTE_BYTES:
        raise FormatError(message)
    try:
        text, gap, lines = note.decode().rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise FormatError(message)
        return text + "\n", [_signature(line) for line in lines[:-1].split("\n")]
    except ValueError as error:
        raise FormatError(message) from error


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name:
        message = "a line of signatures is none"
        raise ValueError(message)
    return name, base64.b64decode(encoded, validate=True)


def _is_of(name: str, signature: bytes, verifier: Verifier) -> bool:
    return name == verifier.name and signature[:_KEY_ID_BYTES] == verifier.key_id


def _checkpoint(text: str) -> Checkpoint:
    message = "the signed note holds no checkpoint"
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0] or lines[3]:
        raise FormatError(message)
    try:
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    except ValueError as error:
        raise FormatError(message) from error
    checkpoint = Checkpoint(lines[0], size, root)
    if not 0 <= size <= _MAX_SIZE or len(root) != merkle.HASH_BYTES or checkpoint.text != text:
        raise FormatError(message)
    return checkpoint


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
