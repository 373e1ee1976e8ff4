"""Holders of MEKs behind the port `envelope.keys.EnvelopeKeys`, one of them in memory, and sources and sinks in memory."""

from abc import ABC, abstractmethod

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import slots
from strongroom.envelope.header import Header, KeySlot, Placement, Prelude
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import new_sealer, seal_source
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from strongroom.overriding import override


class Ring(ABC):
    """`kms.accessor` in small, wherever its MEKs are; one of them is active."""

    @property
    @abstractmethod
    def active_mek_id(self) -> str:
        """The MEK that encrypts."""

    @abstractmethod
    def _mek(self, mek_id: str) -> SecretBytes:
        """One of them; raises KeyNotFoundError."""

    def new_envelope(
        self, placement: Placement, *, segment_bytes: int = headers.DEFAULT_SEGMENT_BYTES
    ) -> tuple[Header, SecretBytes]:
        dek = rng.new_key()
        prelude = headers.new_prelude(
            dek, file_id=rng.random_bytes(16), segment_bytes=segment_bytes
        )
        return Header(prelude, (self._seal(dek, prelude, placement, 1), None)), dek

    def open_envelope(self, header: Header, placement: Placement | None) -> SecretBytes:
        failure: IntegrityError | KeyNotFoundError = IntegrityError()
        for _, slot in header.intact:
            if placement is not None and slot.placement != placement:
                raise IntegrityError(f"the file belongs to {slot.placement.describe()}")
            try:
                return slots.open_slot(slot, header.prelude, mek=self._mek(slot.mek_id))
            except (IntegrityError, KeyNotFoundError) as error:
                failure = error
        raise failure

    def rewrapped_slot(self, header: Header, placement: Placement | None) -> KeySlot:
        dek = self.open_envelope(header, placement)
        place = placement or header.newest.placement
        return self._seal(dek, header.prelude, place, headers.next_sequence(header))

    def _seal(
        self, dek: SecretBytes, prelude: Prelude, placement: Placement, sequence: int
    ) -> KeySlot:
        mek_id = self.active_mek_id
        return slots.seal_slot(
            mek=self._mek(mek_id),
            mek_id=mek_id,
            dek=dek,
            prelude=prelude,
            placement=placement,
            sequence=sequence,
            salt=rng.random_bytes(32),
            nonce=rng.random_bytes(12),
        )


class MemoryKeys(Ring):
    """MEKs by id."""

    def __init__(self) -> None:
        self._meks: dict[str, SecretBytes] = {}
        self._active = ""
        self.rotate()

    @property
    @override
    def active_mek_id(self) -> str:
        return self._active

    def rotate(self) -> str:
        self._active = new_id()
        self._meks[self._active] = rng.new_key()
        return self._active

    def forget(self, mek_id: str) -> None:
        del self._meks[mek_id]

    @override
    def _mek(self, mek_id: str) -> SecretBytes:
        if mek_id not in self._meks:
            raise KeyNotFoundError(f"MEK {mek_id} is not known")
        return self._meks[mek_id]


class Memory:
    """Bytes as a source and as a sink."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        return len(self.data)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        piece = self.data[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
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
    with EnvelopeReader(source, header, keys.open_envelope(header, placement)) as reader:
        target = bytearray(reader.size)
        reader.read_into_at(0, memoryview(target))
    return bytes(target)
