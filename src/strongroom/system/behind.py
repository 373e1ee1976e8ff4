"""Writes filled buffers in a background thread, so that a caller seals the next piece while the file system copies."""

import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

from strongroom.system.positions import Progress, Sink


class _Piece(NamedTuple):
    """A piece to write, and the buffer that becomes free once the piece is written."""

    buffer: memoryview
    offset: int
    data: memoryview
    counted: int


class WriteBehind:
    """Some buffers in front of a sink; a context manager that leaves no thread behind.

    Pieces are written in the order of the calls, as a pipe needs it. An error of the writing thread is raised by the
    caller's next call. The thread that writes also calls `progress`: a throttle that sleeps there holds up the caller
    too, once all buffers are full.

    Args:
        sink: Where the pieces go.
        buffers: The buffers to fill, in turns; one is enough if no thread writes.
        is_threaded: Whether a background thread writes, from the second piece on; otherwise `put` writes.
        progress: Called after each piece with the number that `put` was given for it.
    """

    def __init__(
        self,
        sink: Sink,
        buffers: Sequence[memoryview],
        *,
        is_threaded: bool,
        progress: Progress | None = None,
    ) -> None:
        import queue  # imported here: a program that seals nothing does not load the module

        self._sink, self._progress = sink, progress
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._errors: list[BaseException] = []
        self._is_threaded, self._is_stopped = is_threaded, False
        for buffer in buffers:
            self._free.put(buffer)
        self._thread: threading.Thread | None = None

    def take(self) -> memoryview:
        """A buffer to fill; waits until one is free."""
        self._check()
        if self._thread is None and not self._full.empty():  # a single piece needs no thread
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        buffer = self._free.get()
        self._check()  # a write that failed gave its buffer back, too
        return buffer

    def put(self, buffer: memoryview, offset: int, data: memoryview, counted: int) -> None:
        """Have a piece of a buffer written.

        Args:
            buffer: A buffer from `take`, which the caller must not touch any more.
            offset: The position of the piece in the sink.
            data: The piece, a part of the buffer.
            counted: The number to report to `progress`: bytes of plaintext.
        """
        piece = _Piece(buffer, offset, data, counted)
        if self._is_threaded:
            self._full.put(piece)
        else:
            self._write(piece)
            self._free.put(buffer)

    def finish(self) -> None:
        """Wait until the sink has everything."""
        self._end()
        self._check()

    def discard(self) -> None:
        """Write no further piece; does nothing after `finish`."""
        self._is_stopped = True
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _end(self) -> None:
        self._full.put(None)
        if self._thread is None:
            self._run()
        else:
            self._thread.join()

    def _check(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        while (piece := self._full.get()) is not None:
            try:
                if not self._errors and not self._is_stopped:
                    self._write(piece)
            except BaseException as error:  # noqa: BLE001 raised in a caller's thread by _check
                self._errors.append(error)
            self._free.put(piece.buffer)

    def _write(self, piece: _Piece) -> None:
        self._sink.write_at(piece.offset, piece.data)
        if self._progress is not None:
            self._progress(piece.counted)
