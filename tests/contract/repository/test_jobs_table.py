"""The jobs table: who takes a job, how far it is, how it ends."""

import pytest

from strongroom.errors import NotFoundError
from strongroom.ids import new_ordered_id
from strongroom.repository.rows import Filter, JobRow, Query
from strongroom.repository.unit_of_work import Repository
from tests.support.rows import NOW

LATER = "2026-11-21T13:00:00Z"


def job(key: str, *, site_id: str = "site", created_at: str = NOW) -> JobRow:
    return JobRow(
        key, "encrypt_extracts", site_id, None, key, "queued", "user:admin", created_at,
        options={"a": 1},
    )  # fmt: skip


@pytest.fixture
def jobs(repository: Repository) -> Repository:
    """Three queued jobs, the last one of another site."""
    with repository.transaction() as tx:
        tx.jobs.insert(job("one"))
        tx.jobs.insert(job("two", created_at=LATER))
        tx.jobs.insert(job("far", site_id="other"))
    return repository


def test_jobs_are_taken_once_and_oldest_first(jobs: Repository) -> None:
    with jobs.transaction() as tx:
        assert [row.id for row in tx.jobs.queued()] == ["far", "one", "two"]
        assert [row.id for row in tx.jobs.queued(limit=1)] == ["far"]
        assert tx.jobs.claim("one", LATER)
        assert not tx.jobs.claim("one", LATER)
        row = tx.jobs.get("one")
        assert (row.state, row.started_at, row.options) == ("running", LATER, {"a": 1})


def test_progress_is_written_while_a_job_runs(jobs: Repository) -> None:
    with jobs.transaction() as tx:
        assert not tx.jobs.progress("one", done=1, total=2, bytes_done=3)
        tx.jobs.claim("one", LATER)
        assert tx.jobs.progress("one", done=1, total=2, bytes_done=3, bytes_total=9)
        assert tx.jobs.progress("one", done=2, total=2, bytes_done=6)
        row = tx.jobs.get("one")
        assert (row.done, row.total, row.bytes_done, row.bytes_total) == (2, 2, 6, 9)


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(jobs: Repository) -> None:
    with jobs.transaction() as tx:
        queued = tx.jobs.request_cancel("one", LATER)
        assert (queued.state, queued.finished_at) == ("cancelled", LATER)
        tx.jobs.claim("two", LATER)
        running = tx.jobs.request_cancel("two", LATER)
        assert (running.state, running.cancel_requested) == ("running", True)
        assert not tx.jobs.progress("two", done=1, total=2, bytes_done=3)
        assert tx.jobs.finish("two", "cancelled", finished_at=LATER)
        assert tx.jobs.request_cancel("two", LATER).state == "cancelled"
        with pytest.raises(NotFoundError):
            tx.jobs.request_cancel("nosuch", LATER)


def test_a_job_ends_once(jobs: Repository) -> None:
    with jobs.transaction() as tx:
        tx.jobs.claim("one", LATER)
        receipt = {"scanned": 1}
        assert tx.jobs.finish("one", "succeeded", finished_at=LATER, receipt=receipt, note="n")
        assert not tx.jobs.finish("one", "failed", finished_at=LATER)
        row = tx.jobs.get("one")
        assert (row.state, row.receipt, row.note) == ("succeeded", receipt, "n")


def test_lists_show_the_newest_first(jobs: Repository) -> None:
    with jobs.reading() as tx:
        assert [row.id for row in tx.jobs.list()] == ["two", "one", "far"]
        assert [row.id for row in tx.jobs.list(site_id="site", limit=1)] == ["two"]
        assert tx.jobs.list(states=["running"]) == []
        assert [row.id for row in tx.jobs.page("site").rows] == ["two", "one"]
        assert tx.jobs.page().total == 3


def test_jobs_of_one_second_are_listed_newest_first(repository: Repository) -> None:
    """A refresh and the job before it came in either order, as chance named them."""
    ids = [new_ordered_id() for _ in range(5)]
    with repository.transaction() as tx:
        for key in reversed(ids):
            tx.jobs.insert(job(key))
    oldest_first = Query(sort=(("created_at", False),))
    with repository.reading() as tx:
        assert [row.id for row in tx.jobs.list()] == ids[::-1]
        assert [row.id for row in tx.jobs.page().rows] == ids[::-1]
        assert [row.id for row in tx.jobs.page(query=oldest_first).rows] == ids
        assert [row.id for row in tx.jobs.queued()] == ids


def test_jobs_are_filtered_by_progress(jobs: Repository) -> None:
    """TSC asks for `progress:lte:0`."""
    with jobs.transaction() as tx:
        tx.jobs.claim("one", LATER)
        tx.jobs.progress("one", done=1, total=2, bytes_done=3)
        idle = Query(filters=(Filter("progress", "lte", ("0",)),))
        half = Query(filters=(Filter("progress", "gte", ("50",)),))
        assert {row.id for row in tx.jobs.page(None, idle).rows} == {"two", "far"}
        assert [row.id for row in tx.jobs.page(None, half).rows] == ["one"]


def test_all_jobs_of_a_site_are_asked_to_stop(jobs: Repository) -> None:
    with jobs.transaction() as tx:
        tx.jobs.claim("one", LATER)
        tx.jobs.cancel_of_site("site", LATER)
        assert tx.jobs.get("one").cancel_requested
        assert tx.jobs.get("two").state == "cancelled"
        assert tx.jobs.get("far").state == "queued"
