"""The work of a job: brings every extract of a site, or some of them, into the wanted state, and proves it.

It knows nothing of the engine that makes it durable: `run` calls `step(name, work)` for each piece,
and gets the piece's result, from the work or from an earlier process that did it. Between two calls
a process may die at any point:

* What is planned is a step of its own before the work, so that a resumed piece knows what it had
before it. * Each item is decided on anew from its row and its header, changed into a new file,
synced and read back; then one transaction writes the event and switches the row, if the row still
names the old file; the old file goes last. * At the end the whole site is looked at again. What is
not right then goes into another round (a MEK may have been rotated meanwhile) or, if it failed,
makes the job fail, which says what and why.

Results of steps hold ids, counts and reasons; never key material.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypedDict, TypeVar

from strongroom.clock import format_utc
from strongroom.errors import StrongroomError
from strongroom.eventlog import events
from strongroom.jobs.model import JobKind, JobState, Receipt
from strongroom.repository.rows import ContentRow, JobRow
from strongroom.repository.unit_of_work import Transaction
from strongroom.services import jobs as job_service
from strongroom.services.extract_item import ItemWork, Ports
from strongroom.services.extract_plan import Action
from strongroom.services.job_pulse import Brake, JobCancelledError, Pulse, Tally

BATCH_ITEMS: Final = 64
"""Extracts in one step: a step costs two synced commits of the engine, which are not worth one small file."""
BATCH_BYTES: Final = 256 << 20
"""Plaintext bytes in one step: what a killed process has to look at again."""
SCAN_ROWS: Final = 1024
"""Rows read at once."""
MAX_ROUNDS: Final = 5
"""Rounds over the site; each further one is needed only if keys were rotated or extracts published meanwhile."""
_TOLD: Final = 20
"""Extracts that a note names; it says how many more there are."""

T = TypeVar("T")


class Step(Protocol):
    """Runs a piece of work once and for all: its result outlives the process."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """The work's result, from now or from before."""
        ...


class Batch(TypedDict):
    """A planned piece: ids and what to do; `cursor` is empty when nothing comes behind it."""

    items: list[str]
    right: int
    cursor: str


class Outcome(TypedDict):
    """What became of a piece; `left` maps extracts to files that had to go and are still there."""

    done: int
    changed: int
    bytes: int
    failed: dict[str, str]
    left: dict[str, str]
    cancelled: bool


class Scan(TypedDict):
    """What the site looks like: `remaining` maps the ids of extracts that are not right to why."""

    scanned: int
    verified: int
    remaining: dict[str, str]
    mek_id: str


@dataclass
class Totals:
    """Sums over the steps of one job; a function of their results, so that a resumed job has the same."""

    total: int = 0
    done: int = 0
    changed: int = 0
    bytes: int = 0
    cancelled: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one piece of work."""
        self.done += outcome["done"]
        self.changed += outcome["changed"]
        self.bytes += outcome["bytes"]
        self.cancelled = self.cancelled or outcome["cancelled"]
        self.failed.update(outcome["failed"])
        self.left.update(outcome["left"])

    @property
    def tally(self) -> Tally:
        """The progress so far."""
        return Tally(self.done, max(self.total, self.done), self.bytes)


@dataclass(frozen=True)
class Limits:
    """How much the work may take.

    Attributes:
        brake: Bytes per second, over all jobs of the process; also says when to stop.
        concurrency: Extracts of one job at the same time.
    """

    brake: Brake
    concurrency: int = 2


class ExtractJobs:
    """Does jobs on extracts."""

    def __init__(self, ports: Ports, limits: Limits) -> None:
        self._ports = ports
        self._limits = limits

    def run(self, job_id: str, step: Step) -> str:
        """Do a job from its beginning, or go on with it; returns the state that it ended in.

        Raises:
            WorkerStopping: The process is to end; the job stays as it is.
        """
        totals = Totals()
        try:
            return self._run(job_id, step, totals)
        except StrongroomError as error:
            # repository, KMS store or log failed as a whole: the job cannot go on, and says so
            reason = f"{error.message}; {error.hint}" if error.hint else error.message
            return step("give_up", partial(self.give_up, job_id, reason, totals))

    def give_up(self, job_id: str, reason: str, totals: Totals | None = None) -> str:
        """End a job as failed, for a reason beyond its extracts; what was changed stays so."""
        known = totals or Totals()
        scan = Scan(scanned=0, verified=0, remaining={}, mek_id="")
        left = max(known.total - known.changed, 1)
        with self._ports.repository.transaction() as tx:
            if tx.jobs.find(job_id) is None:
                return JobState.CANCELLED  # it went with its site
            return self._end(tx, job_id, _Ending(JobState.FAILED, known, scan, left, reason))

    def _run(self, job_id: str, step: Step, totals: Totals) -> str:
        totals.total = step("begin", partial(self._begin, job_id))
        scan = Scan(scanned=0, verified=0, remaining={}, mek_id="")
        for number in range(MAX_ROUNDS):
            self._round(job_id, step, totals, first=number == 0)
            scan = step("scan", partial(self._scan, job_id, open_files=not totals.cancelled))
            if totals.cancelled or not set(scan["remaining"]) - set(totals.failed):
                break
        return step("finish", partial(self._finish, job_id, totals, scan))

    def _round(self, job_id: str, step: Step, totals: Totals, *, first: bool) -> None:
        cursor = ""
        while not totals.cancelled:
            batch = step("plan", partial(self._plan, job_id, cursor, totals))
            totals.done += batch["right"] if first else 0
            if batch["items"]:
                totals.add(step("work", partial(self._work, job_id, batch["items"], totals)))
            cursor = batch["cursor"]
            if not cursor:
                return

    def _begin(self, job_id: str) -> int:
        with self._ports.repository.transaction() as tx:
            job = tx.jobs.get(job_id)
            total = job_service.mark_pending(tx, job, only_settled=False)
            tx.jobs.progress(job_id, done=0, total=total, bytes_done=0)
            return total

    def _plan(self, job_id: str, cursor: str, totals: Totals) -> Batch:
        """The next extracts with something to do, so many that one step is worth its cost."""
        job = self._job(job_id)
        work = ItemWork(self._ports, job)
        batch = Batch(items=[], right=0, cursor="")
        size = 0
        for row in self._rows(job, cursor):
            self._limits.brake.check()
            if row.id in totals.failed:
                continue
            if work.decide(row) is Action.LEAVE:
                batch["right"] += 1
            else:
                batch["items"].append(row.id)
                size += row.plaintext_bytes
            if len(batch["items"]) >= BATCH_ITEMS or size >= BATCH_BYTES:
                batch["cursor"] = row.id
                break
        return batch

    def _work(self, job_id: str, items: Sequence[str], totals: Totals) -> Outcome:
        work = ItemWork(self._ports, self._job(job_id))
        pulse = Pulse(self._ports.repository, job_id, self._limits.brake, totals.tally)
        pulse.flush()

        def one(content_id: str) -> int | StrongroomError | None:
            changed: int | None = None
            try:
                changed = work.settle(content_id, pulse)
            except StrongroomError as error:
                return error
            finally:
                pulse.finished(content_id, changed)
            return changed

        with ThreadPoolExecutor(self._limits.concurrency, "extract") as pool:
            running = {pool.submit(one, content_id): content_id for content_id in items}
            wait(running, return_when=FIRST_EXCEPTION)
            for future in running:
                future.cancel()
        work.tidy()
        pulse.flush()
        return _outcome(running, work.left)

    def _scan(self, job_id: str, *, open_files: bool) -> Scan:
        job = self._job(job_id)
        work = ItemWork(self._ports, job)
        mek_id = "" if job.kind == JobKind.DECRYPT else self._ports.keys.active_mek_id
        scan = Scan(scanned=0, verified=0, remaining={}, mek_id=mek_id)
        for row in self._rows(job, ""):
            self._limits.brake.check()
            scan["scanned"] += 1
            reason = work.wrong(row.id, open_file=open_files)
            if reason:
                scan["remaining"][row.id] = reason
            else:
                scan["verified"] += open_files
        return scan

    def _finish(self, job_id: str, totals: Totals, scan: Scan) -> str:
        # a plaintext, or what an old key opens: as long as it is there, the job is not done
        kept = ItemWork(self._ports, self._job(job_id)).remove(totals.left) if totals.left else {}
        scan = Scan({**scan, "remaining": {**kept, **scan["remaining"]}})
        left = len(scan["remaining"])
        with self._ports.repository.transaction() as tx:
            if totals.cancelled:
                # not opened once more: what was changed had been read back when it was written
                proved = Scan({**scan, "verified": totals.changed})
                ending = _Ending(JobState.CANCELLED, totals, proved, left, "")
            elif left:
                ending = _Ending(JobState.FAILED, totals, scan, left, _note(tx, scan, totals))
            else:
                ending = _Ending(JobState.SUCCEEDED, totals, scan, left, "")
            return self._end(tx, job_id, ending)

    def _end(self, tx: Transaction, job_id: str, ending: "_Ending") -> str:
        job, tally = tx.jobs.get(job_id), ending.totals.tally
        finished_at = format_utc(self._ports.clock.now())
        receipt = ending.receipt(job.started_at or job.created_at, finished_at)
        tx.jobs.progress(job_id, done=tally.done, total=tally.total, bytes_done=tally.bytes_done)
        ended = tx.jobs.finish(
            job_id,
            ending.state,
            finished_at=finished_at,
            receipt=receipt.to_dict(),
            note=ending.note,
        )
        if ended:
            job_service.settle(tx, job.site_id)
            self._ports.events.append(
                [
                    events.job_finished(
                        job.actor, job_id, job.kind, state=ending.state, remaining=ending.left
                    )
                ]
            )
        return tx.jobs.get(job_id).state

    def _rows(self, job: JobRow, cursor: str) -> Iterator[ContentRow]:
        """The rows in the job's scope behind the cursor, in the order of ids."""
        while True:
            with self._ports.repository.reading() as tx:
                rows = tx.contents.list_for_site(job.site_id, after_id=cursor, limit=SCAN_ROWS)
            for row in rows:
                if job_service.covers(job, row.id) and job_service.scoped(JobKind(job.kind), row):
                    yield row
            if len(rows) < SCAN_ROWS:
                return
            cursor = rows[-1].id

    def _job(self, job_id: str) -> JobRow:
        with self._ports.repository.reading() as tx:
            return tx.jobs.get(job_id)


@dataclass(frozen=True)
class _Ending:
    state: JobState
    totals: Totals
    scan: Scan
    left: int
    note: str

    def receipt(self, started_at: str, finished_at: str) -> Receipt:
        return Receipt(
            scanned=self.scan["scanned"],
            changed=self.totals.changed,
            verified=self.scan["verified"],
            remaining=self.left,
            bytes=self.totals.bytes,
            mek_id=self.scan["mek_id"],
            started_at=started_at,
            finished_at=finished_at,
        )


def _outcome(
    ran: "dict[Future[int | StrongroomError | None], str]", left: dict[str, str]
) -> Outcome:
    outcome = Outcome(done=0, changed=0, bytes=0, failed={}, left=left, cancelled=False)
    for future, content_id in ran.items():
        if future.cancelled() or isinstance(future.exception(), JobCancelledError):
            outcome["cancelled"] = True
            continue
        result = future.result()
        outcome["done"] += 1
        if isinstance(result, StrongroomError):
            outcome["failed"][content_id] = result.message
        elif result is not None:
            outcome["changed"] += 1
            outcome["bytes"] += result
    return outcome


def _note(tx: Transaction, scan: Scan, totals: Totals) -> str:
    """What was left behind and why, by name."""
    told: list[str] = []
    for content_id, why in list(scan["remaining"].items())[:_TOLD]:
        row = tx.contents.find(content_id)
        name = row.name if row is not None else "an extract"
        told.append(f"{name} ({content_id}): {totals.failed.get(content_id, why)}")
    more = len(scan["remaining"]) - len(told)
    tail = [f"and {more} more"] if more else []
    return f"{len(scan['remaining'])} left behind: " + "; ".join(told + tail)
