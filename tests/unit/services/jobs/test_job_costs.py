"""What a job costs is what it is about, and not the site or the other jobs (findings R6, F15)."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.jobs.model import JobKind
from strongroom.repository.gateways.base import TableGateway
from strongroom.services.jobs.heartbeat import Brake
from strongroom.services.jobs.run import ExtractJobs, Limits
from tests.support.jobs_lab import SITE, Lab, Memory, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Gives how many rows were read since it was asked before."""
    count, read = [0], TableGateway._all

    def counted(self: TableGateway[Any], statement: Any) -> list[Any]:
        found = read(self, statement)
        count[0] += len(found)
        return found

    def told() -> int:
        before, count[0] = count[0], 0
        return before

    monkeypatch.setattr(TableGateway, "_all", counted)
    return told


def one_item(lab: Lab, kind: JobKind, content_id: str) -> None:
    """A job for it, from being asked for to its end, by a clock that stands still.

    As time goes by a job looks at its own row, on a slow machine more often: that costs the same on any site.
    """
    job = lab.start(kind, content_id)
    brake = Brake(0, threading.Event(), monotonic=lambda: 0.0)
    ExtractJobs(lab.ports, Limits(brake)).run(job.id, Memory())
    assert lab.jobs.show(job.id).state == "succeeded"


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_job_for_one_extract_reads_the_same_rows_on_any_site(
    lab: Lab, kind: JobKind, rows_read: Callable[[], int]
) -> None:
    """Findings R6: it walked the site in three steps, and once more for each open job when it ended."""
    encrypted = kind is not JobKind.ENCRYPT
    costs = []
    for sites, others in ((5, 0), (40, 0), (40, 25)):
        ids = [lab.publish(b"x", encrypted=encrypted) for _ in range(sites)]
        for content_id in ids[1 : 1 + others]:
            lab.jobs.enqueue(kind, SITE, "os:me", content_ids=[content_id])
        if kind is JobKind.REWRAP:
            lab.ring.rotate()
        rows_read()
        one_item(lab, kind, ids[0])
        costs.append(rows_read())
    assert len(set(costs)) == 1, costs


def test_ended_jobs_cost_a_new_one_nothing(lab: Lab, rows_read: Callable[[], int]) -> None:
    """Findings R6, R19: the running jobs of a site were looked for among all that it ever had."""
    ids = [lab.publish(b"x", encrypted=True) for _ in range(30)]
    rows_read()
    costs = []
    for content_id in ids:
        one_item(lab, JobKind.REENCRYPT, content_id)
        costs.append(rows_read())
    assert len(set(costs)) == 1, costs


def test_what_one_job_ends_is_all_that_is_marked_anew(
    lab: Lab, rows_read: Callable[[], int]
) -> None:
    """Of 30 extracts with a job each, only the one whose job was cancelled is read and settled."""
    ids = [lab.publish(b"x", encrypted=True) for _ in range(30)]
    jobs = [lab.jobs.enqueue(JobKind.DECRYPT, SITE, "os:me", content_ids=[one]) for one in ids]
    rows_read()
    lab.jobs.cancel(jobs[7].id, "os:me")
    assert rows_read() < 10
    states = [lab.row(one).state for one in ids]
    assert states == [3] * 7 + [1] + [3] * 22
