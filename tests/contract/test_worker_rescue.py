"""A job that nobody works on is started again or given up, whichever of its three parts is gone (findings R2).

The parts: its row, its record in the engine's database, and a thread that works on it.
"""

import contextlib
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from strongroom.backgrounder import rescue
from strongroom.backgrounder.rescue import Rescue
from strongroom.backgrounder.worker import Advice, Place, Worker
from strongroom.backgrounder.workflows import WorkflowEngine, _Running
from strongroom.clock import format_utc
from strongroom.errors import (
    CoordinationError,
    OutcomeUnknown,
    StorageError,
    StorageUnavailableError,
    StrongroomError,
)
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ProjectRow, SiteRow
from strongroom.services.jobs.one import ItemWork
from strongroom.services.jobs.queue import JobsService
from strongroom.services.jobs.run import ExtractJobs, Step, Totals
from strongroom.system import disk
from tests.support import privileges
from tests.support.jobs_lab import NOW, OTHER, SITE, Lab, open_lab

LIMIT_S = 120


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "GRACE_S", 0.3)
    monkeypatch.setattr(rescue, "SLOWEST_S", 1.0)


def work(lab: Lab, until: Callable[[], bool], bytes_per_s: int = 0) -> None:
    """As the node does it: a worker that ends for an error is started again."""
    end = time.monotonic() + LIMIT_S
    place = Place(lab.folder / "workflows.db", "node1")

    def done() -> bool:
        return time.monotonic() > end or until()

    while not done():
        with contextlib.suppress(StorageError):
            Worker(lab.ports, place, threading.Event(), Advice(lambda: (1, bytes_per_s))).run(
                until=done
            )
    assert time.monotonic() < end, [job for job in lab.jobs.list() if not job.finished_at]


def ended(lab: Lab, *jobs: str) -> Callable[[], bool]:
    def all_ended() -> bool:
        return all(lab.jobs.show(job).finished_at for job in jobs)

    return all_ended


def sql(lab: Lab, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(lab.folder / "workflows.db", timeout=30)) as found:
        found.execute(statement)
        found.commit()


def break_off(monkeypatch: pytest.MonkeyPatch, times: int, job_id: str = "") -> list[str]:
    """The disk ends the first threads that work on a job, or one job, and lets nothing be written about it."""
    met: list[str] = []
    whole = ExtractJobs.run

    def broken(self: ExtractJobs, one: str, step: Step) -> str:
        if job_id in {"", one} and len(met) < times:
            met.append(one)
            raise StorageError("the disk of the repository is full")
        return whole(self, one, step)

    monkeypatch.setattr(ExtractJobs, "run", broken)
    return met


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_job_whose_thread_died_goes_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """It stayed "running" for ever, and all later jobs of its site waited for ever."""
    lab.publish(b"x" * 1000, encrypted=False)
    met = break_off(monkeypatch, times)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    later = lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id
    work(lab, ended(lab, job, later))
    assert met == [job] * times
    assert [lab.jobs.show(one).state for one in (job, later)] == ["succeeded"] * 2
    assert lab.receipt(job).changed == 1
    lab.check_whole()


@pytest.mark.parametrize(
    "loss",
    [
        "delete from workflow_status",
        "update workflow_status set application_version = 'another'",
        "update workflow_status set executor_id = 'another'",
        "update workflow_status set status = 'ENQUEUED', queue_name = 'nobody reads this'",
        "update workflow_status set status = 'DELAYED'",
        "update workflow_status set status = 'SUCCESS'",
        "update workflow_status set status = 'CANCELLED'",
        "update workflow_status set status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'",
        "the file is removed",
        "the file is damaged",
    ],
)
def test_a_job_whose_record_is_gone_or_of_no_use_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Every state of the engine's record, with the row still running and the process dead."""
    lab.publish(b"x" * 1000, encrypted=False)
    met = break_off(monkeypatch, 1)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, lambda: bool(met))
    database = lab.folder / "workflows.db"
    if loss.startswith("the file is removed"):
        database.unlink()
    elif loss.startswith("the file"):
        database.write_bytes(b"\xff" * database.stat().st_size)
    else:
        sql(lab, loss)
    work(lab, ended(lab, job))
    shown = lab.jobs.show(job)
    given_up = "status = 'CANCELLED'" in loss or "MAX_RECOVERY" in loss
    assert shown.state == ("failed" if given_up else "succeeded"), shown.note
    later = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, ended(lab, later))
    assert lab.jobs.show(later).state == "succeeded"
    lab.check_whole()


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailableError("PostgreSQL, which holds the repository, cannot be reached"),
        CoordinationError("ZooKeeper does not answer"),
        OutcomeUnknown("it is not known whether the change was made"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "place",
    [
        (ExtractJobs, "_job"),
        (ExtractJobs, "_begin"),
        (ExtractJobs, "_plan"),
        (ExtractJobs, "_work"),
        (ExtractJobs, "_scan"),
        (ExtractJobs, "_finish"),
        (ExtractJobs, "_end"),
        (ItemWork, "_switch"),
        (ItemWork, "_written"),
    ],
    ids=lambda place: place[1],
)
def test_a_job_goes_on_when_a_service_is_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, place: tuple[type, str], error: StrongroomError
) -> None:
    """Matrix 13, 36: thirty minutes of faults let jobs end as failed because PostgreSQL had been away for seconds."""
    for _ in range(3):
        lab.publish(b"x" * 1000, encrypted=False)
    kind, name = place
    whole, met = getattr(kind, name), list[int]()

    def away(*args: object, **more: object) -> object:
        met.append(1)
        if len(met) in {1, 2}:
            raise error
        return whole(*args, **more)

    monkeypatch.setattr(kind, name, away)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, ended(lab, job))
    shown = lab.jobs.show(job)
    assert (shown.state, shown.note) == ("succeeded", "")
    assert len(met) > 2
    assert (lab.receipt(job).scanned, lab.receipt(job).remaining) == (3, 0)
    looks = iter((False, True))
    work(lab, lambda: next(looks, True))  # a start removes what a switch left
    lab.check_whole()


def test_a_second_thread_of_a_job_is_no_outcome(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine began a job's workflow again while a thread had it: its end counted, and the job as one that broke off."""
    lab.publish(b"x" * 1000, encrypted=False)
    begin, refused = _Running.begin, list[str]()

    def taken(self: _Running, job_id: str) -> bool:
        if not refused:
            refused.append(job_id)
            return False
        return begin(self, job_id)

    monkeypatch.setattr(_Running, "begin", taken)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, ended(lab, job))
    assert refused == [job]
    assert lab.jobs.show(job).state == "succeeded"


def test_a_job_without_a_thread_that_is_cancelled_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`jobs cancel` ended with 0 and changed nothing."""
    lab.publish(b"x", encrypted=False)
    met = break_off(monkeypatch, 100)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, lambda: bool(met))
    lab.jobs.cancel(job, "os:test")
    work(lab, ended(lab, job))
    shown = lab.jobs.show(job)
    assert (shown.state, shown.note) == ("cancelled", "the job broke off: it was asked to stop")
    with lab.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0}


def test_a_job_that_could_not_even_be_given_up_says_what_to_do(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine keeps the error of each piece as words: what to do about it was lost there."""
    lab.publish(b"x", encrypted=False)
    give_up, met = ExtractJobs.give_up, list[str]()

    def full(*_: object) -> NoReturn:
        raise StorageError("the disk of the repository is full", hint=disk.FREE_SPACE)

    def at_last(self: ExtractJobs, job_id: str, reason: str, totals: Totals | None = None) -> str:
        met.append(reason)
        return full() if len(met) == 1 else give_up(self, job_id, reason, totals)

    monkeypatch.setattr(ExtractJobs, "_scan", full)
    monkeypatch.setattr(ExtractJobs, "give_up", at_last)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work(lab, ended(lab, job))
    shown = lab.jobs.show(job)
    assert shown.state == "failed"
    assert shown.note.endswith(f"the disk of the repository is full ({disk.FREE_SPACE})")


def test_jobs_that_cannot_be_brought_back_take_no_room(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them used up all room: no job of the node ran any more."""
    third = new_id()
    with lab.repository.transaction() as tx:
        tx.sites.insert(SiteRow(third, "Third", "third", 1, NOW))
        tx.projects.insert(
            ProjectRow(f"p-{third}", third, "P", None, "", "user", "Managed", NOW, NOW)
        )
    for site in (SITE, OTHER, third):
        lab.publish(b"x", encrypted=False, site_id=site)
    stuck = [lab.jobs.enqueue(JobKind.ENCRYPT, one, "os:test").id for one in (SITE, OTHER)]
    whole = ExtractJobs.run

    def broken(self: ExtractJobs, one: str, step: Step) -> str:
        if one in stuck:
            raise StorageError("the disk of the repository is full")
        return whole(self, one, step)

    monkeypatch.setattr(ExtractJobs, "run", broken)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, third, "os:test").id
    behind = lab.jobs.enqueue(JobKind.DECRYPT, SITE, "os:test").id
    work(lab, ended(lab, job))
    assert lab.jobs.show(job).state == "succeeded"
    assert [lab.jobs.show(one).state for one in (*stuck, behind)] == ["running"] * 2 + ["queued"]
    monkeypatch.setattr(ExtractJobs, "run", whole)
    work(lab, ended(lab, *stuck, behind))
    assert {lab.jobs.show(one).state for one in (*stuck, behind)} == {"succeeded"}


def test_attempts_become_rarer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may be full for days."""
    monkeypatch.setattr(rescue, "GRACE_S", 5.0)
    monkeypatch.setattr(rescue, "SLOWEST_S", 60.0)
    lab, now, tried = Lab(tmp_path).set_up(), [0.0], list[float]()

    class Engine(WorkflowEngine):
        def __init__(self) -> None:
            super().__init__(
                tmp_path / "w.db", "n", Place(tmp_path, "n").file_modes, _none, _nothing
            )

    engine = Engine()
    monkeypatch.setattr(engine, "is_known", lambda _: True)
    monkeypatch.setattr(engine, "broken", lambda _: None)
    monkeypatch.setattr(engine, "has_succeeded", lambda _: False)
    for name in ("resume", "start_anew"):
        monkeypatch.setattr(engine, name, lambda _: tried.append(now[0]))
    lab.publish(b"x", encrypted=False)
    job = lab.start(JobKind.ENCRYPT)
    looks = Rescue(engine, lambda *_: None, lambda: now[0])
    while now[0] < 600:
        looks.look_after([job])
        now[0] += 1
    gaps = [round(after - before) for before, after in itertools.pairwise(tried)]
    assert gaps[:4] == [10, 20, 40, 60]
    assert set(gaps[4:]) == {60}
    lab.repository.close()


def _none(job_id: str, step: Step) -> str:
    del step
    return job_id


def _nothing() -> None:
    return None


def test_jobs_keep_their_order_when_the_clock_goes_back(lab: Lab) -> None:
    """The times of the rows are the queue's order: encrypt, then decrypt, came out the other way round."""

    class Back:
        moments = iter([timedelta(0), timedelta(hours=-1), timedelta(hours=-1), timedelta(days=-3)])

        def now(self) -> datetime:
            return datetime(2026, 11, 21, 12, tzinfo=UTC) + next(self.moments)

    jobs = JobsService(lab.repository, lab.events, Back())
    lab.publish(b"x", encrypted=False)
    kinds = [JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REENCRYPT, JobKind.REWRAP]
    made = [jobs.enqueue(kind, SITE, "os:test") for kind in kinds]
    with lab.repository.reading() as tx:
        assert [job.id for job in tx.jobs.queued()] == [job.id for job in made]
    assert made[0].created_at == format_utc(datetime(2026, 11, 21, 12, tzinfo=UTC))


# ---- a disk that is full --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    privileges.mount_small_disk(folder, 24)
    try:
        yield folder
    finally:
        privileges.unmount(folder)


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def _over(thread: threading.Thread, ended: Callable[[], bool]) -> bool:
    return not thread.is_alive() and ended()


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("kind", [JobKind.REENCRYPT, JobKind.ENCRYPT])
def test_a_job_ends_though_the_disk_was_full(
    small_disk: Path, kind: JobKind, delay_s: float
) -> None:
    """Findings R2 as it was found: extracts, a disk that fills meanwhile, and room again after a while."""
    for lab in open_lab(small_disk):
        for _ in range(6):
            lab.publish(os.urandom(1_000_000), encrypted=kind is JobKind.REENCRYPT)
        job = lab.jobs.enqueue(kind, SITE, "os:test").id

        def episode(folder: Path = small_disk) -> None:
            time.sleep(delay_s)
            fill(folder / "full")
            time.sleep(1.5)
            (folder / "full").unlink()

        filling = threading.Thread(target=episode)
        filling.start()
        # one worker throughout: a new one would mend it by being new
        work(lab, partial(_over, filling, ended(lab, job)), bytes_per_s=4_000_000)
        filling.join()
        shown = lab.jobs.show(job)
        assert shown.state in {"succeeded", "failed"}
        assert shown.state == "succeeded" or shown.note
        again = lab.jobs.enqueue(kind, SITE, "os:test").id
        work(lab, ended(lab, again))
        assert lab.jobs.show(again).state == "succeeded", lab.jobs.show(again).note
        lab.check_whole()
