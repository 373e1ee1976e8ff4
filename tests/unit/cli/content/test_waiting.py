"""The progress line of a job."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from strongroom.cli.content.waiting import Progress
from strongroom.jobs.model import JobKind
from tests.support.jobs_lab import Lab, open_lab


class Terminal(io.StringIO):
    """Says that somebody looks at it."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


@pytest.mark.parametrize(
    ("bytes_total", "told"),
    [
        (0, ("1 extract of 4 extracts", "2 extracts of 4 extracts")),
        (4 << 20, ("0 B of 4.0 MiB", "1.0 MiB of 4.0 MiB")),
    ],
)
def test_a_terminal_shows_how_far_the_job_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, bytes_total: int, told: tuple[str, str]
) -> None:
    """Findings D3: whole extracts were counted, whatever their size."""
    job = lab.start(JobKind.REWRAP)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(job.title) as progress:
        progress.show(lab.jobs.show(job.id))
        assert terminal.getvalue() == ""  # it has not begun
        with lab.repository.transaction() as tx:
            tx.jobs.progress(job.id, done=1, total=4, bytes_done=0, bytes_total=bytes_total)
        progress.show(lab.jobs.show(job.id))
        with lab.repository.transaction() as tx:
            tx.jobs.progress(job.id, done=2, total=4, bytes_done=1 << 20)
        progress._bar._drawn_at = 0
        progress.show(lab.jobs.show(job.id))
    first, second = terminal.getvalue().split("\r")[1:3]
    assert told[0] in first
    assert told[1] in second
    assert "left" not in first
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_elsewhere_nothing_is_drawn(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    job = lab.start(JobKind.REWRAP)
    with lab.repository.transaction() as tx:
        tx.jobs.progress(job.id, done=1, total=4, bytes_done=0)
    with Progress(job.title) as progress:
        progress.show(lab.jobs.show(job.id))
    assert capsys.readouterr().err == ""
