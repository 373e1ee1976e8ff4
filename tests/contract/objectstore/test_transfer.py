"""Large files in parts, out of order, read ahead or from anywhere (format/object-store.md §3.1)."""

import random
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from strongroom.errors import NotFoundError, StateError, StorageError
from strongroom.filestore.base import HEADER_BYTES
from strongroom.objectstore import opened, pending
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.opened import OpenedObject
from strongroom.objectstore.store import ObjectFileStore
from tests.support import waiting
from tests.support.object_stores import Between, Fault
from tests.support.store_kinds import Kind

MIB = 1 << 20
SEED = 7


@pytest.fixture
def store(through: Bucket) -> Iterator[ObjectFileStore]:
    made = ObjectFileStore(through, "node1")
    yield made
    made.close()


def data_of(size: int) -> bytes:
    return random.Random(SEED).randbytes(size)


@pytest.mark.parametrize(
    "size",
    [
        1,
        HEADER_BYTES,
        HEADER_BYTES + 1,
        8 * MIB + HEADER_BYTES,
        8 * MIB + HEADER_BYTES + 1,
        27 * MIB + 13,
    ],
)
def test_threads_write_and_read_pieces_in_nearly_any_order(
    store: ObjectFileStore, size: int
) -> None:
    data = data_of(size)
    new = store.put("one")
    pieces = list(range(0, size, 300_000))
    for start in range(0, len(pieces), 4):  # as several threads that seal do: near to the order
        near = pieces[start : start + 4]
        random.Random(SEED).shuffle(near)
        threads = [
            threading.Thread(target=new.write_at, args=(at, data[at : at + 300_000])) for at in near
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    new.commit()
    with closing(store.open("one")) as file:
        assert file.size == size
        found = bytearray(size)

        def read(first: int) -> None:
            for at in range(first * 200_000, size, 2 * 200_000):
                end = min(size, at + 200_000)
                assert file.read_into_at(at, memoryview(found)[at:end]) == end - at

        readers = [threading.Thread(target=read, args=(first,)) for first in range(2)]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join()
    assert found == data


def test_reads_from_anywhere(store: ObjectFileStore, between: Between) -> None:
    """Each gets what it asks for, and no more is fetched than for a reader that goes on."""
    data = data_of(20 * MIB)
    new = store.put("one")
    new.write_at(0, data)
    new.commit()
    with closing(store.open("one")) as file:
        rng = random.Random(SEED)
        for _ in range(20):
            at, count = rng.randrange(len(data)), rng.randrange(1, 100_000)
            target = bytearray(count)
            done = file.read_into_at(at, memoryview(target))
            assert target[:done] == data[at : at + count]
        assert file.read_into_at(len(data), memoryview(bytearray(1))) == 0
        assert file.read_into_at(len(data) + 5, memoryview(bytearray(1))) == 0
        before = len(between.asked)
        target = bytearray(len(data))
        assert file.read_into_at(0, memoryview(target)) == len(data)
        assert target == data
        assert len(between.asked) - before <= 20 * MIB // opened.BLOCK_BYTES + 3


def test_a_range_of_an_envelope_costs_what_it_has(
    store: ObjectFileStore, through: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """b13: opening it and reading 64 KiB fetched eight mebibytes; whoever reads on still gets whole blocks ahead."""
    data = data_of(20 * MIB)
    new = store.put("one")
    new.write_at(0, data)
    new.commit()
    asked: list[int] = []
    before = through.read_range

    def read_range(name: str, start: int, count: int) -> bytes:
        asked.append(count)
        return before(name, start, count)

    monkeypatch.setattr(through, "read_range", read_range)
    segment = 256 * 1024
    with closing(store.open("one")) as file:
        for at, count in ((HEADER_BYTES, 40), (len(data) - segment, segment), (9 * MIB, segment)):
            assert file.read_into_at(at, memoryview(bytearray(count))) == count
        assert file.read_into_at(9 * MIB + segment, memoryview(bytearray(segment))) == segment
        assert asked == [40, *[segment] * 3]
        assert file.read_into_at(9 * MIB + 2 * segment, memoryview(bytearray(segment))) == segment
    assert opened.BLOCK_BYTES in asked


def test_readers_that_go_back_and_two_far_apart_fetch_no_block_again_and_again(
    store: ObjectFileStore, between: Between
) -> None:
    """A block below all others was dropped as soon as it was fetched, for each read of it anew."""
    blocks, step = 8, MIB
    data = data_of(blocks * opened.BLOCK_BYTES)
    new = store.put("one")
    new.write_at(0, data)
    new.commit()

    def read(file: OpenedObject, at: int) -> None:
        target = bytearray(step)
        assert file.read_into_at(at, memoryview(target)) == step
        assert target == data[at : at + step]

    with closing(store.open("one")) as file:
        for _ in range(2):
            for at in range(0, len(data), step):
                read(file, at)
    assert len(between.asked) <= 2 * (blocks + 4) + 4
    before = len(between.asked)
    with closing(store.open("one")) as file:
        for at in range(0, len(data) // 2, step):
            read(file, at)
            read(file, len(data) // 2 + at)
    assert len(between.asked) - before <= blocks + 12


@pytest.mark.parametrize(
    "writes",
    [
        [(1, b"x")],
        [(0, b"x"), (2, b"x")],
        [(0, bytes(HEADER_BYTES)), (HEADER_BYTES + 1, b"x")],
        [(HEADER_BYTES, b"x")],
        [(0, bytes(100)), (HEADER_BYTES, b"x")],
    ],
)
def test_a_file_with_gaps_is_refused(
    store: ObjectFileStore, bucket: Bucket, writes: list[tuple[int, bytes]]
) -> None:
    new = store.put("one")
    for offset, piece in writes:
        new.write_at(offset, piece)
    with pytest.raises(StateError, match="gaps"):
        new.commit()
    new.abort()
    assert [list(bucket.list(folder)) for folder in ("head", "body")] == [[], []]


def test_what_is_given_up_in_the_middle_leaves_nothing(
    store: ObjectFileStore, bucket: Bucket
) -> None:
    new = store.put("one")
    new.write_at(0, data_of(30 * MIB))
    new.write_at(40 * MIB, b"early")
    waiting.in_the_end(lambda: len(list(bucket.open_uploads())) == 1)
    new.abort()
    new.abort()
    assert list(bucket.open_uploads()) == []
    assert list(bucket.list("body")) == []
    with pytest.raises(StateError, match="finished"):
        new.commit()


def test_a_part_that_cannot_be_written_fails_the_file(
    kind: Kind, store: ObjectFileStore, bucket: Bucket, between: Between
) -> None:
    method, part = kind.uploads["part"]
    between.faults.append(Fault(method, part, times=9, status=403, code="AccessDenied"))
    new = store.put("one")
    with pytest.raises(StorageError, match="AccessDenied"):
        _write_and_commit(new, 64 * MIB)
    new.abort()
    assert list(bucket.open_uploads()) == []


def _write_and_commit(new: pending.PendingObject, size: int) -> None:
    for at in range(0, size, MIB):
        new.write_at(at, bytes(MIB))
    new.commit()


def test_a_body_that_waited_too_long_is_not_named(
    store: ObjectFileStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as in a machine that slept: it may have been swept."""
    new = store.put("one")
    new.write_at(0, data_of(MIB))
    monkeypatch.setattr(pending, "FRESH_S", -1)
    with pytest.raises(StorageError, match="in time"):
        new.commit()
    new.abort()
    assert [list(bucket.list(folder)) for folder in ("head", "body")] == [[], []]


def test_parts_grow_so_that_ten_thousand_are_enough(
    store: ObjectFileStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_SMALL_PARTS", 1)
    monkeypatch.setattr(pending, "_LARGE_PART_BYTES", 12 * MIB)
    data = data_of(30 * MIB)
    new = store.put("one")
    new.write_at(0, data)
    new.commit()
    with closing(store.open("one")) as file:
        target = bytearray(file.size)
        file.read_into_at(0, memoryview(target))
    assert target == data


def test_a_file_that_vanishes_is_told(store: ObjectFileStore) -> None:
    with pytest.raises(NotFoundError):
        store.keep().open("nothing")
    store.let_go()
