"""The progress line of a job."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from strongroom.cli.bar import Bar
from strongroom.cli.waiting import Progress
from strongroom.jobs.model import JobKind
from tests.jobs_bench import Bench, open_bench


class Terminal(io.StringIO):
    """Says that somebody looks at it."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def test_a_terminal_shows_how_far_the_job_is(bench: Bench) -> None:
    job = bench.start(JobKind.REWRAP)
    terminal = Terminal()
    with Progress(job.title) as progress:
        progress._bar = Bar("rewrap extracts", unit="extracts", stream=terminal)
        progress.show(bench.jobs.show(job.id))
        with bench.repository.transaction() as tx:
            tx.jobs.progress(job.id, done=1, total=4, bytes_done=0)
        progress.show(bench.jobs.show(job.id))
    assert "1 extracts of 4 extracts" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_elsewhere_nothing_is_drawn(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    job = bench.start(JobKind.REWRAP)
    with bench.repository.transaction() as tx:
        tx.jobs.progress(job.id, done=1, total=4, bytes_done=0)
    with Progress(job.title) as progress:
        progress.show(bench.jobs.show(job.id))
    assert capsys.readouterr().err == ""
