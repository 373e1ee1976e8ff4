"""A write is what the store holds afterwards, whatever its answer says (format/object-store.md §3.2, §4; matrix 20, 21)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, IntegrityError, StorageError
from strongroom.filestore.base import HEADER_BYTES
from strongroom.objectstore import heads, proof
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.store import ObjectFileStore
from tests.support.object_stores import Between, Fault
from tests.support.store_kinds import Kind

_BODY = bytes(range(256)) * 80
FAULTS = {
    "answer lost": Fault("PUT", "/head/", answer_lost=True),
    "answer lost twice": Fault("PUT", "/head/", times=2, answer_lost=True),
    "409": Fault("PUT", "/head/", status=409, code="ConditionalRequestConflict"),
    "412 of a store that did nothing": Fault(
        "PUT", "/head/", status=412, code="PreconditionFailed"
    ),
    "500": Fault("PUT", "/head/", status=500, code="InternalError"),
    "503": Fault("PUT", "/head/", times=2, status=503, code="SlowDown"),
}


@pytest.fixture
def store(through: Bucket) -> Iterator[ObjectFileStore]:
    made = ObjectFileStore(through, "node1")
    yield made
    made.close()


def put(store: ObjectFileStore, key: str, data: bytes = _BODY) -> None:
    pending = store.put(key)
    try:
        pending.write_at(0, data)
        pending.commit()
    finally:
        pending.abort()


def stored(store: ObjectFileStore, key: str) -> bytes:
    file = store.open(key)
    target = bytearray(file.size)
    assert file.read_into_at(0, memoryview(target)) == len(target)
    file.close()
    return bytes(target)


@pytest.mark.parametrize("name", FAULTS)
def test_a_creation_is_what_the_store_holds(
    name: str, store: ObjectFileStore, between: Between
) -> None:
    fault = FAULTS[name]
    between.faults.append(Fault(**vars(fault)))
    put(store, "one")
    assert stored(store, "one") == _BODY
    assert between.faults[0].times < fault.times, "the fault was met"


@pytest.mark.parametrize("name", FAULTS)
def test_a_change_is_what_the_store_holds(
    name: str, store: ObjectFileStore, between: Between
) -> None:
    put(store, "one")
    between.faults.append(Fault(**vars(FAULTS[name])))
    changed = b"x" * 512 + _BODY[512:HEADER_BYTES]
    store.swap_header("one", lambda _: changed)
    assert stored(store, "one") == changed + _BODY[HEADER_BYTES:]
    assert between.faults[0].times < FAULTS[name].times


@pytest.mark.parametrize("name", FAULTS)
def test_another_ones_file_is_never_taken_for_ours(
    name: str, store: ObjectFileStore, between: Between
) -> None:
    put(store, "one", b"theirs")
    between.faults.append(Fault(**vars(FAULTS[name])))
    with pytest.raises(ConflictError):
        put(store, "one", b"ours")
    assert stored(store, "one") == b"theirs"


def test_a_store_that_is_silent_for_good_is_told(store: ObjectFileStore, between: Between) -> None:
    between.faults.append(Fault("PUT", "/head/", times=99, status=503, code="SlowDown"))
    with pytest.raises(StorageError, match="503"):
        put(store, "one")
    between.faults.clear()
    assert list(store.list()) == []


def test_a_body_stays_when_nobody_knows_whether_it_is_named(
    store: ObjectFileStore, between: Between
) -> None:
    """The head was written, its answer lost, and the look at it refused: giving up must not take the body away."""
    between.faults.append(Fault("PUT", "/head/", answer_lost=True))
    between.faults.append(Fault("GET", "/head/", status=403, code="AccessDenied"))
    with pytest.raises(StorageError):
        put(store, "one")  # which gives up
    assert stored(store, "one") == _BODY


def test_without_credentials_it_says_so_at_once(
    kind: Kind, through: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    advice = kind.no_rights(monkeypatch, tmp_path)
    with pytest.raises(StorageError, match="no credentials") as caught:
        through.read("head/one")
    assert advice in caught.value.hint
    assert not between.asked


def test_a_store_that_refuses_every_condition_is_told(
    store: ObjectFileStore, between: Between
) -> None:
    put(store, "one")
    between.faults.append(Fault("PUT", "/head/", times=999, status=412, code="PreconditionFailed"))
    with pytest.raises(StorageError, match="comes too late"):
        put(store, "two")
    with pytest.raises(StorageError, match="comes too late"):
        store.swap_header("one", lambda page: b"x" * len(page[:512]) + page[512:])


def test_a_store_that_keeps_the_old_head_is_told(store: ObjectFileStore, between: Between) -> None:
    """It says that it wrote, and did not."""
    put(store, "one")
    between.faults.append(Fault("PUT", "/head/", times=9, status=200))
    with pytest.raises(IntegrityError):
        store.swap_header("one", lambda page: b"x" * 512 + page[512:])


@pytest.mark.parametrize("step", ["begin", "part", "complete"])
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "503"])
def test_an_upload_of_parts_goes_on(
    kind: Kind,
    step: str,
    lost: bool,
    store: ObjectFileStore,
    between: Between,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Begun, written or completed twice: the file is whole."""
    monkeypatch.setattr("strongroom.objectstore.pending.PART_BYTES", 5 << 20)
    method, part = kind.uploads[step]
    fault = Fault(method, part, answer_lost=lost, status=0 if lost else 503, code="SlowDown")
    between.faults.append(fault)
    data = _BODY * 600
    put(store, "one", data)
    assert stored(store, "one") == data
    assert not fault.times


def test_a_body_that_lost_bytes_is_never_named(
    store: ObjectFileStore, between: Between, bucket: Bucket
) -> None:
    pending = store.put("one")
    pending.write_at(0, _BODY)
    between.faults.append(Fault("PUT", "/body/", status=200))
    with pytest.raises(StorageError):
        pending.commit()
    pending.abort()
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("creating", "let an object be created twice"),
        ("replacing", "let another version be replaced"),
        ("range", "gave 3 of 2 bytes"),
    ],
)
def test_a_store_without_conditions_is_refused(
    kind: Kind, left_out: str, words: str, through: Bucket, between: Between
) -> None:
    """Matrix 23; E16."""
    between.left_out = kind.headers[left_out]
    with pytest.raises(StorageError, match=words):
        proof.prove(through)
    between.left_out = None
    proof.prove(through)
    assert list(through.list("probe")) == []


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("PUT", 412, "that is not there"),
        ("PUT", 403, "does not let us"),
        ("PUT", 404, ""),
        ("DELETE", 200, "still shows"),
    ],
)
def test_a_store_that_does_something_else_is_refused(
    kind: Kind, method: str, status: int, words: str, through: Bucket, between: Between
) -> None:
    missing, words_of_missing = kind.no_container
    code = {412: "PreconditionFailed", 403: "AccessDenied", 404: missing}.get(status, "")
    between.faults.append(Fault(method, "probe", status=status, code=code))
    with pytest.raises(StorageError, match=words or words_of_missing):
        proof.prove(through)


def test_only_heads_make_a_file(store: ObjectFileStore, bucket: Bucket) -> None:
    bucket.write(heads.body_place("one", "0" * 32), b"x")
    assert list(store.list()) == []
