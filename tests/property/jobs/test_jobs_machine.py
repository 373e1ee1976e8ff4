"""Jobs as a state machine: whatever is asked, cut, cancelled, rotated, published and deleted in whatever order, no
extract is lost, nothing is left over, and a job that succeeded has kept its promise."""

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from strongroom.jobs.model import JobKind
from strongroom.services.jobs.heartbeat import Brake
from strongroom.services.jobs.journal import JobJournal
from strongroom.services.jobs.run import ExtractJobs, Limits
from tests.support.jobs_lab import NOW, SITE, Lab, Memory

T = TypeVar("T")


class Cut(BaseException):
    """The process dies."""


class JobsMachine(RuleBasedStateMachine):
    """One site, one worker that dies at random steps."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.lab = Lab(self.folder).set_up()
        self.steps: dict[str, Memory] = {}
        self.broken = False

    @rule(data=st.binary(max_size=40), encrypted=st.booleans())
    def publish(self, data: bytes, encrypted: bool) -> None:
        if len(self.lab.plain) < 6:
            self.lab.publish(data, encrypted=encrypted)

    @precondition(lambda self: self.lab.plain)
    @rule(choice=st.randoms(use_true_random=False), data=st.binary(max_size=40))
    def publish_anew(self, choice: Random, data: bytes) -> None:
        content_id = choice.choice(sorted(self.lab.plain))
        old = self.lab.row(content_id)
        new = self.lab.store(content_id, data, encrypted=bool(old.file_id))
        with self.lab.repository.transaction() as tx:
            tx.contents.switch_file(content_id, old.storage_key, new, int(new.encrypted))
        self.lab.vault.delete(old.storage_key)
        self.lab.plain[content_id] = data

    @precondition(lambda self: self.lab.plain)
    @rule(choice=st.randoms(use_true_random=False))
    def delete(self, choice: Random) -> None:
        content_id = choice.choice(sorted(self.lab.plain))
        key = self.lab.row(content_id).storage_key
        with self.lab.repository.transaction() as tx:
            tx.contents.delete(content_id)
        self.lab.vault.delete(key)
        del self.lab.plain[content_id]

    @rule()
    def rotate(self) -> None:
        self.lab.ring.rotate()

    @rule(kind=st.sampled_from(list(JobKind)), new_data_key=st.booleans())
    def ask(self, kind: JobKind, new_data_key: bool) -> None:
        self.lab.jobs.enqueue(kind, SITE, "os:test", options={"new_data_key": new_data_key})

    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice: Random) -> None:
        jobs = [job for job in self.lab.jobs.list() if not job.finished_at]
        if jobs:
            self.lab.jobs.cancel(choice.choice(jobs).id, "os:test")

    @rule(cut_after=st.none() | st.integers(0, 6))
    def work(self, cut_after: int | None) -> None:
        """Run the job that is first in the queue, or go on with it; perhaps die on the way."""
        JobJournal(self.lab.repository, self.lab.files, self.lab.ports.clock).recover()
        with self.lab.repository.transaction() as tx:
            running = tx.jobs.list(states=["running"])
            queued = tx.jobs.queued()
            if not running and not queued:
                return
            job = (running or queued)[0]
            tx.jobs.claim(job.id, NOW)
        memory = self.steps.setdefault(job.id, Memory()).begin()

        def step(name: str, work: Callable[[], T]) -> T:
            if cut_after is not None and memory.position == cut_after:
                work()  # done, and the engine does not know
                raise Cut
            return memory(name, work)

        with contextlib.suppress(Cut):
            ExtractJobs(self.lab.ports, Limits(Brake(0, threading.Event()), 1)).run(job.id, step)
        self.check_promise(job.id)

    def check_promise(self, job_id: str) -> None:
        job = self.lab.jobs.show(job_id)
        if job.state != "succeeded":
            assert job.state in {"running", "cancelled"}, job.note
            return
        assert self.lab.receipt(job_id).remaining == 0
        active = self.lab.ring.active_mek_id
        with self.lab.repository.reading() as tx:
            rows = tx.contents.list_for_site(SITE)
        for row in rows:
            meks = self.lab.vault.mek_ids(row.storage_key)
            if job.kind == JobKind.DECRYPT:
                assert meks == set()
            elif job.kind == JobKind.ENCRYPT:
                assert meks == {active}
            else:
                assert meks <= {active}

    @invariant()
    def nothing_is_lost(self) -> None:
        for content_id, data in self.lab.plain.items():
            assert self.lab.read(content_id) == data

    @invariant()
    def pending_states_belong_to_jobs(self) -> None:
        with self.lab.repository.reading() as tx:
            open_jobs = tx.jobs.list(states=["queued", "running"])
            states = {row.state for row in tx.contents.list_for_site(SITE)}
        if not open_jobs:
            assert states <= {0, 1}

    @override
    def teardown(self) -> None:
        for _ in range(20):
            self.work(None)
        self.lab.check_whole()
        assert all(job.finished_at for job in self.lab.jobs.list())
        self.lab.repository.close()
        shutil.rmtree(self.folder)


TestJobs = JobsMachine.TestCase
TestJobs.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
