"""The object store of `docs/first-hour.md` is one file and one line, and all that stands on the port works (ADR 65)."""

import types
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.objectstore import kinds, proof, sweep
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.store import ObjectFileStore
from tests.docs import patches

PATCH = patches.changes("A new object store")
LARGE = bytes(range(256)) * 80_000  # more than two parts


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("HOME", str(tmp_path))
    (module,) = (change for change in PATCH if change.old is None)
    code = types.ModuleType("shelf_bucket")
    exec(compile(module.new, module.path, "exec"), vars(code))
    kind = vars(code)["STORE"]
    assert isinstance(kind, kinds.StoreKind)
    return kind.build(kind.parse("shelf://extracts/node"))


@pytest.fixture
def store(bucket: Bucket) -> Iterator[ObjectFileStore]:
    with closing(ObjectFileStore(bucket, "node1")) as made:
        yield made


def put(store: ObjectFileStore, key: str, data: bytes) -> None:
    new = store.put(key)
    new.write_at(0, data)
    new.commit()


def content(store: ObjectFileStore, key: str) -> bytes:
    with closing(store.open(key)) as file:
        target = bytearray(file.size)
        assert file.read_into_at(0, memoryview(target)) == file.size
    return bytes(target)


def test_it_is_one_file_and_one_line() -> None:
    """What it needs beside that in `src` would be a table by kind that somebody forgets."""
    (module,) = (change for change in PATCH if change.old is None)
    (line,) = (change for change in PATCH if change.old is not None)
    assert Path(module.path).parent == Path(line.path).parent
    assert line.path == "src/strongroom/objectstore/registry.py"
    assert len(line.new.splitlines()) == len((line.old or "").splitlines()) + 1


def test_what_stands_on_the_port_works(bucket: Bucket, store: ObjectFileStore) -> None:
    proof.prove(bucket)
    put(store, "one", LARGE)
    put(store, "two", b"small")
    assert (content(store, "one"), content(store, "two")) == (LARGE, b"small")
    store.swap_header("one", lambda page: b"x" * 512 + page[512:])
    assert content(store, "one") == b"x" * 512 + LARGE[512:]
    left = store.put("three")
    left.write_at(0, LARGE)
    kept = store.keep(["one"])
    store.delete("one")
    with closing(kept.open("one")) as file:
        assert file.size == len(LARGE)
    store.let_go()
    assert sweep.sweep(bucket, timedelta(seconds=-60)) == 2, "a deleted body, and an upload"
    assert list(store.list()) == ["two"]
    assert store.empty() == 1
