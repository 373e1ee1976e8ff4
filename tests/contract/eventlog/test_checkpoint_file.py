"""The file of a checkpoint (format/events.md §5.3): written over in place, and whole after a power failure."""

import os
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import StorageError
from strongroom.eventlog import checkpoint_form
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.notes import LogSigner
from tests.contract.eventlog.test_checkpoints import in_text, make, some


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    return make(tmp_path)


def test_a_power_failure_leaves_the_one_checkpoint_or_the_other(
    log: JsonlEventLog, tmp_path: Path
) -> None:
    """§5.3: any sectors of one, and the rest of the other; the lines of both are there."""
    log.append(some(2))
    path = log.checkpoints.path
    before = path.read_bytes()
    log.append(some(5))
    after = path.read_bytes()
    assert len(before) == len(after) == 4096
    for mixed in range(16):
        parts = [
            (after if mixed >> min(at // 512, 3) & 1 else before)[at : at + 512]
            for at in range(0, 4096, 512)
        ]
        path.write_bytes(b"".join(parts))
        report = make(tmp_path).verify()
        assert (report.is_changed, report.signed) == (False, 8 if mixed & 1 else 3), mixed
        fresh = make(tmp_path)
        fresh.append(some())
        assert fresh.verify().is_whole
        assert [one.name for one in fresh.verify().late] == ([] if mixed & 1 else ["4-8"])
        log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:8]))


@pytest.mark.parametrize("junk", [b"\n" * 3584, b"A" * 3584, b"\xff" * 3584, b"=\n" * 1792])
def test_nodes_that_are_none_are_made_again_from_the_lines_that_were_signed(
    log: JsonlEventLog, junk: bytes
) -> None:
    log.append(some(6))
    path, lines = log.checkpoints.path, log.path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes()[:512] + junk)
    assert make(path.parent).verify().is_whole
    for changed in (lines[:-1], [lines[1], lines[0], *lines[2:]]):
        log.path.write_bytes(b"".join(changed))
        assert make(path.parent).verify().is_changed
    log.path.unlink()
    assert make(path.parent).verify().is_changed


def test_the_checkpoint_of_0_1_0_is_read_and_replaced(log: JsonlEventLog) -> None:
    log.append(some(3))
    path = log.checkpoints.path
    path.write_bytes(in_text(path.read_bytes()))
    fresh = make(path.parent)
    assert fresh.verify().is_whole
    fresh.append(some())
    assert path.read_bytes().startswith(checkpoint_form.MARK)
    assert (fresh.verify().is_whole, fresh.verify().late) == (True, ())


def test_a_checkpoint_is_written_over_in_its_place_and_none_before_it_stays(
    log: JsonlEventLog,
) -> None:
    """§5.3: whoever came to write here could put the log back to a former one."""
    log.append(some())
    status, notes_before = log.checkpoints.path.stat(), []
    for _ in range(5):
        notes_before.append(checkpoint_form.parse(log.checkpoints.path.read_bytes()).note)
        log.append(some())
    now = log.checkpoints.path
    assert (now.stat().st_ino, now.stat().st_size) == (status.st_ino, 4096)
    everything = b"".join(one.read_bytes() for one in now.parent.iterdir())
    assert not [one for one in notes_before if one.splitlines()[-1] in everything]


def test_a_note_that_needs_more_than_a_sector_has_the_longer_form(tmp_path: Path) -> None:
    signer = LogSigner(f"strongroom/{'i' * 200}/node1", SigningKey(SecretBytes(bytes(range(32)))))
    log = make(tmp_path, signer)
    for _ in range(3):
        log.append(some())
        assert log.checkpoints.path.read_bytes().startswith(b"{")
        assert (make(tmp_path, signer).verify().is_whole, log.verify().late) == (True, ())


def test_a_checkpoint_that_cannot_be_written_over_is_told(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(some())
    target = log.checkpoints.path.with_name("elsewhere")
    log.checkpoints.path.rename(target)
    log.checkpoints.path.symlink_to(target)
    with pytest.raises(StorageError, match="cannot"):
        log.append(some())
    log.checkpoints.path.unlink()
    target.rename(log.checkpoints.path)
    real = os.pwrite

    def refuse(handle: int, data: bytes, at: int) -> int:
        if bytes(data).startswith(checkpoint_form.MARK):
            raise OSError(5, "Input/output error")
        return real(handle, data, at)

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint"):
        log.append(some())
    monkeypatch.undo()
    log.append(some())
    assert log.verify().is_whole
