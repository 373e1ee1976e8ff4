"""Signed checkpoints (C2SP signed-note and tlog-checkpoint; format/events.md §5.2)."""

import base64

import pytest

from strongroom.crypto import signing
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.eventlog import notes
from strongroom.eventlog.notes import Checkpoint, LogSigner, Verifier

# the example of the specification of signed notes
VERIFIER = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
SIGNER = LogSigner("strongroom/i/node1", SigningKey(SecretBytes(bytes(range(32)))))
ROOT = bytes(range(32))


def test_the_example_of_the_specification_verifies() -> None:
    """Its signature is good, though its text is no checkpoint."""
    verifier = notes.parse_verifier(VERIFIER)
    assert verifier.text == VERIFIER
    with pytest.raises(FormatError, match="holds no checkpoint"):
        notes.open_note(NOTE, verifier)
    with pytest.raises(IntegrityError, match="does not verify"):
        notes.open_note(NOTE.replace(b"example message", b"exemple message"), verifier)


def test_a_note_gives_its_checkpoint_back() -> None:
    note = SIGNER.sign(7, ROOT)
    assert notes.open_note(note, SIGNER.verifier) == Checkpoint("strongroom/i/node1", 7, ROOT)
    assert note.decode().startswith(f"strongroom/i/node1\n7\n{_b64(ROOT)}\n\n\u2014 strongroom/i/")
    assert notes.parse_verifier(SIGNER.verifier.text) == SIGNER.verifier


def test_other_signatures_are_passed_over() -> None:
    """The format asks for it: so witnesses can sign the same note."""
    note = SIGNER.sign(7, ROOT) + b"\xe2\x80\x94 witness.example AAAAAAAA\n"
    assert notes.open_note(note, SIGNER.verifier).size == 7


def test_a_note_of_another_key_or_log_is_refused() -> None:
    other = LogSigner("strongroom/i/node1", SigningKey(SecretBytes(bytes(32))))
    with pytest.raises(IntegrityError, match="is not signed by"):
        notes.open_note(other.sign(7, ROOT), SIGNER.verifier)
    text = Checkpoint("strongroom/i/node2", 7, ROOT).text
    key = SigningKey(SecretBytes(bytes(range(32))))
    line = _b64(SIGNER.verifier.key_id + key.sign(text.encode()))
    with pytest.raises(IntegrityError, match="of another log"):
        notes.open_note(f"{text}\n\u2014 strongroom/i/node1 {line}\n".encode(), SIGNER.verifier)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"no gap",
        b"text\n\n",
        b"text\n\nno dash\n",
        "text\n\n\u2014  AAAA\n".encode(),
        "text\n\n\u2014 name not base64!\n".encode(),
        "text\n\n\u2014 name AAAAAAAA".encode(),
        b"\xff\n\n",
        b"x" * (notes.MAX_NOTE_BYTES + 1),
    ],
)
def test_what_is_no_signed_note_is_refused(note: bytes) -> None:
    with pytest.raises(FormatError, match="no signed note"):
        notes.open_note(note, SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "strongroom/i/node1\n7\n",
        "strongroom/i/node1\n07\n" + base64.b64encode(ROOT).decode() + "\n",
        "strongroom/i/node1\n-7\n" + base64.b64encode(ROOT).decode() + "\n",
        "strongroom/i/node1\nseven\n" + base64.b64encode(ROOT).decode() + "\n",
        "strongroom/i/node1\n7\nAAAA\n",
        "strongroom/i/node1\n7\n" + base64.b64encode(ROOT).decode() + "\nextension\n",
        "\n7\n" + base64.b64encode(ROOT).decode() + "\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    key = SigningKey(SecretBytes(bytes(range(32))))
    line = _b64(SIGNER.verifier.key_id + key.sign(text.encode()))
    with pytest.raises(FormatError, match="holds no checkpoint"):
        notes.open_note(f"{text}\n\u2014 strongroom/i/node1 {line}\n".encode(), SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        VERIFIER.replace("530d903a", "530d903b"),
        VERIFIER.replace("+Aeky", "+Auky"),
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AQ==",
        "example.com/foo+530d903a+not base64",
    ],
)
def test_what_verifies_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no key that verifies"):
        notes.parse_verifier(text)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(FormatError, match="32 bytes, not 31"):
        SigningKey(SecretBytes(bytes(31)))
    with pytest.raises(IntegrityError):
        signing.verify(b"short", b"", bytes(64))


def test_the_id_of_a_key_binds_name_and_key() -> None:
    public = SIGNER.verifier.public
    assert Verifier("a", public).key_id != Verifier("b", public).key_id


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
