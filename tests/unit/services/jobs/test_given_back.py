"""A job that goes from one process to another, at whatever moment (issue 12 B; a2-2, b12, matrix 33)."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from strongroom.jobs.model import JobKind
from strongroom.repository.rows import NOBODY, Owner
from strongroom.services.jobs import run as runs
from strongroom.services.jobs.heartbeat import Brake, WorkerStopping
from strongroom.services.jobs.run import ExtractJobs, Limits
from tests.support.jobs_lab import NOW, SITE, Lab, Memory

T = TypeVar("T")
EXTRACTS = 5


@dataclass
class Taken:
    """Steps that are kept; before one of them the job is given back and another process has it."""

    lab: Lab
    job_id: str
    at: int
    kept: Memory = field(default_factory=Memory)
    seen: int = 0

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        self.seen += 1
        if self.seen == self.at:
            assert self.lab.jobs.give_back(self.lab.jobs.show(self.job_id))
        return self.kept(name, work)


def work(lab: Lab) -> ExtractJobs:
    return ExtractJobs(lab.ports, Limits(Brake(0, threading.Event()), 1))


def two(folder: Path) -> tuple[Lab, Lab]:
    folder.mkdir()
    one, other = (Lab(folder, owner=Owner(f"node{n}", f"boot{n}")) for n in (1, 2))
    one.set_up()
    for number in range(EXTRACTS):
        one.publish(bytes([number]) * 900, encrypted=True)
    return one, other


@pytest.mark.parametrize("keeps_steps", [True, False], ids=["its steps", "no step"])
def test_the_next_process_goes_on_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, keeps_steps: bool
) -> None:
    """Before each step: the first process stops, and leaves no outcome that the second would take for its own."""
    monkeypatch.setattr(runs, "BATCH_ITEMS", 2)
    at, over = 0, False
    while not over:
        at += 1
        one, other = two(tmp_path / f"at{at}")
        job = one.start(JobKind.REENCRYPT)
        steps = Taken(one, job.id, at)
        try:
            over = work(one).run(job.id, steps) == "succeeded"
        except WorkerStopping:
            given = other.jobs.show(job.id)
            assert (given.state, given.owner, given.owner_epoch) == ("queued", NOBODY, 2)
            with other.repository.transaction() as tx:
                assert tx.jobs.claim(job.id, "2026-11-22T00:00:00Z")
            again = steps.kept.begin() if keeps_steps else Memory()
            assert work(other).run(job.id, again) == "succeeded"
        ended, receipt = other.jobs.show(job.id), other.receipt(job.id)
        assert (ended.started_at, ended.done, ended.total) == (NOW, EXTRACTS, EXTRACTS)
        assert (receipt.scanned, receipt.remaining) == (EXTRACTS, 0)
        if keeps_steps:
            assert receipt.changed == EXTRACTS
        times = Counter(str(event["extract_id"]) for event in other.seen("EXTRACT_REKEYED"))
        assert times == dict.fromkeys(one.plain, 1), at
        other.plain.update(one.plain)
        other.check_whole()
        for lab in (one, other):
            lab.repository.close()
    assert at > EXTRACTS


def test_a_job_that_was_asked_to_stop_ends_when_it_is_given_back(tmp_path: Path) -> None:
    one, other = two(tmp_path / "x")
    job = one.start(JobKind.REENCRYPT)
    other.jobs.cancel(job.id, "os:test")
    # another node's command finds no process of its own, and leaves the job of a living one alone
    assert other.jobs.end_abandoned(job.id).state == "running"
    assert other.jobs.give_back(other.jobs.show(job.id))
    ended = other.jobs.show(job.id)
    assert (ended.state, ended.note) == (
        "cancelled",
        "nobody worked on it when it was asked to stop",
    )
    assert not other.jobs.give_back(ended)
    with other.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {1}
    for lab in (one, other):
        lab.repository.close()
