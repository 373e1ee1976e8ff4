"""The local file store."""

import os
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from strongroom.filestore.blockfile import LockedHeader
from strongroom.filestore.local import LocalFileStore
from strongroom.system.durable import FileModes


@pytest.fixture
def store(tmp_path: Path) -> LocalFileStore:
    return LocalFileStore(tmp_path / "extracts")


def _put(store: LocalFileStore, key: str, data: bytes) -> None:
    with store.put(key) as pending:
        pending.write_at(0, data)
        pending.commit()


def test_put_open_list_stat_delete(store: LocalFileStore) -> None:
    assert list(store.list()) == []
    _put(store, "site/ab/one.sealed", b"data")
    _put(store, "two", b"x")
    assert sorted(store.list()) == ["site/ab/one.sealed", "two"]
    assert store.stat("two").bytes == 1
    with store.open("site/ab/one.sealed") as file:
        store.delete("site/ab/one.sealed")
        target = bytearray(4)
        assert file.read_into_at(0, memoryview(target)) == 4  # open readers may finish
    store.delete("site/ab/one.sealed")
    with pytest.raises(NotFoundError):
        store.open("site/ab/one.sealed")
    with pytest.raises(NotFoundError):
        store.stat("site/ab/one.sealed")


def test_a_key_is_written_once(store: LocalFileStore) -> None:
    _put(store, "a/b", b"first")
    with pytest.raises(ConflictError):
        _put(store, "a/b", b"second")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], ids=oct)
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """C-10, S2."""
    old = os.umask(umask)
    try:
        private = LocalFileStore(tmp_path / "a")
        shared = LocalFileStore(tmp_path / "b", FileModes(0o750, 0o640))
        for store in (private, shared):
            _put(store, "site/one", b"x")
    finally:
        os.umask(old)
    for name, folder, file in (("a", 0o700, 0o600), ("b", 0o750, 0o640)):
        assert (tmp_path / name).stat().st_mode & 0o7777 == folder
        assert (tmp_path / name / "site").stat().st_mode & 0o7777 == folder
        assert (tmp_path / name / "site" / "one").stat().st_mode & 0o7777 == file


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a/..",
        "a//b",
        "./a",
        "a/.hidden",
        "a\0b",
        "A",
        "a b",
        "a/",
        "a\n",
        "é",
        "a/b/c/d/e/f",
        "a" * 101,
    ],
    ids=repr,
)
def test_path_tricks_are_no_keys(store: LocalFileStore, key: str) -> None:
    """S8."""
    for call in (store.put, store.open, store.delete, store.stat):
        with pytest.raises(UsageError):
            call(key)
    with pytest.raises(UsageError):
        store.swap_header(key, bytes)


def test_each_step_of_a_header_page_is_synced_and_read_back(
    store: LocalFileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives back something else is noticed before the other slot is written over."""
    _put(store, "one", bytes(8192))
    told: list[str] = []
    real_write, real_sync = LockedHeader.write_at, LockedHeader.sync

    def write(page: LockedHeader, offset: int, sector: bytes) -> None:
        told.append(f"write {offset}")
        real_write(page, offset, sector if offset != 1024 else b"lie" + sector[3:])

    def sync(page: LockedHeader) -> None:
        told.append("sync")
        real_sync(page)

    monkeypatch.setattr(LockedHeader, "write_at", write)
    monkeypatch.setattr(LockedHeader, "sync", sync)
    left = [512, 1024, 1536]

    def step(page: bytes) -> bytes:
        offset = left.pop(0)
        return page[:offset] + b"y" * 512 + page[offset + 512 :]

    with pytest.raises(IntegrityError):
        store.swap_header("one", step)
    assert told == ["write 512", "sync", "write 1024", "sync"]


def test_leftovers_are_removed_and_never_listed(store: LocalFileStore, tmp_path: Path) -> None:
    _put(store, "site/one", b"x")
    folder = tmp_path / "extracts" / "site"
    (folder / ".0123456789abcdef.partial").write_bytes(b"dead")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_bytes(b"")
    assert list(store.list()) == ["site/one"]
    assert store.remove_leftovers() == 1
    assert store.remove_leftovers() == 0
