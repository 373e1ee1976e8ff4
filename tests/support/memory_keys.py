"""Keys of envelopes whose MEKs lie in memory, and sources and sinks in memory."""

import threading
from datetime import UTC, datetime

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import (
    BLOCK_BYTES,
    DEFAULT_SEGMENT_BYTES,
    FORMAT_1,
    Header,
    Placement,
)
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import new_sealer, seal_source
from strongroom.ids import MekId, new_id
from strongroom.kms.keyring import KeyRing
from strongroom.kms.ring_keys import RingKeys

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class MemoryKeys(EnvelopeKeys):
    """The keys of envelopes as a node has them, over a ring that is rotated at will."""

    def __init__(self, version: int = FORMAT_1) -> None:
        self.ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), _NOW)
        #: The format of new envelopes.
        self.version = version
        super().__init__(RingKeys(lambda: self.ring), lambda: self.version)

    @property
    def header_bytes(self) -> int:
        """Where the body of a new envelope begins."""
        return BLOCK_BYTES * self.version

    def rotate(self) -> str:
        """A new MEK encrypts; gives its id."""
        self.ring = self.ring.with_new_active(MekId(new_id()), rng.new_key(), _NOW)
        return self.active_mek_id

    def forget(self, mek_id: str) -> None:
        """A decrypt-only MEK goes."""
        self.ring = self.ring.without(mek_id)


class Memory:
    """Bytes as a source and as a sink; several threads may write, each at a place of its own, as into a file."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self._growing = threading.Lock()

    @property
    def size(self) -> int:
        return len(self.data)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        piece = self.data[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        with self._growing:
            if len(self.data) < offset:
                self.data.extend(bytes(offset - len(self.data)))
            self.data[offset : offset + len(data)] = data


def sealed(
    keys: EnvelopeKeys,
    plaintext: bytes,
    *,
    segment_bytes: int = 4096,
    threads: int = 1,
    placement: Placement | None = None,
) -> bytes:
    """A whole envelope."""
    place = placement or Placement.standalone()
    header, dek = keys.new_envelope(place, segment_bytes=segment_bytes)
    sink = Memory()
    seal_source(header, new_sealer(header, dek), Memory(plaintext), sink, threads=threads)
    return bytes(sink.data)


def opened(keys: EnvelopeKeys, envelope: bytes, placement: Placement | None = None) -> bytes:
    """The plaintext of a whole envelope, through the seekable reader."""
    source = Memory(envelope)
    header = read_header(source)
    with EnvelopeReader(source, header, keys.open_envelope(header, placement).dek) as reader:
        target = bytearray(reader.size)
        reader.read_into_at(0, memoryview(target))
    return bytes(target)


class MemoryService:
    """A key service of `strongroom.client` over keys in memory, for standalone files."""

    def __init__(self, keys: EnvelopeKeys) -> None:
        self.keys = keys
        #: How often it was asked.
        self.asked = 0

    def generate(self, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> tuple[Header, SecretBytes]:
        self.asked += 1
        return self.keys.new_envelope(Placement.standalone(), segment_bytes=segment_bytes)

    def unwrap(self, header: Header) -> SecretBytes:
        self.asked += 1
        return self.keys.open_envelope(header, Placement.standalone()).dek
