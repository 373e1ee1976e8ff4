"""The work of a job: brings every extract of a site, or some of them, into the wanted state, and proves that it did.

The work is made durable by an engine of which this module knows nothing: `run` calls `step(name, work)` for each piece,
and gets the result of the piece, from the work or, after a crash, from an earlier process that did it. A process may
die at any moment:

* Planning a batch is a step of its own before the work on it, so that a resumed job works on the same extracts.
* For each extract the action is decided anew from row and header, since an earlier process may have done it. A new
  file is written, synced and read back; one transaction writes the event and switches the row, if the row still names the old
  file; then the old file is deleted.
* At the end all rows are looked at again. Extracts in a wrong state get another round, since keys may have been rotated
  meanwhile; if an extract failed, the job fails and names it with the reason.

Results of steps hold ids, counts and reasons; never key material.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypedDict, TypeVar

from strongroom.clock import format_utc
from strongroom.errors import StrongroomError
from strongroom.eventlog.events import job_events
from strongroom.jobs.model import JobKind, JobState, Receipt
from strongroom.jobs.plan import Action
from strongroom.repository.reach import of_site
from strongroom.repository.rows import ContentRow, JobRow
from strongroom.repository.unit_of_work import Transaction
from strongroom.services.jobs import marks
from strongroom.services.jobs.heartbeat import (
    Brake,
    Heartbeat,
    JobCancelledError,
    Tally,
    WorkerStopping,
    is_lost,
)
from strongroom.services.jobs.marks import Scope
from strongroom.services.jobs.one import PASSING, ItemWork, Ports
from strongroom.services.jobs.turns import ItemTurns

BATCH_ITEMS: Final = 64
"""How many extracts a step has at most: a step costs two synced commits of the engine, too many for each small file."""
BATCH_BYTES: Final = 256 << 20
"""How many plaintext bytes a step has: after a crash the extracts of one step are looked at again."""
MAX_ROUNDS: Final = 5
"""How many rounds over the site a job makes; a second one is needed only after a rotation or publication meanwhile. A round
in which keys were rotated is not counted: whoever rotates all the time would else let every job fail."""
_NAMED: Final = 20
"""How many extracts the note of a failed job names; it counts the others."""

T = TypeVar("T")


class Step(Protocol):
    """Runs a piece of work once and for all: its result outlives the process."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Run the work, or return the stored result of an earlier run."""
        ...


class Batch(TypedDict):
    """A planned batch: the ids of extracts to change; `right` counts those that need no change.

    `cursor` is the id behind which the next batch begins, empty after the last one.
    """

    items: list[str]
    right: int
    cursor: str


class Outcome(TypedDict):
    """The result of the work on a batch; `left` maps extracts to old files that could not be deleted."""

    done: int
    changed: int
    bytes: int
    failed: dict[str, str]
    left: dict[str, str]
    cancelled: bool


class Scan(TypedDict):
    """The result of looking at all rows; `remaining` maps the ids of extracts in a wrong state to the reason."""

    scanned: int
    verified: int
    remaining: dict[str, str]
    mek_id: str


@dataclass
class Totals:
    """Sums over the steps of one job, computed from their results only, so that a resumed job gets the same sums."""

    total: int = 0
    done: int = 0
    changed: int = 0
    bytes: int = 0
    cancelled: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def add(self, outcome: Outcome) -> None:
        """Add the result of a batch."""
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
    """The limits of the work.

    Attributes:
        brake: Limits the rate of bytes over all jobs of the process, and stops the work when the process shall end.
        concurrency: How many extracts of a job are worked on at the same time.
        turns: Keeps two jobs of the process from working on the same extract.
    """

    brake: Brake
    concurrency: int = 2
    turns: ItemTurns = field(default_factory=ItemTurns)


class ExtractJobs:
    """Runs jobs on extracts."""

    def __init__(self, ports: Ports, limits: Limits) -> None:
        self._ports = ports
        self._limits = limits

    def run(self, job_id: str, step: Step) -> str:
        """Run a job from its beginning, or continue it; returns the state in which the job ended.

        Raises:
            WorkerStopping: The process shall end; the job stays as it is.
            StorageUnavailableError, CoordinationError, OutcomeUnknown: A service is away; the job stays as it is.
        """
        totals = Totals()
        try:
            return self._run(job_id, step, totals)
        except PASSING:
            raise
        except StrongroomError as error:
            # not one extract but repository, KMS store or event log failed: the job cannot continue
            return step("give_up", partial(self.give_up, job_id, error.with_hint, totals))

    def give_up(self, job_id: str, reason: str, totals: Totals | None = None) -> str:
        """End a job as failed, or as cancelled if a user had cancelled it, for a reason that is not one of its extracts.

        Extracts that were changed stay changed.
        """
        known = totals or Totals()
        scan = Scan(scanned=0, verified=0, remaining={}, mek_id="")
        left = max(known.total - known.changed, 1)
        with self._ports.repository.transaction() as tx:
            job = tx.jobs.find(job_id)
            if job is None:
                return JobState.CANCELLED  # the job was deleted together with its site
            state = JobState.CANCELLED if job.cancel_requested else JobState.FAILED
            return self._end(tx, job_id, _Ending(state, known, scan, left, reason))

    def _run(self, job_id: str, step: Step, totals: Totals) -> str:
        state = JobState(self._job(job_id).state)
        if state.is_final:
            return state  # the job was ended while no process worked on it
        totals.total = step("begin", partial(self._begin, job_id))
        scan = nothing = Scan(scanned=0, verified=0, remaining={}, mek_id="")
        counted = 0
        while counted < MAX_ROUNDS:
            before = scan["mek_id"]
            self._round(job_id, step, totals, first=scan is nothing)
            scan = step("scan", partial(self._scan, job_id, totals))
            if totals.cancelled or not set(scan["remaining"]) - set(totals.failed):
                break
            counted += before in {"", scan["mek_id"]}
        return step("finish", partial(self._finish, job_id, totals, scan))

    def _round(self, job_id: str, step: Step, totals: Totals, *, first: bool) -> None:
        cursor = ""
        while not totals.cancelled:
            batch = step("plan", partial(self._plan, job_id, cursor, totals))
            totals.done += batch["right"] if first else 0
            if batch["items"]:
                totals.touched.update(batch["items"])
                totals.add(step("work", partial(self._work, job_id, batch["items"], totals)))
            cursor = batch["cursor"]
            if not cursor:
                return

    def _begin(self, job_id: str) -> int:
        scope = Scope.of(self._job(job_id))
        # the keys are opened before the transaction: a root may take seconds, and the repository has one writer at a
        # time
        active = "" if scope.kind is JobKind.DECRYPT else self._ports.keys.active_mek_id
        with self._ports.repository.transaction(of_site(scope.site_id)) as tx:
            job = tx.jobs.get(job_id)
            if is_lost(tx, job):
                raise WorkerStopping
            if job.total:
                # An earlier process began, and the engine's record of that is lost: marked anew, what that process has
                # re-encrypted would be done once more.
                return job.total
            marked = marks.mark_pending(tx, scope, only_settled=False, active_mek_id=active)
            tx.jobs.progress(
                job_id,
                done=0,
                total=marked.count,
                bytes_done=0,
                bytes_total=marked.changing_bytes,
            )
            return marked.count

    def _plan(self, job_id: str, cursor: str, totals: Totals) -> Batch:
        """The next extracts that have to be changed, enough of them to be worth the cost of a step."""
        job = self._job(job_id)
        work = ItemWork(self._ports, job)
        batch = Batch(items=[], right=0, cursor="")
        size = 0
        for row in self._rows(work.scope, cursor):
            self._limits.brake.check_begin()
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
        heartbeat = Heartbeat(self._ports.repository, job_id, self._limits.brake, totals.tally)
        heartbeat.flush()

        def one(content_id: str) -> int | StrongroomError | None:
            self._limits.brake.check_begin()
            changed: int | None = None
            try:
                with self._limits.turns.of(content_id, heartbeat.check):
                    changed = work.settle(content_id, heartbeat)
            except PASSING:
                raise
            except StrongroomError as error:
                return error
            finally:
                heartbeat.finished(content_id, changed)
            return changed

        with ThreadPoolExecutor(self._limits.concurrency, "extract") as pool:
            running = {pool.submit(one, content_id): content_id for content_id in items}
            wait(running, return_when=FIRST_EXCEPTION)
            for future in running:
                future.cancel()
        work.tidy()
        heartbeat.flush()
        return _outcome(running, work.left)

    def _scan(self, job_id: str, totals: Totals) -> Scan:
        """Check every row once more, and open the files of extracts that the job changed, or of all on request."""
        job = self._job(job_id)
        work = ItemWork(self._ports, job)
        mek_id = "" if job.kind == JobKind.DECRYPT else self._ports.keys.active_mek_id
        scan = Scan(scanned=0, verified=0, remaining={}, mek_id=mek_id)
        for row in self._rows(work.scope, ""):
            self._limits.brake.check_begin()
            scan["scanned"] += 1
            opens = not totals.cancelled and (work.looks_closely or row.id in totals.touched)
            reason = work.wrong(row.id, open_file=True) if opens else work.wrong_by_row(row)
            if reason:
                scan["remaining"][row.id] = reason
            else:
                scan["verified"] += opens
        return scan

    def _finish(self, job_id: str, totals: Totals, scan: Scan) -> str:
        # an old file is plaintext, or opens by an old key: the job has not succeeded while such a file exists
        kept = ItemWork(self._ports, self._job(job_id)).remove(totals.left) if totals.left else {}
        scan = Scan({**scan, "remaining": {**kept, **scan["remaining"]}})
        left = len(scan["remaining"])
        with self._ports.repository.transaction(of_site(self._job(job_id).site_id)) as tx:
            if totals.cancelled:
                # a cancelled job does not open the files again; each was read back when it was written
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
            ours=True,
        )
        if ended:
            marks.settle(tx, Scope.of(job))
            self._ports.event_log.append(
                [
                    job_events.job_finished(
                        job.actor, job_id, job.kind, state=ending.state, remaining=ending.left
                    )
                ]
            )
        elif is_lost(tx, tx.jobs.get(job_id)):
            raise WorkerStopping  # nothing of it may be kept as the outcome: another process goes on with the steps
        return tx.jobs.get(job_id).state

    def _rows(self, scope: Scope, cursor: str) -> Iterator[ContentRow]:
        """The rows that the job looks at behind the cursor, in the order of ids."""
        while True:
            with self._ports.repository.reading() as tx:
                rows = scope.batch(tx, cursor)
            if not rows:
                return
            yield from filter(scope.looks_at, rows)
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
            outcome["failed"][content_id] = result.with_hint
        elif result is not None:
            outcome["changed"] += 1
            outcome["bytes"] += result
    return outcome


def _note(tx: Transaction, scan: Scan, totals: Totals) -> str:
    """The note of a failed job: the extracts that it left behind, by name, with the reason."""
    named: list[str] = []
    for content_id, why in list(scan["remaining"].items())[:_NAMED]:
        row = tx.contents.find(content_id)
        name = row.name if row is not None else "an extract"
        named.append(f"{name} ({content_id}): {totals.failed.get(content_id, why)}")
    more = len(scan["remaining"]) - len(named)
    tail = [f"and {more} more"] if more else []
    return f"{len(scan['remaining'])} left behind: " + "; ".join(named + tail)
