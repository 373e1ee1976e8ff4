"""Buffers in front of a sink."""

import threading
import time

import pytest
from typing_extensions import override

from strongroom.crypto.workers import page_buffer
from strongroom.errors import StorageError
from strongroom.system.behind import WriteBehind


class _Sink:
    """Notes what comes, and from whom."""

    def __init__(self, fails_at: int = -1) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.threads: set[int] = set()
        self._fails_at = fails_at

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        if offset == self._fails_at:
            raise StorageError("no space left on device")
        self.pieces.append((offset, bytes(data)))
        self.threads.add(threading.get_ident())


def _fill(behind: WriteBehind, count: int) -> None:
    for number in range(count):
        buffer = behind.take()
        buffer[:3] = f"{number:03}".encode()
        behind.put(buffer, number * 3, buffer[:3], 1)


@pytest.mark.parametrize("is_threaded", [False, True])
def test_all_pieces_come_in_order(is_threaded: bool) -> None:
    sink, told = _Sink(), list[int]()
    buffers = [page_buffer(8) for _ in range(3 if is_threaded else 1)]
    with WriteBehind(sink, buffers, is_threaded=is_threaded, progress=told.append) as behind:
        _fill(behind, 100)
        behind.finish()
    assert sink.pieces == [(number * 3, f"{number:03}".encode()) for number in range(100)]
    assert sum(told) == 100
    assert (threading.get_ident() in sink.threads) is not is_threaded


def test_a_single_piece_needs_no_thread() -> None:
    sink = _Sink()
    with WriteBehind(sink, [page_buffer(8), page_buffer(8)], is_threaded=True) as behind:
        _fill(behind, 1)
        behind.finish()
    assert sink.threads == {threading.get_ident()}


@pytest.mark.parametrize("is_threaded", [False, True])
def test_what_failed_is_raised_by_a_later_call_and_nothing_is_written_after_it(
    is_threaded: bool,
) -> None:
    sink = _Sink(fails_at=6)
    buffers = [page_buffer(8) for _ in range(3)]
    with WriteBehind(sink, buffers, is_threaded=is_threaded) as behind, pytest.raises(StorageError):  # noqa: PT012
        _fill(behind, 100)
        behind.finish()
    assert [offset for offset, _ in sink.pieces] == [0, 3]


def test_a_last_piece_that_fails_is_told_by_finish() -> None:
    with WriteBehind(_Sink(fails_at=0), [page_buffer(8)] * 2, is_threaded=True) as behind:
        _fill(behind, 1)
        with pytest.raises(StorageError):
            behind.finish()


def test_what_is_discarded_is_not_written() -> None:
    """A piece that waits is dropped, and no thread writes after the block."""
    held = threading.Event()

    class _Slow(_Sink):
        @override
        def write_at(self, offset: int, data: bytes | memoryview) -> None:
            assert held.wait(60)
            super().write_at(offset, data)

    sink = _Slow()
    with WriteBehind(sink, [page_buffer(8) for _ in range(4)], is_threaded=True) as behind:
        _fill(behind, 3)
        stopper = threading.Thread(target=behind.discard)
        stopper.start()
        while not behind._is_stopped:
            time.sleep(0.001)
        held.set()
        stopper.join()
    assert [offset for offset, _ in sink.pieces] in ([], [0])
