"""An open file of an object store: its header from memory, its body by ranges, read ahead where they follow one another."""

import threading
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import Final

from strongroom.errors import NotFoundError
from strongroom.objectstore import heads
from strongroom.objectstore.base import Bucket, MissingError
from strongroom.objectstore.expected import Expected
from strongroom.objectstore.head import Head
from strongroom.system.positions import Span

BLOCK_BYTES: Final = 4 << 20
_MOST_BLOCKS: Final = 4
"""For two readers at once, with the block in which each reads and the one behind it."""
_RUN_BYTES: Final = 512 * 1024
"""Reads that followed one another over so many bytes show that what lies behind them is wanted, too."""
_RUNS: Final = 32
"""So many runs of reads are known: readers of several threads follow one another in turns."""


class OpenedObject:
    """A file of which the head was read; threads may share it.

    Args:
        bucket: The objects of the store.
        key: The key of the file.
        found: The head of the file when it was opened.
        pool: Runs the requests that read ahead.
    """

    def __init__(self, bucket: Bucket, key: str, found: Head, pool: Executor) -> None:
        self._bucket, self._key, self._head, self._pool = bucket, key, found, pool
        self._lock = threading.Lock()
        self._blocks: dict[int, Future[bytes]] = {}  # the one that was used last stands at the end
        self._next = -1
        self._expected = Expected(self._range, pool)
        self._runs: dict[int, int] = {}  # where a run of reads has come to, and how long it is

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._head.size

    def expect(self, spans: Iterable[Span]) -> None:
        """Ask the store for all of it at once; what lies in the header is there already."""
        first, length = len(self._head.header), self._head.body_bytes
        inside = ((max(0, start - first), min(length, stop - first)) for start, stop in spans)
        self._expected.ask((start, stop) for start, stop in inside if start < stop)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end of the file.

        Raises:
            NotFoundError: The file was deleted long ago, and its body swept meanwhile.
            StorageError: The store refuses, or does not answer.
        """
        target = target.cast("B")[: max(0, self.size - offset)]
        done = 0
        while done < len(target):
            piece = self._piece(offset + done, len(target) - done)
            target[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def close(self) -> None:
        """Drop what was read ahead."""
        with self._lock:
            blocks, self._blocks = list(self._blocks.values()), {}
        for block in blocks:
            block.cancel()
        self._expected.forget()

    # ---- inside ----------------------------------------------------------------------------------

    def _piece(self, offset: int, most: int) -> bytes | memoryview:
        header = self._head.header
        if offset < len(header):
            return header[offset : offset + most]
        at = offset - len(header)
        expected = self._expected.read(at, most)
        if expected is not None:
            with self._lock:
                self._run(at, len(expected))
            return expected
        number = at // BLOCK_BYTES
        block = self._block(number, at, most)
        if block is None:
            # somewhere else than where the last reader was: no more than what is asked for
            return self._range(at, min(most, BLOCK_BYTES))
        start = at - number * BLOCK_BYTES
        return memoryview(block.result())[start : start + most]

    def _block(self, number: int, at: int, most: int) -> "Future[bytes] | None":
        """The block, if readers have come to it one after the other; the next one is then asked for as well.

        Args:
            number: The number of the block.
            at: Where the read begins in the body.
            most: How many bytes are wanted.
        """
        with self._lock:
            run = self._run(at, most)
            if number in self._blocks:
                found = self._blocks[number] = self._blocks.pop(number)
            elif number == self._next or run >= _RUN_BYTES:
                found = self._fetch(number)
            else:
                return None
            if number + 1 not in self._blocks and number + 1 < self._count:
                self._fetch(number + 1)
            self._next = max(self._next, number + 1)
            return found

    def _run(self, at: int, most: int) -> int:
        """How many bytes were read one after the other up to a read; the read is counted for the next one."""
        run, count = self._runs.pop(at, 0), min(most, BLOCK_BYTES)
        while len(self._runs) >= _RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[at + count] = run + count
        return run

    def _fetch(self, number: int) -> "Future[bytes]":
        while len(self._blocks) >= _MOST_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        start = number * BLOCK_BYTES
        count = min(BLOCK_BYTES, self._head.body_bytes - start)
        self._blocks[number] = found = self._pool.submit(self._range, start, count)
        return found

    @property
    def _count(self) -> int:
        return -(-self._head.body_bytes // BLOCK_BYTES)

    def _range(self, start: int, count: int) -> bytes:
        name = heads.body_place(self._key, self._head.body_id)
        try:
            return self._bucket.read_range(name, start, count)
        except MissingError:
            raise NotFoundError(f"the file store has no file {self._key} any more") from None
