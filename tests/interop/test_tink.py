"""The real Tink opens our bodies, and we open Tink's (format/envelope.md §4.1, §6.2)."""

import io
from typing import Any

import pytest
from typing_extensions import override

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import Layout
from strongroom.envelope import header as headers
from strongroom.envelope import spans
from strongroom.envelope.header import FORMATS, Placement, body_aad
from strongroom.envelope.inspect import inspect
from strongroom.envelope.reader import EnvelopeReader
from strongroom.envelope.writer import SealingWriter, new_sealer, seal_source
from tests.support.memory_keys import Memory, MemoryKeys

pytestmark = pytest.mark.interop

SEGMENTS = [4096, 65536, 262144, 1048576]
KEYS = MemoryKeys()


@pytest.fixture(params=FORMATS, ids=["format 1", "format 2"], autouse=True)
def version(request: pytest.FixtureRequest) -> int:
    """Tink is asked about both bodies."""
    KEYS.version = request.param
    return KEYS.version


def sizes(segment: int) -> list[int]:
    """Nine sizes around which something changes."""
    first, full = Layout(segment).first_capacity, Layout(segment).capacity
    edges = [middle + step for middle in (first, first + full) for step in (-1, 0, 1)]
    return [0, 1, *edges, 5 * segment + 17]


def tink_primitive(dek: SecretBytes, segment_bytes: int) -> Any:
    """Tink's streaming AEAD for one raw key."""
    import tink
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        key_value=dek.reveal(),
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=segment_bytes,
            derived_key_size=32,
            hkdf_hash_type=common_pb2.SHA256,
        ),
    )
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    keyset = tink_pb2.Keyset(primary_key_id=1)
    keyset.key.add(
        key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW
    )
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def tink_decrypt(dek: SecretBytes, segment_bytes: int, body: bytes, context: bytes) -> bytes:
    """What Tink makes of a body."""
    primitive = tink_primitive(dek, segment_bytes)
    with primitive.new_decrypting_stream(io.BytesIO(body), context) as stream:
        return bytes(stream.read())


class _Kept(io.BytesIO):
    """Tink closes what it writes to."""

    kept = b""

    @override
    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


def tink_encrypt(dek: SecretBytes, segment_bytes: int, plaintext: bytes, context: bytes) -> bytes:
    """A body that Tink makes."""
    target = _Kept()
    with tink_primitive(dek, segment_bytes).new_encrypting_stream(target, context) as stream:
        stream.write(plaintext)
    return target.kept


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_tink_opens_what_we_seal(segment: int, threads: int) -> None:
    for size in sizes(segment):
        plaintext = rng.random_bytes(size)
        header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=segment)
        context = bytes.fromhex(str(inspect(header, 0).to_json()["context"]))
        whole, streamed = Memory(), Memory()
        sealer = new_sealer(header, dek)
        seal_source(header, sealer, Memory(plaintext), whole, threads=threads)
        with SealingWriter(header, new_sealer(header, dek), streamed, threads=threads) as out:
            out.write(plaintext)
            out.finish()
        for sink in (whole, streamed):
            body = bytes(sink.data[KEYS.header_bytes :])
            assert tink_decrypt(dek, segment, body, context) == plaintext


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_we_open_what_tink_seals(segment: int, threads: int) -> None:
    for size in sizes(segment):
        plaintext, dek = rng.random_bytes(size), rng.new_key()
        prelude = headers.new_prelude(
            dek, file_id=rng.random_bytes(16), segment_bytes=segment, version=KEYS.version
        )
        body = tink_encrypt(dek, segment, plaintext, body_aad(prelude))
        header = headers.Header(prelude, (None, None))
        source, copied = Memory(bytes(KEYS.header_bytes) + body), Memory()
        with EnvelopeReader(source, header, dek) as reader:
            spans.copy(reader, copied, reader.layout, threads=threads)
            middle = memoryview(bytearray(100))
            count = reader.read_into_at(size // 2, middle)
        assert bytes(copied.data) == plaintext
        assert middle[:count] == plaintext[size // 2 : size // 2 + 100]


def test_tink_refuses_what_we_refuse() -> None:
    """The oracle is awake: a wrong context and a cut body fail there too."""
    import tink

    header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=4096)
    sink = Memory()
    seal_source(header, new_sealer(header, dek), Memory(bytes(10_000)), sink, threads=1)
    body, context = bytes(sink.data[KEYS.header_bytes :]), body_aad(header.prelude)
    assert tink_decrypt(dek, 4096, body, context) == bytes(10_000)
    for wrong_body, wrong_context in ((body, b"other"), (body[:8192], context)):
        with pytest.raises(tink.TinkError):
            tink_decrypt(dek, 4096, wrong_body, wrong_context)
