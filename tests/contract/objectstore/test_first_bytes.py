"""What stands before the first byte of a range: the head, and then everything else side by side (b13, must show 5)."""

import random
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, FORMAT_2, Placement
from strongroom.errors import IntegrityError, StorageError
from strongroom.extracts.vault import ExtractVault, StoredFile
from strongroom.ids import new_id
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.expected import GAP_BYTES
from strongroom.objectstore.store import ObjectFileStore
from tests.support.memory_keys import MemoryKeys
from tests.support.object_stores import BEFORE, Between, Fault

MIB = 1 << 20
PLACE = Placement(new_id(), new_id())
DATA = random.Random(7).randbytes(6 * MIB + 13)
MIDDLE = 3 * MIB
RANGE = (MIDDLE, MIDDLE + 64 * 1024)
_WAIT_S = 300


@pytest.fixture
def vault(through: Bucket) -> Iterator[ExtractVault]:
    with closing(ObjectFileStore(through, "node1")) as files:
        yield ExtractVault(files, MemoryKeys(FORMAT_2), threads=1)


def publish(vault: ExtractVault, data: bytes = DATA, *, encrypted: bool = True) -> StoredFile:
    with vault.create(PLACE, encrypted=encrypted) as out:
        out.write(data)
        return out.commit()


def ranged(vault: ExtractVault, stored: StoredFile, start: int, stop: int) -> bytes:
    with vault.open(stored, PLACE, (start, stop)) as reader:
        return b"".join(reader.iterate(start, stop))


def test_after_the_head_all_is_asked_for_at_once(vault: ExtractVault, between: Between) -> None:
    """Four requests stood one behind the other. Each of the three of the body waits here until all three have come."""
    stored = publish(vault)
    meeting = threading.Barrier(3, timeout=_WAIT_S)
    between.asked.clear()

    def told(number: int, when: str) -> None:
        if when == BEFORE and "/body/" in between.asked[number - 1][1]:
            meeting.wait()

    between.told = told
    assert ranged(vault, stored, *RANGE) == DATA[slice(*RANGE)]
    assert ["/head/" in path for _, path in between.asked] == [True, False, False, False]


@pytest.mark.parametrize(
    ("size", "start", "stop", "requests"),
    [
        (0, 0, 0, 2),
        (1, 0, 1, 2),
        (2 * GAP_BYTES, 100, 200, 2),
        (len(DATA), len(DATA) - 10, len(DATA), 3),
        (len(DATA), 0, 10, 3),
        (len(DATA), *RANGE, 4),
        (len(DATA), MIDDLE, MIDDLE + 4 * DEFAULT_SEGMENT_BYTES, 4),
        (len(DATA), 0, len(DATA), 6),
    ],
)
def test_as_few_requests_as_there_are_places(
    vault: ExtractVault, between: Between, size: int, start: int, stop: int, requests: int
) -> None:
    stored = publish(vault, DATA[:size])
    between.asked.clear()
    assert ranged(vault, stored, start, stop) == DATA[start:stop]
    assert len(between.asked) <= requests


def test_whoever_only_looks_asks_for_no_more_than_the_proof(
    vault: ExtractVault, between: Between
) -> None:
    stored = publish(vault)
    between.asked.clear()
    vault.open(stored, PLACE).close()
    assert len(between.asked) == 3


def test_a_plain_file_is_its_head_and_its_range(vault: ExtractVault, between: Between) -> None:
    stored = publish(vault, encrypted=False)
    between.asked.clear()
    assert ranged(vault, stored, *RANGE) == DATA[slice(*RANGE)]
    assert len(between.asked) == 2


def test_a_request_that_fails_fails_the_read_and_is_made_again(
    vault: ExtractVault, between: Between
) -> None:
    stored = publish(vault)
    between.faults.append(Fault("GET", "/body/", times=3, status=403, code="AccessDenied"))
    with pytest.raises(StorageError, match="AccessDenied"):
        ranged(vault, stored, *RANGE)
    between.faults.clear()
    assert ranged(vault, stored, *RANGE) == DATA[slice(*RANGE)]


def test_a_cut_body_is_refused_before_a_byte_of_it_is_given(
    vault: ExtractVault, bucket: Bucket
) -> None:
    """What was asked for beside the last segment is not given either (envelope.md §4.9)."""
    stored = publish(vault)
    name = next(one.name for one in bucket.list("body"))
    head = bucket.read(f"head/{stored.storage_key}")
    cut = len(DATA) // DEFAULT_SEGMENT_BYTES * DEFAULT_SEGMENT_BYTES
    body = bucket.read_range(name, 0, cut)
    bucket.write(name, body)
    bucket.write(
        f"head/{stored.storage_key}", head.data[:16] + cut.to_bytes(8, "big") + head.data[24:]
    )
    with pytest.raises(IntegrityError):
        vault.open(stored, PLACE, RANGE)


def test_a_file_in_the_place_of_another_gives_no_mixed_bytes(
    vault: ExtractVault, bucket: Bucket
) -> None:
    """A body of one extract under the head of another, of the same lengths: no byte of either."""
    one, other = publish(vault), publish(vault, DATA[::-1])
    heads = {stored: bucket.read(f"head/{stored.storage_key}").data for stored in (one, other)}
    bodies = {stored: _body(bucket, stored) for stored in (one, other)}
    bucket.write(bodies[one], bucket.read(bodies[other]).data)
    with pytest.raises(IntegrityError):
        ranged(vault, one, *RANGE)
    bucket.write(f"head/{other.storage_key}", heads[one])
    with pytest.raises(IntegrityError):
        ranged(vault, other, *RANGE)


def _body(bucket: Bucket, stored: StoredFile) -> str:
    return next(
        item.name
        for item in bucket.list("body")
        if item.name.startswith(f"body/{stored.storage_key}/")
    )


def test_a_reader_that_waits_behind_uploads_asks_by_itself(
    vault: ExtractVault, through: Bucket
) -> None:
    """The threads of the store are the uploads' as well: a reader does not stand in their queue."""
    stored = publish(vault)
    free = threading.Event()
    with closing(ObjectFileStore(through, "node1")) as files:
        busy = ExtractVault(files, vault._keys)
        for _ in range(64):
            files._pool.submit(free.wait, _WAIT_S)
        try:
            assert ranged(busy, stored, *RANGE) == DATA[slice(*RANGE)]
        finally:
            free.set()
