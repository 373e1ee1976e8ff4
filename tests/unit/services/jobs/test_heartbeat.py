"""Brake and progress: P18, requirement that a job stops soon."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from strongroom.jobs.model import JobKind
from strongroom.services.jobs.heartbeat import (
    WRITE_EVERY_S,
    Brake,
    Heartbeat,
    JobCancelledError,
    Tally,
    WorkerStopping,
)
from tests.support.jobs_lab import Lab, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


class Time(threading.Event):
    """An event whose waiting moves a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.waited: list[float] = []

    @override
    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0)
        self.now += timeout or 0
        return self.is_set()


def test_bytes_pass_at_the_rate() -> None:
    time = Time()
    brake = Brake(1000, time, monotonic=lambda: time.now)
    for _ in range(10):
        brake.take(500)
    # the first ones pass at once; each next waits until those before it are paid for
    assert time.now - 100 == pytest.approx(4.5)
    assert max(time.waited) <= 0.1


def test_without_a_rate_nothing_waits() -> None:
    time = Time()
    Brake(0, time, monotonic=lambda: time.now).take(1 << 40)
    assert time.waited == []


def test_a_stop_is_noticed_in_the_middle_of_a_wait() -> None:
    time = Time()
    brake = Brake(1, time, monotonic=lambda: time.now)
    brake.take(1000)
    time.set()
    with pytest.raises(WorkerStopping):
        brake.take(1)


def test_progress_is_written_now_and_then_and_never_goes_back(lab: Lab) -> None:
    lab.publish(b"x", encrypted=False)
    job = lab.start(JobKind.ENCRYPT).id
    with lab.repository.transaction() as tx:
        tx.jobs.progress(job, done=3, total=5, bytes_done=300)
    time = Time()
    brake = Brake(0, time, monotonic=lambda: time.now)
    heartbeat = Heartbeat(lab.repository, job, brake, Tally(2, 5, 200))

    def shown() -> tuple[int, int, int]:
        row = lab.jobs.show(job)
        return row.done, row.total, row.bytes_done

    moved = heartbeat.throttle("one", 150)
    moved(140)
    assert shown() == (3, 5, 300)  # too early to write
    time.now += WRITE_EVERY_S
    moved(140)
    assert shown() == (3, 5, 350)  # an item never counts for more than it has
    heartbeat.finished("one", 150)
    heartbeat.finished("two", None)
    heartbeat.flush()
    assert shown() == (4, 5, 350)


def test_a_cancelled_job_is_noticed_with_the_next_write(lab: Lab) -> None:
    lab.publish(b"x", encrypted=False)
    job = lab.start(JobKind.ENCRYPT).id
    heartbeat = Heartbeat(lab.repository, job, Brake(0, threading.Event()), Tally(0, 1, 0))
    heartbeat.flush()
    heartbeat.check()
    lab.jobs.cancel(job, "os:me")
    heartbeat.flush()
    with pytest.raises(JobCancelledError):
        heartbeat.check()
    with lab.repository.transaction() as tx:
        tx.jobs.delete(job)
    gone = Heartbeat(lab.repository, job, Brake(0, threading.Event()), Tally(0, 1, 0))
    gone.flush()
    with pytest.raises(JobCancelledError):
        gone.check()
