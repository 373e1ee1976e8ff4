"""Tink's AES256-GCM-HKDF streaming AEAD (format/envelope.md §4): segments by number, in any order.

The functions work on buffers that callers own and reuse: no file, no thread, no allocation of a segment's size. A
sealer never seals a segment number twice, since that would repeat a nonce. AES-GCM releases the interpreter's lock for
a whole segment, so threads scale.
"""

import threading
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import kdf, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, StateError

TAG_BYTES = 16
SALT_BYTES = 32
PREFIX_BYTES = 7
STREAM_HEADER_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
MAX_SEGMENTS = 2**32
MAX_BODY_BYTES = 2**45
"""The most segments under one key: far below the bound of AES-GCM, and more than any extract has (§4.7)."""


@dataclass(frozen=True)
class Layout:
    """The positions of segments in the body and in the plaintext (§4.5)."""

    segment_bytes: int

    @property
    def first_capacity(self) -> int:
        """Plaintext bytes that segment 0 holds."""
        return self.segment_bytes - STREAM_HEADER_BYTES - TAG_BYTES

    @property
    def most_segments(self) -> int:
        """How many segments a body may have (§4.7)."""
        return min(MAX_SEGMENTS, MAX_BODY_BYTES // self.segment_bytes)

    @property
    def capacity(self) -> int:
        """Plaintext bytes that any other segment holds."""
        return self.segment_bytes - TAG_BYTES

    def segments(self, plaintext_bytes: int) -> int:
        """The number of segments of a plaintext of this length."""
        rest = max(plaintext_bytes - self.first_capacity, 0)
        return 1 + -(-rest // self.capacity)

    def body_bytes(self, plaintext_bytes: int) -> int:
        """The length of the body of a plaintext of this length."""
        overhead = STREAM_HEADER_BYTES + TAG_BYTES * self.segments(plaintext_bytes)
        return plaintext_bytes + overhead

    def plaintext_bytes(self, body_bytes: int) -> int:
        """The plaintext's length for a body of this length.

        Raises:
            IntegrityError: No plaintext gives a body of this length (§4.8), so the body was cut.
        """
        full, tail = divmod(body_bytes, self.segment_bytes)
        least = TAG_BYTES + 1 if full else STREAM_HEADER_BYTES + TAG_BYTES
        if (tail or not full) and tail < least:
            raise IntegrityError
        return body_bytes - STREAM_HEADER_BYTES - TAG_BYTES * (full + (tail > 0))

    def plaintext_offset(self, index: int) -> int:
        """Where a segment's plaintext begins."""
        return self.first_capacity + (index - 1) * self.capacity if index else 0

    def body_offset(self, index: int) -> int:
        """Where a segment's ciphertext begins; segment 0 begins after the stream header."""
        return index * self.segment_bytes if index else STREAM_HEADER_BYTES

    def segment_at(self, plaintext_offset: int) -> int:
        """The segment that holds this byte of the plaintext."""
        beyond = plaintext_offset - self.first_capacity
        return 1 + beyond // self.capacity if beyond >= 0 else 0


class SegmentSealer:
    """Seals the segments of one stream, each once (§4.7).

    Args:
        dek: The data key.
        aad: The stream's associated data (§4.3).
        most: How many segments it may seal (§4.7).
        salt: The salt, for test vectors only; None makes a fresh one (§2.6).
        prefix: The nonce prefix, for test vectors only; None makes a fresh one.
    """

    def __init__(
        self,
        dek: SecretBytes,
        aad: bytes,
        *,
        most: int = MAX_SEGMENTS,
        salt: bytes | None = None,
        prefix: bytes | None = None,
    ) -> None:
        salt = rng.random_bytes(SALT_BYTES) if salt is None else salt
        self._prefix = rng.random_bytes(PREFIX_BYTES) if prefix is None else prefix
        self.stream_header = bytes([STREAM_HEADER_BYTES]) + salt + self._prefix
        self._cipher = _cipher(dek, salt, aad)
        self._lock = threading.Lock()
        self._next, self._most = 0, most

    def claim(self, count: int = 1) -> int:
        """Reserve the next segment numbers, which no other caller gets; returns the first.

        Raises:
            StateError: The stream would have too many segments.
        """
        with self._lock:
            first = self._next
            if first + count > self._most:
                raise StateError(f"a stream has at most {self._most} segments")
            self._next = first + count
        return first

    def seal_into(self, index: int, data: memoryview, target: memoryview, *, last: bool) -> None:
        """Seal a claimed segment; `target` is 16 bytes longer than `data`."""
        self._cipher.encrypt_into(_nonce(self._prefix, index, last), data, None, target)


class SegmentOpener:
    """Opens the segments of one stream, in any order.

    Args:
        dek: The data key.
        aad: The stream's associated data (§4.3).
        stream_header: The first 40 bytes of the body.

    Raises:
        IntegrityError: The bytes are no stream header (§4.2).
    """

    def __init__(self, dek: SecretBytes, aad: bytes, stream_header: bytes) -> None:
        if len(stream_header) != STREAM_HEADER_BYTES or stream_header[0] != STREAM_HEADER_BYTES:
            raise IntegrityError
        self._prefix = stream_header[1 + SALT_BYTES :]
        self._cipher = _cipher(dek, stream_header[1 : 1 + SALT_BYTES], aad)

    def open_into(self, index: int, data: memoryview, target: memoryview, *, last: bool) -> None:
        """Verify and decrypt a segment; `target` is 16 bytes shorter, and zeroed on failure.

        Raises:
            IntegrityError: The key or the segment's number is wrong, or bytes were changed (§4.10: nothing of the
                segment may be used).
        """
        try:
            self._cipher.decrypt_into(_nonce(self._prefix, index, last), data, None, target)
        except InvalidTag:
            # unverified plaintext must not stay in a buffer that a caller might use
            target[:] = bytes(len(target))
            raise IntegrityError from None


def _cipher(dek: SecretBytes, salt: bytes, aad: bytes) -> AESGCM:
    return AESGCM(kdf.hkdf(dek, salt=salt, info=aad).reveal())


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + (b"\1" if last else b"\0")
