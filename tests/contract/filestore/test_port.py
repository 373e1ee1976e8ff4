"""The contract of the FileStore port, run over every implementation (house 2.6).

A new implementation adds one function that opens a store for a folder, of which each test has another, to `opener`.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from strongroom.envelope import header
from strongroom.errors import ConflictError, NotFoundError, StorageError, UsageError
from strongroom.filestore.base import BLOCK_BYTES, HEADER_BYTES, FileStore, ReadableFile
from strongroom.filestore.local import LocalFileStore
from strongroom.objectstore.store import ObjectFileStore
from tests.support import object_stores, store_kinds

Opener = Callable[[Path], FileStore]
_BODY = bytes(range(256)) * 64
_ROUNDS = 20
_MARK_BYTES = 6
_SECTOR_BYTES = 512


def open_local(folder: Path) -> FileStore:
    return LocalFileStore(folder / "extracts")


@pytest.fixture(scope="module", params=["local", "SeaweedFS", *store_kinds.KINDS])
def opener(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opener]:
    kind: str = request.param
    if kind == "local":
        yield open_local
        return
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        if kind == "SeaweedFS":
            real = stack.enter_context(object_stores.running(kind, folder))
            object_stores.credentials(real, patch)
            bucket = partial(object_stores.bucket, real.url)
        else:
            of_kind = store_kinds.KINDS[kind]
            server = stack.enter_context(of_kind.running(folder))
            for name, value in server.environment.items():
                patch.setenv(name, value)
            bucket = partial(of_kind.bucket, server.url)
        yield lambda folder: ObjectFileStore(bucket(folder.name), "node1")


@pytest.fixture
def store(opener: Opener, tmp_path: Path) -> FileStore:
    return opener(tmp_path)


def put(store: FileStore, key: str, data: bytes = _BODY) -> None:
    pending = store.put(key, expected_bytes=len(data))
    try:
        pending.write_at(0, data)
        pending.commit()
    finally:
        pending.abort()


def content(file: ReadableFile) -> bytes:
    target = bytearray(file.size)
    assert file.read_into_at(0, memoryview(target)) == file.size
    return bytes(target)


def stored(store: FileStore, key: str) -> bytes:
    with closing(store.open(key)) as file:
        return content(file)


def with_sector(page: bytes, number: int, sector: bytes) -> bytes:
    start = number * _SECTOR_BYTES
    return page[:start] + sector + page[start + _SECTOR_BYTES :]


def test_the_header_is_that_of_an_envelope() -> None:
    """The store knows no envelope, and lets as much be changed as an envelope's header has."""
    assert (HEADER_BYTES, BLOCK_BYTES) == (header.MAX_HEADER_BYTES, header.BLOCK_BYTES)


def test_a_file_is_there_when_it_is_committed(store: FileStore) -> None:
    pending = store.put("site/one")
    pending.write_at(0, _BODY[:5000])
    assert list(store.list()) == []
    with pytest.raises(NotFoundError):
        store.open("site/one")
    pending.write_at(5000, _BODY[5000:])
    pending.commit()
    pending.abort()
    assert list(store.list()) == ["site/one"]
    assert store.stat("site/one").bytes == len(_BODY)
    assert stored(store, "site/one") == _BODY


def test_a_file_may_be_empty(store: FileStore) -> None:
    store.put("one").commit()
    assert store.stat("one").bytes == 0
    assert stored(store, "one") == b""
    assert list(store.list()) == ["one"]


def test_what_is_given_up_leaves_nothing(store: FileStore) -> None:
    pending = store.put("one")
    pending.write_at(0, _BODY)
    pending.abort()
    assert list(store.list()) == []
    put(store, "one")
    assert stored(store, "one") == _BODY


def test_a_key_is_given_once(store: FileStore) -> None:
    first, second = store.put("one"), store.put("one")
    for pending, data in ((first, b"first"), (second, b"second")):
        pending.write_at(0, data)
    first.commit()
    with pytest.raises(ConflictError):
        second.commit()
    second.abort()
    assert stored(store, "one") == b"first"


def test_what_is_not_there(store: FileStore) -> None:
    store.delete("nothing")
    for ask in (store.open, store.stat, lambda key: store.swap_header(key, bytes)):
        with pytest.raises(NotFoundError):
            ask("nothing")


@pytest.mark.parametrize("key", ["", "../x", "/x", "a//b", ".hidden", "A", "a/b/c/d/e/f"])
def test_keys_lead_nowhere_else(store: FileStore, key: str) -> None:
    for ask in (store.put, store.open, store.delete, store.stat, lambda one: store.keep([one])):
        with pytest.raises(UsageError):
            ask(key)
    with pytest.raises(UsageError):
        store.swap_header(key, bytes)


def test_a_reader_outlives_the_file(store: FileStore) -> None:
    put(store, "one")
    with closing(store.open("one")) as file:
        store.delete("one")
        assert list(store.list()) == []
        assert content(file) == _BODY


def test_a_header_is_changed_step_by_step(store: FileStore) -> None:
    """A step is asked for until it gives back what it was given; the body stays."""
    put(store, "one")
    seen: list[bytes] = []

    def step(page: bytes) -> bytes:
        seen.append(page)
        number = len(seen)
        return with_sector(page, number, bytes([number]) * _SECTOR_BYTES) if number < 3 else page

    store.swap_header("one", step)
    one = with_sector(_BODY[:HEADER_BYTES], 1, b"\1" * _SECTOR_BYTES)
    two = with_sector(one, 2, b"\2" * _SECTOR_BYTES)
    assert seen[:3] == [_BODY[:HEADER_BYTES], one, two]
    assert set(seen[3:]) <= {two}, "a store may ask again, to be sure"
    assert stored(store, "one") == two + _BODY[HEADER_BYTES:]


def test_a_step_that_raises_leaves_the_page_of_the_step_before(store: FileStore) -> None:
    put(store, "one")
    steps = iter([lambda page: with_sector(page, 1, b"x" * _SECTOR_BYTES)])

    def step(page: bytes) -> bytes:
        found = next(steps, None)
        if found is None:
            raise StorageError("enough")
        return found(page)

    with pytest.raises(StorageError, match="enough"):
        store.swap_header("one", step)
    whole = with_sector(_BODY, 1, b"x" * _SECTOR_BYTES)
    assert stored(store, "one") in (_BODY, whole)
    store.swap_header("one", lambda page: page)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda page: bytes(len(page)),
        lambda page: page[:-1],
        lambda page: page + b"x",
        lambda page: with_sector(with_sector(page, 1, b"x" * 512), 8, b"x" * 512),
    ],
    ids=["all", "shorter", "longer", "two blocks"],
)
def test_a_step_changes_one_block(store: FileStore, wrong: Callable[[bytes], bytes]) -> None:
    put(store, "one")
    with pytest.raises(UsageError):
        store.swap_header("one", wrong)
    assert stored(store, "one") == _BODY


@pytest.mark.parametrize("number", [0, 1])
def test_a_step_may_change_a_whole_block(store: FileStore, number: int) -> None:
    """As a rewrap of format 2 does."""
    put(store, "one")
    start = number * BLOCK_BYTES
    changed = _BODY[:start] + b"x" * BLOCK_BYTES + _BODY[start + BLOCK_BYTES :]
    store.swap_header("one", lambda _: changed[:HEADER_BYTES])
    assert stored(store, "one") == changed


@pytest.mark.parametrize("length", [4152, 4608, 5000, 8191, 8192])
def test_the_header_of_a_short_file_is_all_of_it(store: FileStore, length: int) -> None:
    """A file of format 1 may be shorter than the longest header."""
    put(store, "one", _BODY[:length])
    seen: list[bytes] = []

    def step(page: bytes) -> bytes:
        seen.append(page)
        return with_sector(page, 1, b"x" * 512)

    store.swap_header("one", step)
    assert {len(page) for page in seen} == {length}
    assert stored(store, "one") == with_sector(_BODY[:length], 1, b"x" * 512)


def test_swaps_of_threads_and_processes_go_one_after_the_other(
    opener: Opener, tmp_path: Path
) -> None:
    """Each counts up what the one before left: not one is lost."""
    store = opener(tmp_path)
    put(store, "one", bytes(8192))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(opener, tmp_path)) for _ in range(2)]
    threads = [threading.Thread(target=_count, args=(opener, tmp_path)) for _ in range(2)]
    for process in processes:  # before the threads: a fork takes none of them along
        process.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert int.from_bytes(stored(store, "one")[512:520], "big") == 4 * _ROUNDS


def test_kept_files_outlive_their_deletion(store: FileStore) -> None:
    put(store, "site/one")
    put(store, "site/two", b"two")
    kept = store.keep(["site/one"])
    assert kept.add(["site/one", "site/two", "site/gone"]) == ["site/gone"]
    store.delete("site/one")
    store.delete("site/two")
    assert list(store.list()) == []
    for key, data in (("site/one", _BODY), ("site/two", b"two")):
        with closing(kept.open(key)) as file:
            assert content(file) == data
    store.let_go()


def test_a_kept_file_is_one_of_the_moment_and_its_page_may_change(store: FileStore) -> None:
    """A rewrap meanwhile changes the header and not the body: either page opens the same data."""
    put(store, "one")
    kept = store.keep(["one"])
    store.swap_header("one", _once(lambda page: with_sector(page, 1, b"x" * _SECTOR_BYTES)))
    with closing(kept.open("one")) as file:
        found = content(file)
    assert found[HEADER_BYTES:] == _BODY[HEADER_BYTES:]
    assert found in (_BODY, with_sector(_BODY, 1, b"x" * _SECTOR_BYTES))


def test_what_a_dead_holder_kept_goes_with_the_next(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path)
    put(store, "one")
    assert not store.is_keeping
    store.keep(["one"])
    again = opener(tmp_path)
    assert again.is_keeping
    kept = again.keep()
    with pytest.raises(NotFoundError):
        kept.open("one")
    again.let_go()
    again.let_go()
    assert not store.is_keeping
    assert list(store.list()) == ["one"]


def test_room(store: FileStore) -> None:
    """Asked before there is a file, too."""
    free = store.free_bytes()
    assert free is None or free > 0


def _once(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    left: Iterator[Callable[[bytes], bytes]] = iter([change])
    return lambda page: next(left, bytes)(page)  # noqa: PLW0108 the next one at each call


def _count(opener: Opener, folder: Path) -> None:
    """Count up, by steps that see in the page whether they were taken: a store may ask anew for a page that others changed."""
    store = opener(folder)
    for _ in range(_ROUNDS):
        store.swap_header("one", _add_once(os.urandom(_MARK_BYTES)))


def _add_once(mark: bytes) -> Callable[[bytes], bytes]:
    def add(page: bytes) -> bytes:
        start = _SECTOR_BYTES
        number = int.from_bytes(page[start : start + 8], "big")
        marks = page[start + 8 : start + 8 + number * _MARK_BYTES]
        if mark in [marks[at : at + _MARK_BYTES] for at in range(0, len(marks), _MARK_BYTES)]:
            return page
        sector = (number + 1).to_bytes(8, "big") + marks + mark
        return with_sector(page, 1, sector.ljust(_SECTOR_BYTES, b"\0"))

    return add
