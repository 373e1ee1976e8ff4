"""Many files encrypted in batches: a name appears after the bytes and the event, and one failure stops nobody else."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.errors import ConflictError, NotFoundError, StorageError
from strongroom.eventlog.base import Event
from strongroom.filestore.blockfile import OpenedFile
from strongroom.services import batches
from strongroom.services.batches import BatchEncryption
from tests.memory_keys import MemoryKeys


class Log:
    """Remembers what was told, and which names were visible then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batches: list[list[Event]] = []
        self.visible: list[int] = []

    def append(self, new: Sequence[Event]) -> None:
        self.batches.append(list(new))
        self.visible.append(len(list(self.folder.iterdir())))

    def read(self) -> Iterator[Mapping[str, object]]:
        raise NotImplementedError


class FullLog:
    """A log on a full disk."""

    def append(self, new: Sequence[Event]) -> None:
        del new
        raise StorageError("the event log cannot be written")

    def read(self) -> Iterator[Mapping[str, object]]:
        raise NotImplementedError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def sources(folder: Path, sizes: Sequence[int]) -> list[Path]:
    paths = [folder / f"plain{number}" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(size))
    return paths


def opened(keys: MemoryKeys, path: Path) -> bytes:
    with OpenedFile(path) as file:
        header = read_header(file)
        with EnvelopeReader(file, header, keys.open_envelope(header, None)) as reader:
            plain = bytearray(reader.size)
            reader.read_into_at(0, memoryview(plain))
    return bytes(plain)


def pairs(paths: Sequence[Path], folder: Path) -> list[tuple[str, str]]:
    return [(str(path), str(folder / path.name)) for path in paths]


@pytest.mark.parametrize("sync", [True, False], ids=["durable", "not synced"])
def test_files_of_all_sizes_and_an_event_for_each(
    tmp_path: Path, target: Path, sync: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_FILES", 2)
    paths = sources(tmp_path, [0, 1, 1024, 3 << 20, 70_000])
    keys, log, told = MemoryKeys(), Log(target), list[int]()
    work = BatchEncryption(keys, log, "os:me", threads=2, sync=sync)
    results = work.run(pairs(paths, target), told.append)
    assert [result.error for result in results] == [None] * 5
    assert [result.plaintext_bytes for result in results] == [0, 1, 1024, 3 << 20, 70_000]
    assert [opened(keys, target / path.name) for path in paths] == [p.read_bytes() for p in paths]
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}
    assert [len(batch) for batch in log.batches] == [2, 2, 1]
    assert log.visible == [0, 2, 4], "no name before its event"
    assert told == [2, 2, 1]


def test_one_that_fails_stops_nobody_and_leaves_nothing(tmp_path: Path, target: Path) -> None:
    good, taken = sources(tmp_path, [10, 20])
    (target / taken.name).write_bytes(b"mine")
    missing = tmp_path / "missing"
    log = Log(target)
    work = BatchEncryption(MemoryKeys(), log, "os:me", threads=1)
    results = work.run(pairs([missing, taken, good], target))
    assert [type(result.error) for result in results] == [NotFoundError, ConflictError, type(None)]
    assert (target / taken.name).read_bytes() == b"mine"
    assert sorted(path.name for path in target.iterdir()) == [good.name, taken.name]
    assert [len(batch) for batch in log.batches] == [1]


def test_a_name_that_is_taken_meanwhile(tmp_path: Path, target: Path) -> None:
    (path,) = sources(tmp_path, [10])
    # both are one target: the second finds it taken when it is to appear
    twice = pairs([path, path], target)
    results = BatchEncryption(MemoryKeys(), Log(target), "os:me", threads=1).run(twice)
    assert [type(result.error) for result in results] == [type(None), ConflictError]


def test_nothing_to_do_is_told_to_nobody(tmp_path: Path, target: Path) -> None:
    log = Log(target)
    work = BatchEncryption(MemoryKeys(), log, "os:me", threads=1)
    work.run(pairs([tmp_path / "missing"], target))
    assert work.run([]) == []
    assert log.batches == []


def test_without_a_log_nothing_appears(tmp_path: Path, target: Path) -> None:
    paths = sources(tmp_path, [10, 20])
    with pytest.raises(StorageError):
        BatchEncryption(MemoryKeys(), FullLog(), "os:me", threads=1).run(pairs(paths, target))
    assert list(target.iterdir()) == []
