"""What a job says of extracts that it left behind: which, why, and what to do."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import StorageError
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentState
from strongroom.services.jobs.heartbeat import Brake
from strongroom.services.jobs.journal import JobJournal
from strongroom.services.jobs.run import ExtractJobs, Limits
from strongroom.system import disk
from tests.support.jobs_lab import Lab, Memory, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def run(lab: Lab, kind: JobKind, **options: Any) -> str:
    job = lab.start(kind, **options)
    ExtractJobs(lab.ports, Limits(Brake(0, threading.Event()))).run(job.id, Memory())
    return job.id


def test_a_damaged_extract_fails_the_job_by_name_and_the_others_are_done(lab: Lab) -> None:
    good = [lab.publish(b"good" * 10, encrypted=True) for _ in range(3)]
    bad = lab.publish(b"bad" * 10, encrypted=True)
    data = bytearray(lab.path(bad).read_bytes())
    data[-1] ^= 1
    lab.path(bad).write_bytes(data)
    before = {key: lab.row(key).file_id for key in good}
    job = run(lab, JobKind.REENCRYPT)
    shown = lab.jobs.show(job)
    assert (shown.state, shown.done, shown.total) == ("failed", 4, 4)
    assert bad in shown.note
    assert lab.row(bad).name in shown.note
    assert "authentication failed" in shown.note
    receipt = lab.receipt(job)
    assert (receipt.changed, receipt.remaining, receipt.verified) == (3, 1, 3)
    assert all(lab.row(key).file_id != before[key] for key in good)
    assert lab.row(bad).state == ContentState.ENCRYPTED  # no longer pending
    del lab.plain[bad]
    lab.check_whole()


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_from_before_that_stays_fails_the_job_by_name(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Issue F: nothing left behind unsaid. It ended as succeeded while the plaintext was still there."""
    plain = lab.publish(b"plaintext", encrypted=False)
    other = lab.publish(b"other", encrypted=False)
    old, delete, refused = lab.row(plain).storage_key, lab.files.delete, 0

    def refuse(storage_key: str) -> None:
        nonlocal refused
        if storage_key == old and refused < times:
            refused += 1
            raise StorageError("the disk refuses", hint="look at it")
        delete(storage_key)

    monkeypatch.setattr(lab.files, "delete", refuse)
    job = run(lab, JobKind.ENCRYPT)
    row, receipt = lab.jobs.show(job), lab.receipt(job)
    assert refused == times
    assert lab.row(plain).mek_id == lab.row(other).mek_id == lab.ring.active_mek_id
    if times == 1:  # the second attempt, at the end
        assert (row.state, receipt.remaining) == ("succeeded", 0)
    else:
        assert (row.state, receipt.changed, receipt.remaining) == ("failed", 2, 1)
        assert (
            f"({plain}): its file from before cannot be removed: the disk refuses (look at it)"
            in row.note
        )
        assert JobJournal(lab.repository, lab.files, SystemClock()).recover() == 1
    assert old not in lab.files.list()
    with lab.repository.reading() as tx:
        assert tx.intents.list() == []
    lab.check_whole()


def test_a_full_disk_is_told_with_what_to_do(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of each extract lost its hint: a job said that there is no space, and "mend it" of what to do."""
    one, put = lab.publish(b"x", encrypted=True), lab.files.put

    def refuse(storage_key: str, *, expected_bytes: int = 0) -> object:
        del expected_bytes
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise disk.problem(f"cannot write {storage_key}", full)

    monkeypatch.setattr(lab.files, "put", refuse)
    failed = lab.jobs.show(run(lab, JobKind.REENCRYPT))
    assert one in failed.note
    assert failed.note.endswith(f": no space left on device ({disk.FREE_SPACE})")
    monkeypatch.setattr(lab.files, "put", put)
    assert lab.jobs.show(run(lab, JobKind.REENCRYPT)).state == "succeeded"


def test_a_missing_file_and_a_damaged_header_are_told(lab: Lab) -> None:
    missing = lab.publish(b"missing", encrypted=True)
    broken = lab.publish(b"broken", encrypted=True)
    lab.path(missing).unlink()
    lab.path(broken).write_bytes(b"\0" * 5000)
    job = run(lab, JobKind.ENCRYPT, verify=True)
    note = lab.jobs.show(job).note
    assert missing in note
    assert broken in note
    assert lab.receipt(job).remaining == 2


def test_a_note_names_a_few_and_counts_the_rest(lab: Lab) -> None:
    for _ in range(25):
        lab.path(lab.publish(b"x", encrypted=True)).unlink()
    job = run(lab, JobKind.REENCRYPT)
    note = lab.jobs.show(job).note
    assert note.startswith("25 left behind: ")
    assert note.endswith("and 5 more")
    lab.plain.clear()
