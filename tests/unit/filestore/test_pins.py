"""Pins: what a backup copies stays, whatever is deleted meanwhile."""

import os
from pathlib import Path

import pytest

from strongroom.errors import StorageError, UsageError
from strongroom.filestore.local import LocalFileStore
from strongroom.filestore.pins import FOLDER, Pins


@pytest.fixture
def store(tmp_path: Path) -> LocalFileStore:
    return LocalFileStore(tmp_path / "extracts")


@pytest.fixture
def pins(store: LocalFileStore, tmp_path: Path) -> Pins:
    return Pins(store.path, tmp_path / "extracts" / FOLDER)


def _put(store: LocalFileStore, key: str, data: bytes) -> None:
    with store.put(key) as pending:
        pending.write_at(0, data)
        pending.commit()


def test_a_pinned_file_outlives_its_deletion(store: LocalFileStore, pins: Pins) -> None:
    _put(store, "site/ab/one.sealed", b"data")
    pins.prepare()
    assert pins.add(["site/ab/one.sealed", "site/ab/two.sealed"]) == ["site/ab/two.sealed"]
    assert pins.add(["site/ab/one.sealed"]) == []
    store.delete("site/ab/one.sealed")
    assert list(store.list()) == []
    with pins.open("site/ab/one.sealed") as file:
        target = bytearray(4)
        assert file.read_into_at(0, memoryview(target)) == 4
    assert target == b"data"


def test_nothing_stays(store: LocalFileStore, pins: Pins, tmp_path: Path) -> None:
    """What a dead holder left goes with the next one."""
    _put(store, "one", b"data")
    pins.prepare()
    pins.add(["one"])
    pins.prepare()
    assert list((tmp_path / "extracts" / FOLDER).iterdir()) == []
    pins.clear()
    pins.clear()
    assert not (tmp_path / "extracts" / FOLDER).exists()
    assert list(store.list()) == ["one"]


def test_only_keys_of_the_store_are_pinned(pins: Pins) -> None:
    pins.prepare()
    with pytest.raises(UsageError):
        pins.add(["../../etc/passwd"])


def test_a_file_system_without_links_is_told(
    store: LocalFileStore, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(store, "one", b"data")
    pins.prepare()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="cannot be pinned") as caught:
        pins.add(["one"])
    assert "hard links" in caught.value.hint
