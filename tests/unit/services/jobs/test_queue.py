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
from strongroom.services.jobs.queue import JobsService, WaitClock, receipt_of
from tests.support.jobs_lab import NOW, OTHER, SITE, Lab, open_lab

E, D, K, W = JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REENCRYPT, JobKind.REWRAP


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def states(lab: Lab, *ids: str) -> list[int]:
    return [lab.row(one).state for one in ids]


def set_mode(lab: Lab, mode: SiteMode) -> None:
    with lab.repository.transaction() as tx:
        tx.sites.update(SITE, mode=int(mode))


def test_a_job_is_queued_and_says_so_in_rows_and_events(lab: Lab) -> None:
    plain = lab.publish(b"x", encrypted=False)
    done = lab.publish(b"x", encrypted=True)
    job = lab.jobs.enqueue(E, SITE, "os:me")
    assert (job.state, job.kind, job.content_id, job.actor) == ("queued", E, None, "os:me")
    assert job.title == "Encrypt Extracts: Default"
    assert states(lab, plain, done) == [2, 1]
    assert lab.seen("JOB_QUEUED") == [{"job_id": job.id, "kind": E.value, "site_id": SITE}]
    assert lab.jobs.show(job.id) == job
    assert lab.jobs.list() == [job]
    assert lab.jobs.list(OTHER) == []


def test_the_same_request_gives_the_job_that_is_queued_already(lab: Lab) -> None:
    one, two = (lab.publish(b"x", encrypted=True) for _ in range(2))
    job = lab.jobs.enqueue(K, SITE, "os:me")
    assert lab.jobs.enqueue(K, SITE, "user:other").id == job.id
    others = [
        lab.jobs.enqueue(W, SITE, "os:me"),
        lab.jobs.enqueue(K, OTHER, "os:me"),
        lab.jobs.enqueue(K, SITE, "os:me", content_ids=[one, two]),
        lab.jobs.enqueue(E, SITE, "os:me", options={"new_data_key": True}),
        lab.jobs.enqueue(E, SITE, "os:me"),
    ]
    assert len({job.id, *(other.id for other in others)}) == 6
    assert lab.jobs.enqueue(K, SITE, "os:me", content_ids=[two, one, two]).id == others[2].id


def test_a_running_job_does_not_answer_for_a_new_one(lab: Lab) -> None:
    """What was published meanwhile may be behind it."""
    lab.publish(b"x", encrypted=True)
    running = lab.start(K)
    assert lab.jobs.enqueue(K, SITE, "os:me").id != running.id


def test_one_extract_names_its_job(lab: Lab) -> None:
    one = lab.publish(b"x", encrypted=False)
    two = lab.publish(b"x", encrypted=False)
    job = lab.jobs.enqueue(E, SITE, "os:me", content_ids=[one])
    assert job.content_id == one
    assert lab.row(one).name in job.title
    assert states(lab, one, two) == [2, 0]
    both = lab.jobs.enqueue(D, SITE, "os:me", content_ids=[one, two])
    assert both.content_id is None
    assert "2 of Default" in both.title


def test_what_does_not_exist_is_refused(lab: Lab) -> None:
    elsewhere = lab.publish(b"x", encrypted=False, site_id=OTHER)
    for ids, error in (([new_id()], NotFoundError), ([elsewhere], NotFoundError), ([], UsageError)):
        with pytest.raises(error):
            lab.jobs.enqueue(E, SITE, "os:me", content_ids=ids)
    with pytest.raises(NotFoundError):
        lab.jobs.enqueue(E, new_id(), "os:me")
    for ask in (lab.jobs.show, lab.jobs.wait):
        with pytest.raises(NotFoundError):
            ask(new_id())
    with pytest.raises(NotFoundError):
        lab.jobs.cancel(new_id(), "os:me")
    assert lab.jobs.list() == []


def test_the_mode_of_the_site_decides(lab: Lab) -> None:
    """E-13."""
    set_mode(lab, SiteMode.DISABLED)
    with pytest.raises(PermissionDeniedError):
        lab.jobs.enqueue(E, SITE, "os:me")
    lab.jobs.enqueue(D, SITE, "os:me")
    set_mode(lab, SiteMode.ENFORCED)
    with pytest.raises(StateError):
        lab.jobs.enqueue(D, SITE, "os:me", content_ids=None)
    lab.jobs.enqueue(K, SITE, "os:me")


def test_a_queued_job_that_is_cancelled_gives_the_rows_back_to_the_others(lab: Lab) -> None:
    one, two = (lab.publish(b"x", encrypted=True) for _ in range(2))
    decrypt = lab.jobs.enqueue(D, SITE, "os:me")
    rekey = lab.jobs.enqueue(K, SITE, "os:me", content_ids=[one])
    assert states(lab, one, two) == [3, 3]
    assert lab.jobs.cancel(decrypt.id, "os:me").state == "cancelled"
    assert states(lab, one, two) == [5, 1]
    assert receipt_of(lab.jobs.show(decrypt.id)) is None
    lab.jobs.cancel(rekey.id, "os:me")
    assert states(lab, one, two) == [1, 1]
    assert len(lab.seen("JOB_CANCELLED")) == 2


def test_a_running_job_is_asked_to_stop_and_an_ended_one_stays(lab: Lab) -> None:
    lab.publish(b"x", encrypted=False)
    job = lab.start(E)
    asked = lab.jobs.cancel(job.id, "os:me")
    assert (asked.state, asked.cancel_requested) == ("running", True)
    with lab.repository.transaction() as tx:
        tx.jobs.finish(job.id, "succeeded", finished_at=NOW)
    assert lab.jobs.cancel(job.id, "os:me").state == "succeeded"
    assert len(lab.seen("JOB_CANCELLED")) == 1


def test_waiting_shows_each_look_and_ends_with_the_job(lab: Lab) -> None:
    job = lab.jobs.enqueue(E, SITE, "os:me")
    looks: list[str] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if len(looks) == 3:
            lab.jobs.cancel(job.id, "os:me")

    clock = WaitClock(lambda: now[0], sleep)
    jobs = JobsService(lab.repository, lab.events, SystemClock(), waiting=clock)
    ended = jobs.wait(job.id, 10, lambda one: looks.append(one.state))
    assert ended.state == "cancelled"
    assert looks == ["queued"] * 3 + ["cancelled"]


def test_a_wait_that_is_too_short_tells_how_to_wait_again(lab: Lab) -> None:
    job = lab.jobs.enqueue(E, SITE, "os:me")
    with pytest.raises(WaitTimeoutError, match="queued") as raised:
        lab.jobs.wait(job.id, 0.01)
    assert f"strongroom jobs wait {job.id}" in raised.value.hint


def test_ids_of_jobs_keep_their_order() -> None:
    made = [new_ordered_id() for _ in range(200)]
    assert all(is_id(one) for one in made)
    assert len(set(made)) == 200
    # in one moment of 244 ns, chance decides
    assert [one[:13] for one in made] == sorted(one[:13] for one in made)
    assert {one[14] for one in made} == {"7"}


def test_states_a_job_does_not_cover_are_left_alone(lab: Lab) -> None:
    plain = lab.publish(b"x", encrypted=False)
    lab.jobs.enqueue(K, SITE, "os:me")
    lab.jobs.enqueue(W, SITE, "os:me")
    assert lab.row(plain).state == ContentState.UNENCRYPTED
