"""What a job believes and what it looks into (findings R15, E-18)."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.filestore.blockfile import OpenedFile
from strongroom.jobs.model import JobKind
from strongroom.services.jobs.heartbeat import Brake
from strongroom.services.jobs.run import ExtractJobs, Limits
from tests.support.jobs_lab import Lab, Memory, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def run(lab: Lab, kind: JobKind, *ids: str, **options: Any) -> str:
    job = lab.start(kind, *ids, **options)
    ExtractJobs(lab.ports, Limits(Brake(0, threading.Event()))).run(job.id, Memory())
    return job.id


class Opens:
    """Counts the files that are opened."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, opened = 0, lab.files.open

        def counted(key: str) -> OpenedFile:
            self.count += 1
            return opened(key)

        monkeypatch.setattr(lab.files, "open", counted)


@pytest.mark.parametrize("kind", [JobKind.ENCRYPT, JobKind.REWRAP])
def test_nothing_to_do_opens_no_file(
    lab: Lab, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings R15: each file was opened twice. After a rotation the rows are not enough; its headers are read, once."""
    ids = [lab.publish(b"x", encrypted=True) for _ in range(5)]
    opens = Opens(lab, monkeypatch)
    for expected, verified, options in ((0, 0, {}), (15, 5, {"verify": True})):
        opens.count = 0
        receipt = lab.receipt(run(lab, kind, **options))
        assert (opens.count, receipt.scanned, receipt.verified) == (expected, 5, verified)
        assert (receipt.changed, receipt.remaining) == (0, 0)
    lab.ring.rotate()
    assert lab.receipt(run(lab, kind)).changed == 5
    opens.count = 0
    assert lab.receipt(run(lab, kind)).changed == 0
    assert opens.count == 5
    # for one file, a look costs what it is worth: `publish?asJob=true` asks for it
    assert lab.receipt(run(lab, JobKind.REWRAP, ids[0])).verified == 1


@pytest.mark.parametrize("kind", [JobKind.ENCRYPT, JobKind.REWRAP])
def test_a_header_under_an_old_key_is_seen_whatever_the_row_says(lab: Lab, kind: JobKind) -> None:
    """E-18: somebody put an older copy of a file back. As long as the old key is known, the header is read."""
    one = lab.publish(b"x" * 100, encrypted=True)
    older = lab.path(one).read_bytes()
    mek = lab.ring.rotate()
    run(lab, kind)
    lab.path(one).write_bytes(older)
    assert lab.receipt(run(lab, kind)).changed == 1
    assert lab.vault.mek_ids(lab.row(one).storage_key) == {mek}
    lab.check_whole()
