"""Our published vectors, good and bad (format/envelope.md)."""

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from strongroom import errors
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, StreamReader, read_header
from strongroom.kms.keyring import KeyRing
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.states import MekState
from tests.support import derivations
from tests.support.memory_keys import Memory
from tests.vectors.envelope import make_envelope

if TYPE_CHECKING:
    from strongroom.errors import StrongroomError

FOLDER = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((FOLDER / "envelope.json").read_text(encoding="utf-8"))
CLAUSES = (FOLDER.parents[2] / "docs" / "format" / "envelope.md").read_text(encoding="utf-8")
MEKS = {mek_id: SecretBytes(bytes.fromhex(key)) for mek_id, key in VECTORS["meks"].items()}
STATES = (MekState.DECRYPT_ONLY, MekState.ENCRYPT_OR_DECRYPT)
RING = KeyRing(
    tuple(
        make_envelope.mek(mek_id, material, state)
        for (mek_id, material), state in zip(MEKS.items(), STATES, strict=True)
    )
)
KEYS = EnvelopeKeys(RingKeys(lambda: RING))


def _file(vector: dict[str, Any]) -> bytes:
    data = zlib.decompress(base64.b64decode(vector["file"]))
    assert hashlib.sha256(data).hexdigest() == vector["file_sha256"]
    return data


def _seekable(data: bytes, place: Placement) -> bytes:
    source = Memory(data)
    header = read_header(source)
    with EnvelopeReader(source, header, KEYS.open_envelope(header, place)) as reader:
        target = bytearray(reader.size)
        reader.read_into_at(0, memoryview(target))
    return bytes(target)


def _piped(data: bytes, place: Placement) -> bytes:
    reader = StreamReader(io.BytesIO(data).readinto)
    dek = KEYS.open_envelope(reader.header, place)
    return b"".join(bytes(piece) for piece in reader.plaintext(dek))


READERS = [pytest.param(_seekable, id="seekable"), pytest.param(_piped, id="piped")]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_good_vectors_open(vector: dict[str, Any], read: Any) -> None:
    plaintext = read(_file(vector), Placement(vector["site_id"], vector["extract_id"]))
    assert len(plaintext) == vector["plaintext_bytes"]
    assert hashlib.sha256(plaintext).hexdigest() == vector["plaintext_sha256"]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_bad_vectors_are_refused(vector: dict[str, Any], read: Any) -> None:
    expected: type[StrongroomError] = getattr(errors, vector["error"])
    with pytest.raises(expected):
        read(_file(vector), Placement(vector["site_id"], vector["extract_id"]))


def test_each_vector_names_a_clause_of_the_format() -> None:
    for vector in VECTORS["good"] + VECTORS["bad"]:
        assert f"- {vector['clause']} " in CLAUSES, vector["name"]


def test_the_vectors_are_made_anew_byte_for_byte() -> None:
    """Whoever changes what is written changes the format: the page comes first, then a new version."""
    with derivations.fixed_randomness():
        made = make_envelope.document()
    assert made == (FOLDER / "envelope.json").read_text(encoding="utf-8")
