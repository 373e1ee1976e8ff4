"""Our published vectors, good and bad (format/envelope.md, format/envelope-2.md)."""

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
from tests.vectors.envelope import make_envelope, make_envelope_2

if TYPE_CHECKING:
    from strongroom.errors import StrongroomError

FOLDER = Path(__file__).parent
#: Each format: its vectors, the page that they cite, and what makes them.
MADE = {"envelope": make_envelope.document, "envelope_2": make_envelope_2.document}
FILES: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in MADE
}
VECTORS = FILES["envelope"]
GOOD, BAD = (
    [pytest.param(one, id=f"{name} {one['name']}") for name in FILES for one in FILES[name][kind]]
    for kind in ("good", "bad")
)
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
    with EnvelopeReader(source, header, KEYS.open_envelope(header, place).dek) as reader:
        target = bytearray(reader.size)
        reader.read_into_at(0, memoryview(target))
    return bytes(target)


def _piped(data: bytes, place: Placement) -> bytes:
    reader = StreamReader(io.BytesIO(data).readinto)
    dek = KEYS.open_envelope(reader.header, place).dek
    return b"".join(bytes(piece) for piece in reader.plaintext(dek))


READERS = [pytest.param(_seekable, id="seekable"), pytest.param(_piped, id="piped")]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("vector", GOOD)
def test_good_vectors_open(vector: dict[str, Any], read: Any) -> None:
    plaintext = read(_file(vector), Placement(vector["site_id"], vector["extract_id"]))
    assert len(plaintext) == vector["plaintext_bytes"]
    assert hashlib.sha256(plaintext).hexdigest() == vector["plaintext_sha256"]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("vector", BAD)
def test_bad_vectors_are_refused(vector: dict[str, Any], read: Any) -> None:
    expected: type[StrongroomError] = getattr(errors, vector["error"])
    with pytest.raises(expected):
        read(_file(vector), Placement(vector["site_id"], vector["extract_id"]))


@pytest.mark.parametrize("name", FILES)
def test_each_vector_names_a_clause_of_the_format(name: str) -> None:
    clauses = (FOLDER.parents[2] / FILES[name]["format"]).read_text(encoding="utf-8")
    for vector in FILES[name]["good"] + FILES[name]["bad"]:
        assert f"- {vector['clause']} " in clauses, vector["name"]


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_are_made_anew_byte_for_byte(name: str) -> None:
    """Whoever changes what is written changes the format: the page comes first, then a new version."""
    with derivations.fixed_randomness():
        made = MADE[name]()
    assert made == (FOLDER / f"{name}.json").read_text(encoding="utf-8")
