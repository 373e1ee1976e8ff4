"""Pipes: whole reads, and writes in order only."""

import os

import pytest

from strongroom.errors import StorageError
from strongroom.filestore.pipes import PipeSink, PipeSource


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def test_reads_fill_the_buffer_until_the_end(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    for piece in (b"ab", b"c"):
        os.write(writing, piece)
    os.close(writing)
    source, target = PipeSource(reading), bytearray(2)
    assert source.read_into(memoryview(target)) == 2
    assert source.read_into(memoryview(target)) == 1
    assert source.read_into(memoryview(target)) == 0
    os.close(reading)
    with pytest.raises(StorageError, match="cannot read the input"):
        source.read_into(memoryview(target))


def test_writes_follow_each_other(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sink = PipeSink(writing)
    sink.write_at(0, memoryview(b"ab"))
    sink.write_at(2, memoryview(b"cd"))
    with pytest.raises(StorageError, match="cannot go from 4 to 2"):
        sink.write_at(2, memoryview(b"x"))
    assert os.read(reading, 10) == b"abcd"
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        sink.write_at(4, memoryview(b"x"))
    os.close(writing)
    with pytest.raises(StorageError, match="cannot write the output"):
        sink.write_at(4, memoryview(b"x"))
