"""Many files encrypted in batches: a name appears after the bytes and the event, and one failure stops nobody else."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.errors import ConflictError, NotFoundError, StorageError
from strongroom.eventlog.base import Event, EventLog
from strongroom.filestore.blockfile import OpenedFile
from strongroom.services.files import many
from strongroom.services.files.many import BatchDecryption, BatchEncryption, Outputs
from strongroom.services.files.pairs import Pair
from strongroom.services.files.sealed_outside import SealedOutside
from tests.support.memory_keys import MemoryKeys
from tests.support.unread_events import UnreadEvents


class Log(UnreadEvents):
    """Remembers what was told, and which names were visible then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batches: list[list[Event]] = []
        self.visible: list[int] = []

    def append(self, new: Sequence[Event]) -> None:
        self.batches.append(list(new))
        self.visible.append(len(list(self.folder.iterdir())))


class FullLog(UnreadEvents):
    """A log on a full disk."""

    def append(self, new: Sequence[Event]) -> None:
        del new
        raise StorageError("the event log cannot be written")


def encryption(keys: EnvelopeKeys, log: EventLog, actor: str, **more: Any) -> BatchEncryption:
    """Of a node whose keys nobody changes."""
    return BatchEncryption(keys, SealedOutside(keys, log, nullcontext), actor, **more)


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
        with EnvelopeReader(file, header, keys.open_envelope(header, None).dek) as reader:
            plain = bytearray(reader.size)
            reader.read_into_at(0, memoryview(plain))
    return bytes(plain)


def pairs(paths: Sequence[Path], folder: Path) -> list[Pair]:
    return [
        Pair(str(path), str(folder / path.name), path.stat().st_size if path.exists() else 0)
        for path in paths
    ]


@pytest.mark.parametrize("sync", [True, False], ids=["durable", "not synced"])
def test_files_of_all_sizes_and_an_event_for_each(
    tmp_path: Path, target: Path, sync: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_FILES", 2)
    paths = sources(tmp_path, [0, 1, 1024, 3 << 20, 70_000])
    keys, log, told = MemoryKeys(), Log(target), list[int]()
    work = encryption(keys, log, "os:me", threads=2, outputs=Outputs(sync=sync))
    results = work.run(pairs(paths, target), told.append)
    assert [result.error for result in results] == [None] * 5
    assert [result.plaintext_bytes for result in results] == [0, 1, 1024, 3 << 20, 70_000]
    assert [opened(keys, target / path.name) for path in paths] == [p.read_bytes() for p in paths]
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}
    assert [len(batch) for batch in log.batches] == [2, 2, 1]
    assert log.visible == [0, 2, 4], "no name before its event"
    assert sum(told) == 1 + 1024 + (3 << 20) + 70_000


def test_one_that_fails_stops_nobody_and_leaves_nothing(tmp_path: Path, target: Path) -> None:
    good, taken = sources(tmp_path, [10, 20])
    (target / taken.name).write_bytes(b"mine")
    missing = tmp_path / "missing"
    log = Log(target)
    work = encryption(MemoryKeys(), log, "os:me", threads=1)
    results = work.run(pairs([missing, taken, good], target))
    assert [type(result.error) for result in results] == [NotFoundError, ConflictError, type(None)]
    assert (target / taken.name).read_bytes() == b"mine"
    assert sorted(path.name for path in target.iterdir()) == [good.name, taken.name]
    assert [len(batch) for batch in log.batches] == [1]


def test_a_name_that_is_taken_meanwhile(tmp_path: Path, target: Path) -> None:
    (path,) = sources(tmp_path, [10])
    # both are one target: the second finds it taken when it is to appear
    twice = pairs([path, path], target)
    results = encryption(MemoryKeys(), Log(target), "os:me", threads=1).run(twice)
    assert [type(result.error) for result in results] == [type(None), ConflictError]


def test_large_files_share_no_batch_with_many(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings F5: what was done is not lost when the work is broken off."""
    monkeypatch.setattr(many, "BATCH_BYTES", 1000)
    paths = sources(tmp_path, [400, 600, 1, 5000, 5000, 10])
    log = Log(target)
    encryption(MemoryKeys(), log, "os:me", threads=1).run(pairs(paths, target))
    assert [len(batch) for batch in log.batches] == [2, 1, 1, 1, 1]


def test_progress_ends_at_the_sum_of_all_sizes_whatever_failed(
    tmp_path: Path, target: Path
) -> None:
    """findings F5"""
    paths, told = sources(tmp_path, [10, 20, 30]), list[int]()
    (target / paths[1].name).write_bytes(b"mine")
    encryption(MemoryKeys(), Log(target), "os:me", threads=1).run(pairs(paths, target), told.append)
    assert sum(told) == 60


def test_decryption_is_in_the_log_before_a_byte_of_plaintext_is_written(
    tmp_path: Path, target: Path
) -> None:
    """findings F5: as with a single file."""
    keys, paths = MemoryKeys(), sources(tmp_path, [10, 0, 70_000])
    encryption(keys, Log(target), "os:me", threads=1).run(pairs(paths, target))
    back = tmp_path / "back"
    back.mkdir()
    sealed = [target / path.name for path in paths]
    with pytest.raises(StorageError):
        BatchDecryption(keys, FullLog(), "os:me", threads=1).run(pairs(sealed, back))
    assert list(back.iterdir()) == []
    log = Log(back)
    results = BatchDecryption(keys, log, "os:me", threads=2).run(pairs(sealed, back))
    assert [result.error for result in results] == [None] * 3
    assert [(back / path.name).read_bytes() for path in paths] == [p.read_bytes() for p in paths]
    assert {path.stat().st_mode & 0o777 for path in back.iterdir()} == {0o600}
    assert log.visible == [0]
    assert [event.id for event in log.batches[0]] == ["FILE_DECRYPTED"] * 3


def test_nothing_to_do_is_told_to_nobody(tmp_path: Path, target: Path) -> None:
    log = Log(target)
    work = encryption(MemoryKeys(), log, "os:me", threads=1)
    work.run(pairs([tmp_path / "missing"], target))
    assert work.run([]) == []
    assert log.batches == []


def test_without_a_log_nothing_appears(tmp_path: Path, target: Path) -> None:
    paths = sources(tmp_path, [10, 20])
    with pytest.raises(StorageError):
        encryption(MemoryKeys(), FullLog(), "os:me", threads=1).run(pairs(paths, target))
    assert list(target.iterdir()) == []


NAMESAKES = [("Data.sealed", "data.sealed"), ("É.s", "e\u0301.s"), ("a.s", "a.s."), ("A/x", "a/x")]


def _two(folder: Path, names: tuple[str, str]) -> list[Pair]:
    """Two inputs whose outputs differ by what some file systems do not see."""
    pairs = []
    for number, name in enumerate(names):
        (folder / f"plain{number}").write_bytes(b"%d" % number * 100)
        pairs.append(Pair(str(folder / f"plain{number}"), str(folder / "target" / name), 100))
    return pairs


@pytest.mark.parametrize("names", NAMESAKES, ids=ascii)
@pytest.mark.parametrize("overwrite", [True, False])
def test_names_that_this_file_system_tells_apart_are_two_files(
    target: Path, names: tuple[str, str], overwrite: bool
) -> None:
    """Only looking tells whether it does: `Makefile` and `makefile` are two files for most."""
    keys, pairs = MemoryKeys(), _two(target.parent, names)
    outputs = Outputs(str(target), overwrite=overwrite)
    made = encryption(keys, Log(target), "me", threads=1, outputs=outputs).run(pairs)
    assert [result.error for result in made] == [None, None]
    assert [opened(keys, Path(result.target))[:1] for result in made] == [b"0", b"1"]


@pytest.mark.parametrize("names", NAMESAKES, ids=ascii)
@pytest.mark.parametrize("most", [1, 2], ids=["in two batches", "in one batch"])
def test_an_output_is_not_put_in_the_place_of_another_where_names_are_not_told_apart(
    target: Path, names: tuple[str, str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --overwrite the first file was lost, and both were reported as done."""
    look = many._place

    def folding(name: str, how: Any) -> tuple[int, int] | None:
        """As FAT does it: any of the names leads to the file that is there by one of them."""
        alike = [
            path for path in target.rglob("*") if many._folded(str(path)) == many._folded(name)
        ]
        return look(str(alike[0]) if alike else name, how)

    monkeypatch.setattr(many, "_place", folding)
    monkeypatch.setattr(many, "BATCH_FILES", most)
    keys, pairs = MemoryKeys(), _two(target.parent, names)
    outputs = Outputs(str(target), overwrite=True)
    for _ in range(2):  # and with the outputs there
        work = encryption(keys, Log(target), "me", threads=1, outputs=outputs)
        first, second = work.run(pairs)
        assert first.error is None
        assert isinstance(second.error, ConflictError)
        assert "are one file there" in second.error.message
        assert opened(keys, Path(first.target))[:1] == b"0"
        assert not Path(second.target).exists()


def test_what_is_one_file_already_is_not_taken_for_the_output_of_both(target: Path) -> None:
    """With --resume the second was "there already", though it was made of the first: here by a real file of two names."""
    keys, pairs = MemoryKeys(), _two(target.parent, ("Data.sealed", "data.sealed"))
    outputs = Outputs(str(target), resume=True)
    encryption(keys, Log(target), "me", threads=1, outputs=outputs).run(pairs[:1])
    os.link(pairs[0].target, pairs[1].target)
    work = encryption(keys, Log(target), "me", threads=1, outputs=outputs)
    first, second = work.run(pairs)
    assert (first.skipped, second.skipped) == (True, False)
    assert isinstance(second.error, ConflictError)
