"""Cosignatures of a checkpoint, read by what the format says alone (C2SP tlog-cosignature; docs/format/log-heads.md 2.3)."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import cosignatures, notes
from strongroom.eventlog.cosignatures import Witness
from strongroom.eventlog.notes import LogSigner

KEY, OTHER = SigningKey(SecretBytes(b"\x01" * 32)), SigningKey(SecretBytes(b"\x02" * 32))
LOG = LogSigner("strongroom/i/node2", SigningKey(SecretBytes(b"\x03" * 32)))
NAME = "strongroom/i/node1"
NOTE = LOG.sign(7, b"\x04" * 32)
AT = 1_796_000_000


def test_a_foreign_reader_verifies_a_cosignature() -> None:
    """b11, (f) 12: the line as C2SP has it, and the note is still one of the log's key."""
    made = cosignatures.cosigned(NOTE, NAME, KEY, AT)
    assert made.startswith(NOTE)
    text, _, lines = made.decode().partition("\n\n")
    dash, name, line = lines.splitlines()[-1].split(" ")
    raw = base64.b64decode(line)
    wanted = hashlib.sha256(f"{NAME}\n".encode() + b"\x04" + KEY.public).digest()[:4]
    assert (dash, name, raw[:4]) == ("\u2014", NAME, wanted)
    assert int.from_bytes(raw[4:12], "big") == AT
    told = f"cosignature/v1\ntime {AT}\n{text}\n".encode()
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(raw[12:], told)
    assert notes.open_note(made, LOG.verifier).size == 7
    assert notes.told_by(made).root == b"\x04" * 32
    assert cosignatures.check(made, Witness(NAME, KEY.public)) == AT
    assert cosignatures.told_at(made, NAME) == AT


def test_a_cosignature_counts_for_its_witness_its_time_and_its_head_alone() -> None:
    """(f) 12: another key, another name, another time, another checkpoint."""
    made = cosignatures.cosigned(NOTE, NAME, KEY, AT)
    for witness in (Witness(NAME, OTHER.public), Witness("strongroom/i/node3", KEY.public)):
        with pytest.raises(IntegrityError, match="not cosigned"):
            cosignatures.check(made, witness)
    with pytest.raises(IntegrityError, match="not cosigned"):
        cosignatures.check(NOTE, Witness(NAME, KEY.public))
    with pytest.raises(IntegrityError, match="not cosigned"):
        cosignatures.told_at(NOTE, NAME)
    later = cosignatures.cosigned(NOTE, NAME, KEY, AT + 60).decode().splitlines()[-1]
    raw = base64.b64decode(later.split(" ")[2])
    first = base64.b64decode(made.decode().splitlines()[-1].split(" ")[2])
    for line in (raw[:12] + first[12:], first[:-1] + bytes([first[-1] ^ 1]), first[:4]):
        forged = NOTE + f"\u2014 {NAME} {base64.b64encode(line).decode()}\n".encode()
        with pytest.raises(IntegrityError):
            cosignatures.check(forged, Witness(NAME, KEY.public))
    longer = LOG.sign(8, b"\x04" * 32)
    moved = longer + made[len(NOTE) :]
    with pytest.raises(IntegrityError):
        cosignatures.check(moved, Witness(NAME, KEY.public))
    with pytest.raises(FormatError):
        cosignatures.cosigned(b"no note", NAME, KEY, AT)
    # a time that has no text is the last one that has
    last = base64.b64encode(first[:4] + bytes([255]) * 72).decode()
    endless = NOTE + f"\u2014 {NAME} {last}\n".encode()
    assert cosignatures.told_at(endless, NAME) == 253_402_300_799
