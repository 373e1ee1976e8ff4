"""The one door to DBOS: makes the steps of a job durable, in a database or a schema of their own.

What is stored there: ids of jobs and extracts, counts, reasons. Never a key, a secret or a byte of
an extract. It is JSON, not the engine's pickles, so that reading it executes nothing. The engine
opens no port, calls nobody, and its log goes where ours does.
"""

import json
import logging
import threading
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import Serializer  # the package offers it under this name only

from strongroom.errors import StorageError, StrongroomError
from strongroom.repository.workflow_database import WorkflowDatabase, WorkflowFile
from strongroom.services.jobs.run import PASSING, Step
from strongroom.system.compat import override
from strongroom.system.durable import FileModes

P = ParamSpec("P")
T = TypeVar("T")

STEPS_VERSION: Final = "1"
"""Version of the sequence of steps in `services.jobs.run`: the engine goes on with what has the same only."""

_NAME: Final = "extract_job"
_LISTEN_S: Final = 0.5
"""How often the engine's listener wakes up; the longest that its end takes."""
_SCHEDULE_S: Final = 3600.0
"""How often it looks for schedules; there are none."""
_FORGET_AT_ONCE: Final = 100
"""Workflows deleted by one statement; a database bounds its parameters."""
_LEAVE_S: Final = 10.0
"""How long running workflows may take to notice that the process ends."""


def _guarded(
    method: "Callable[Concatenate[WorkflowEngine, P], T]",
) -> "Callable[Concatenate[WorkflowEngine, P], T]":
    """Turn whatever the engine lets through from its database into an error of ours."""

    @wraps(method)
    def guarded(self: "WorkflowEngine", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except StrongroomError:
            raise
        except Exception as error:
            # the engine promises no class of error; its callers tell a StorageError and end or go on
            raise self.as_storage_error(error) from error

    return guarded


class WorkflowEngine:
    """Starts, resumes and ends workflows whose ids are those of their jobs."""

    def __init__(
        self,
        database: Path | WorkflowDatabase,
        node_id: str,
        file_modes: FileModes,
        work: Callable[[str, Step], str],
        may_go_on: Callable[[], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            database: The engine's own database: the path of a file, or another.
            node_id: The node, of which workflows that a dead process left are resumed.
            file_modes: Mode and group of the database's file.
            work: Runs a job, and calls the given step function for each piece of work.
            may_go_on: Called before each step; raises a `BaseException` when the process is to end.
            ended: Called in the workflow's own thread when the workflow has ended.
        """
        self._database = (
            WorkflowFile(database, file_modes) if isinstance(database, Path) else database
        )
        self._node_id = node_id
        self._work = work
        self._may_go_on = may_go_on
        self._running = _Running(ended)
        # a database that nodes share: what one of them resumes must not be taken up by another
        self._queue = f"of-{node_id}" if self._database.schema is not None else None

    @_guarded
    def launch(self) -> None:
        """Open the database and go on with what a dead process left."""
        _quiet()
        config: DBOSConfig = {
            "name": "strongroom",
            # not by a URL: the path may have any bytes (findings K1)
            "system_database_engine": self._database.open(),
            "executor_id": self._node_id,
            "application_version": STEPS_VERSION,
            "log_level": "WARNING",
            "serializer": _JsonSerializer(),
            # a listening connection would stand idle for hours; the engine polls as it does over SQLite
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": _LISTEN_S,
            "scheduler_polling_interval_sec": _SCHEDULE_S,
        }
        if self._database.schema is not None:
            config["dbos_system_schema"] = self._database.schema
        DBOS(config=config)

        # a job may be resumed as often as its process dies: there is no attempt too many
        @DBOS.workflow(name=_NAME, max_recovery_attempts=None)
        def extract_job(job_id: str) -> str:
            if not self._running.begin(job_id):
                # not as the job's outcome: another thread works on it, and may break off itself
                raise _BrokenOffError
            try:
                return self._work(job_id, self._step)
            except (StorageError, *PASSING) as error:
                # not as the job's outcome: there may be room again, and then it goes on from here
                raise _BrokenOffError from error
            finally:
                self._running.end(job_id)

        self._workflow = extract_job
        if self._queue is not None:
            DBOS.listen_queues([self._queue])
        DBOS.launch()
        if self._queue is not None:
            DBOS.register_queue(self._queue)

    @_guarded
    def start(self, job_id: str) -> None:
        """Run a job's workflow; one that is there already is not run twice."""
        with SetWorkflowID(job_id):
            DBOS.start_workflow(self._workflow, job_id)

    @_guarded
    def resume(self, job_id: str) -> None:
        """Let a workflow that nobody works on go on from its last step; this node's queue takes it up.

        A process that worked on it, on whichever node, can add nothing to its steps from here on.
        """
        DBOS.resume_workflow(job_id, queue_name=self._queue)

    def take_up(self, job_id: str) -> None:
        """Run the workflow of a job that another process may have begun, from its last step if that is known."""
        if not self.is_known(job_id):
            self.start(job_id)
        elif self.broken(job_id) is None:
            self.resume(job_id)
        else:
            self.start_anew(job_id)

    @_guarded
    def start_anew(self, job_id: str) -> None:
        """Forget how far a workflow is, and run it from its beginning."""
        DBOS.delete_workflows([job_id])
        self.start(job_id)

    def is_alive(self, job_id: str) -> bool:
        """Whether a thread of this process works on the job."""
        return self._running.has(job_id)

    @property
    def is_idle(self) -> bool:
        """Whether no thread of this process works on a job."""
        return self._running.is_none

    @_guarded
    def forget_ended(self, keep: Collection[str], among: Collection[str] | None = None) -> None:
        """Delete the records of workflows that have ended: what a job did stands in its own row.

        Args:
            keep: Jobs whose records stay.
            among: Only the records of these jobs; None for all that there are.
        """
        ended = DBOS.list_workflows(
            workflow_ids=None if among is None else sorted(among),
            status=["SUCCESS", "ERROR", "CANCELLED"],
            load_input=False,
            load_output=False,
        )
        gone = [one.workflow_id for one in ended if one.workflow_id not in keep]
        for first in range(0, len(gone), _FORGET_AT_ONCE):
            DBOS.delete_workflows(gone[first : first + _FORGET_AT_ONCE])
        if gone:
            self._database.shrink()

    @_guarded
    def forget_finished(self, keep: Collection[str]) -> None:
        """The same for what ended since this was asked before; cheap if that is nothing."""
        ended = self._running.ended_since()
        if not ended:
            return
        self.forget_ended(keep, among=ended)
        # the engine notes the end a moment after the thread told us: looked at once more
        self._running.tell_again([one for one in ended if self.is_known(one) and one not in keep])

    @_guarded
    def is_known(self, job_id: str) -> bool:
        """Whether the job has a workflow."""
        return DBOS.get_workflow_status(job_id) is not None

    @_guarded
    def has_succeeded(self, job_id: str) -> bool:
        """Whether the job's workflow has an outcome."""
        status = DBOS.get_workflow_status(job_id)
        return status is not None and status.status == "SUCCESS"

    @_guarded
    def broken(self, job_id: str) -> str | None:
        """Why a job's workflow ended without having ended its job; None if it goes on."""
        status = DBOS.get_workflow_status(job_id)
        if status is None or status.status in {"PENDING", "ENQUEUED", "DELAYED"}:
            return None
        return str(status.error) if status.error else f"the workflow is {status.status.lower()}"

    def close(self) -> None:
        """Stop; running workflows stay as they are, for the next process."""
        DBOS.destroy(destroy_registry=True)
        self._running.wait_for_none(_LEAVE_S)
        self._database.close()

    def as_storage_error(self, error: Exception) -> StrongroomError:
        """An error of the engine's database in our words."""
        cause = getattr(error, "orig", None) or error
        reason = str(cause).partition("\n")[0] or type(cause).__name__
        told = self._database.problem(error) or self._database.problem(cause)
        return told or StorageError(
            f"the database of running jobs cannot be used: {reason}",
            hint="check free space and health of the disk; the jobs go on at the next start",
        )

    def _step(self, name: str, work: Callable[[], T]) -> T:
        self._may_go_on()
        failed: list[Exception] = []

        def tried() -> T:
            try:
                return work()
            except PASSING as error:
                # not as the outcome of the step: the job goes on from here when the service is back
                raise _BrokenOffError from error
            except Exception as error:
                failed.append(error)
                raise

        try:
            return DBOS.run_step({"name": name}, tried)
        except StrongroomError:
            raise
        except Exception as error:
            if error in failed:
                raise
            raise self.as_storage_error(error) from error


class _BrokenOffError(BaseException):
    """A workflow ends without an outcome: its steps stay, so that it can go on.

    Not an `Exception`, so that the engine does not record it as the outcome.
    """


class _Running:
    """The jobs that threads of this process work on."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._ids: set[str] = set()
        self._ended: set[str] = set()
        self._tell_ended = ended

    def begin(self, job_id: str) -> bool:
        """A thread takes the job; False if another one has it."""
        with self._changed:
            if job_id in self._ids:
                return False
            self._ids.add(job_id)
            return True

    def end(self, job_id: str) -> None:
        """The thread is done with it."""
        with self._changed:
            self._ids.discard(job_id)
            self._ended.add(job_id)
            self._changed.notify_all()
        self._tell_ended()

    def has(self, job_id: str) -> bool:
        """Whether a thread has the job."""
        with self._changed:
            return job_id in self._ids

    @property
    def is_none(self) -> bool:
        """Whether no thread has a job."""
        with self._changed:
            return not self._ids

    def ended_since(self) -> set[str]:
        """Jobs whose threads ended since this was asked before."""
        with self._changed:
            ended, self._ended = self._ended, set()
            return ended

    def tell_again(self, ids: Collection[str]) -> None:
        """Count these among the ended ones at the next look, too."""
        with self._changed:
            self._ended.update(ids)

    def wait_for_none(self, seconds: float) -> None:
        """Wait until no thread works on a job."""
        with self._changed:
            self._changed.wait_for(lambda: not self._ids, seconds)


class _JsonSerializer(Serializer):
    """Inputs, results and errors as JSON."""

    @override
    def name(self) -> str:
        return "strongroom_json"

    @override
    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            if isinstance(data, StrongroomError):
                return json.dumps({"error": data.with_hint})
            return json.dumps({"error": f"{type(data).__name__}: {data}"})
        return json.dumps({"value": data})

    @override
    def deserialize(self, serialized_data: str) -> Any:
        stored = json.loads(serialized_data)
        if "error" in stored:
            return StrongroomError(stored["error"])
        return stored["value"]


def _quiet() -> None:
    """Keep the engine off stderr: its own console handler goes, what it says reaches our log."""
    logger = logging.getLogger("dbos")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.NullHandler())
    logger.propagate = True
