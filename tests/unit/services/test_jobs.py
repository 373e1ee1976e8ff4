"""Asking for jobs, cancelling them, waiting for them; the marks in the rows (E-12)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import (
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
    WaitTimeoutError,
)
from strongroom.ids import is_id, new_id, new_ordered_id
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentState, SiteMode
from strongroom.services.jobs import JobsService, WaitClock, receipt_of
from tests.jobs_bench import NOW, OTHER, SITE, Bench, open_bench

E, D, K, W = JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REKEY, JobKind.REWRAP


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def states(bench: Bench, *ids: str) -> list[int]:
    return [bench.row(one).state for one in ids]


def set_mode(bench: Bench, mode: SiteMode) -> None:
    with bench.repository.transaction() as tx:
        tx.sites.update(SITE, mode=int(mode))


def test_a_job_is_queued_and_says_so_in_rows_and_events(bench: Bench) -> None:
    plain = bench.publish(b"x", encrypted=False)
    done = bench.publish(b"x", encrypted=True)
    job = bench.jobs.enqueue(E, SITE, "os:me")
    assert (job.state, job.kind, job.content_id, job.actor) == ("queued", E, None, "os:me")
    assert job.title == "Encrypt Extracts: Default"
    assert states(bench, plain, done) == [2, 1]
    assert bench.seen("JOB_QUEUED") == [{"job_id": job.id, "kind": E.value, "site_id": SITE}]
    assert bench.jobs.show(job.id) == job
    assert bench.jobs.list() == [job]
    assert bench.jobs.list(OTHER) == []


def test_the_same_request_gives_the_job_that_is_queued_already(bench: Bench) -> None:
    one, two = (bench.publish(b"x", encrypted=True) for _ in range(2))
    job = bench.jobs.enqueue(K, SITE, "os:me")
    assert bench.jobs.enqueue(K, SITE, "user:other").id == job.id
    others = [
        bench.jobs.enqueue(W, SITE, "os:me"),
        bench.jobs.enqueue(K, OTHER, "os:me"),
        bench.jobs.enqueue(K, SITE, "os:me", content_ids=[one, two]),
        bench.jobs.enqueue(E, SITE, "os:me", options={"new_data_key": True}),
        bench.jobs.enqueue(E, SITE, "os:me"),
    ]
    assert len({job.id, *(other.id for other in others)}) == 6
    assert bench.jobs.enqueue(K, SITE, "os:me", content_ids=[two, one, two]).id == others[2].id


def test_a_running_job_does_not_answer_for_a_new_one(bench: Bench) -> None:
    """What was published meanwhile may be behind it."""
    bench.publish(b"x", encrypted=True)
    running = bench.start(K)
    assert bench.jobs.enqueue(K, SITE, "os:me").id != running.id


def test_one_extract_names_its_job(bench: Bench) -> None:
    one = bench.publish(b"x", encrypted=False)
    two = bench.publish(b"x", encrypted=False)
    job = bench.jobs.enqueue(E, SITE, "os:me", content_ids=[one])
    assert job.content_id == one
    assert bench.row(one).name in job.title
    assert states(bench, one, two) == [2, 0]
    both = bench.jobs.enqueue(D, SITE, "os:me", content_ids=[one, two])
    assert both.content_id is None
    assert "2 of Default" in both.title


def test_what_does_not_exist_is_refused(bench: Bench) -> None:
    elsewhere = bench.publish(b"x", encrypted=False, site_id=OTHER)
    for ids, error in (([new_id()], NotFoundError), ([elsewhere], NotFoundError), ([], UsageError)):
        with pytest.raises(error):
            bench.jobs.enqueue(E, SITE, "os:me", content_ids=ids)
    with pytest.raises(NotFoundError):
        bench.jobs.enqueue(E, new_id(), "os:me")
    for ask in (bench.jobs.show, bench.jobs.wait):
        with pytest.raises(NotFoundError):
            ask(new_id())
    with pytest.raises(NotFoundError):
        bench.jobs.cancel(new_id(), "os:me")
    assert bench.jobs.list() == []


def test_the_mode_of_the_site_decides(bench: Bench) -> None:
    """Requirements section 10."""
    set_mode(bench, SiteMode.DISABLED)
    with pytest.raises(PermissionDeniedError):
        bench.jobs.enqueue(E, SITE, "os:me")
    bench.jobs.enqueue(D, SITE, "os:me")
    set_mode(bench, SiteMode.ENFORCED)
    with pytest.raises(StateError):
        bench.jobs.enqueue(D, SITE, "os:me", content_ids=None)
    bench.jobs.enqueue(K, SITE, "os:me")


def test_a_queued_job_that_is_cancelled_gives_the_rows_back_to_the_others(bench: Bench) -> None:
    one, two = (bench.publish(b"x", encrypted=True) for _ in range(2))
    decrypt = bench.jobs.enqueue(D, SITE, "os:me")
    rekey = bench.jobs.enqueue(K, SITE, "os:me", content_ids=[one])
    assert states(bench, one, two) == [3, 3]
    assert bench.jobs.cancel(decrypt.id, "os:me").state == "cancelled"
    assert states(bench, one, two) == [5, 1]
    assert receipt_of(bench.jobs.show(decrypt.id)) is None
    bench.jobs.cancel(rekey.id, "os:me")
    assert states(bench, one, two) == [1, 1]
    assert len(bench.seen("JOB_CANCELLED")) == 2


def test_a_running_job_is_asked_to_stop_and_an_ended_one_stays(bench: Bench) -> None:
    bench.publish(b"x", encrypted=False)
    job = bench.start(E)
    asked = bench.jobs.cancel(job.id, "os:me")
    assert (asked.state, asked.cancel_requested) == ("running", True)
    with bench.repository.transaction() as tx:
        tx.jobs.finish(job.id, "succeeded", finished_at=NOW)
    assert bench.jobs.cancel(job.id, "os:me").state == "succeeded"
    assert len(bench.seen("JOB_CANCELLED")) == 1


def test_waiting_shows_each_look_and_ends_with_the_job(bench: Bench) -> None:
    job = bench.jobs.enqueue(E, SITE, "os:me")
    looks: list[str] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if len(looks) == 3:
            bench.jobs.cancel(job.id, "os:me")

    clock = WaitClock(lambda: now[0], sleep)
    jobs = JobsService(bench.repository, bench.events, SystemClock(), waiting=clock)
    ended = jobs.wait(job.id, 10, lambda one: looks.append(one.state))
    assert ended.state == "cancelled"
    assert looks == ["queued"] * 3 + ["cancelled"]


def test_a_wait_that_is_too_short_tells_how_to_wait_again(bench: Bench) -> None:
    job = bench.jobs.enqueue(E, SITE, "os:me")
    with pytest.raises(WaitTimeoutError, match="queued") as raised:
        bench.jobs.wait(job.id, 0.01)
    assert f"strongroom jobs wait {job.id}" in raised.value.hint


def test_ids_of_jobs_keep_their_order() -> None:
    made = [new_ordered_id() for _ in range(200)]
    assert all(is_id(one) for one in made)
    assert len(set(made)) == 200
    # in one moment of 244 ns, chance decides
    assert [one[:13] for one in made] == sorted(one[:13] for one in made)
    assert {one[14] for one in made} == {"7"}


def test_states_a_job_does_not_cover_are_left_alone(bench: Bench) -> None:
    plain = bench.publish(b"x", encrypted=False)
    bench.jobs.enqueue(K, SITE, "os:me")
    bench.jobs.enqueue(W, SITE, "os:me")
    assert bench.row(plain).state == ContentState.UNENCRYPTED
