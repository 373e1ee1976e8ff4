"""Helpers of the tests that would hide a fault, or make one up, if they were wrong."""

import random
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.memory_keys import Memory


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_long_values_that_differ_are_told_in_one_line(kind: type) -> None:
    """Else pytest makes a diff of them, for longer than the time limit of a test."""
    one = bytes(3_000_000)
    other = one[:1_000_000] + b"x" + one[1_000_000:]
    with pytest.raises(AssertionError) as failed:
        assert kind(one) == kind(other)
    assert "3000000 == 3000001 long values, which differ first at 1000000" in str(failed.value)


def test_short_values_have_their_diff() -> None:
    with pytest.raises(AssertionError, match="At index 1 diff"):
        assert bytes([97, 98]) == b"ac"


@pytest.fixture
def threads_that_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_that_change_often")
def test_threads_write_into_memory_as_into_a_file() -> None:
    """Pieces come in any order from several threads: a sink that moved one failed tests of sound code."""
    piece, pieces, threads = bytes(range(1, 17)), 2000, 4
    for round_ in range(60):
        sink = Memory()
        order = random.Random(round_).sample(range(pieces), pieces)

        def write(mine: list[int], sink: Memory = sink) -> None:
            for number in mine:
                sink.write_at(number * len(piece), memoryview(piece))

        writers = [
            threading.Thread(target=write, args=(order[first::threads],))
            for first in range(threads)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert sink.data == piece * pieces
