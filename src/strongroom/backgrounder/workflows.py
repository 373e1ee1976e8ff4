"""The one door to DBOS: makes the steps of a job durable, in a database of their own.

What is stored there: ids of jobs and extracts, counts, reasons. Never a key, a secret or a byte of
an extract. It is JSON, not the engine's pickles, so that reading it executes nothing. The engine
opens no port, calls nobody, and its log goes where ours does.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos._serialization import Serializer  # the package offers it under this name only

from strongroom.durable import Access
from strongroom.errors import StorageError, StrongroomError
from strongroom.overriding import override
from strongroom.services.extract_jobs import Step

T = TypeVar("T")

STEPS_VERSION: Final = "1"
"""Version of the sequence of steps in `services.extract_jobs`: the engine goes on with what has the same only."""

_NAME: Final = "extract_job"
_LISTEN_S: Final = 0.5
"""How often the engine's listener wakes up; the longest that its end takes."""
_SCHEDULE_S: Final = 3600.0
"""How often it looks for schedules; there are none."""
_FORGET_AT_ONCE: Final = 100
"""Workflows deleted by one statement; a database bounds its parameters."""
_LEAVE_S: Final = 10.0
"""How long running workflows may take to notice that the process ends."""


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn whatever the engine lets through from its database into an error of ours."""
    try:
        yield
    except StrongroomError:
        raise
    except Exception as error:
        # the engine promises no class of error; its callers tell a StorageError and end or go on
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise StorageError(
            f"the database of running jobs cannot be used: {reason}",
            hint="check free space and health of the disk; the jobs go on at the next start",
        ) from error


class WorkflowEngine:
    """Starts, resumes and ends workflows whose ids are those of their jobs."""

    def __init__(
        self,
        database: Path,
        node_id: str,
        access: Access,
        work: Callable[[str, Step], str],
        may_go_on: Callable[[], None],
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            database: Of the engine alone.
            node_id: Whose workflows a dead process of this node left.
            access: Mode and group of the database.
            work: Does a job by calling a step for each piece.
            may_go_on: Raises a `BaseException` when the process is to end; asked before each step.
        """
        self._database = database
        self._node_id = node_id
        self._access = access
        self._work = work
        self._may_go_on = may_go_on
        self._running = _Running()

    @_database_errors()
    def launch(self) -> None:
        """Open the database and go on with what a dead process left."""
        _quiet()
        _create(self._database, self._access)
        config: DBOSConfig = {
            "name": "strongroom",
            "system_database_url": f"sqlite:///{self._database}",
            "executor_id": self._node_id,
            "application_version": STEPS_VERSION,
            "log_level": "WARNING",
            "serializer": _JsonSerializer(),
            "notification_listener_polling_interval_sec": _LISTEN_S,
            "scheduler_polling_interval_sec": _SCHEDULE_S,
        }
        DBOS(config=config)

        # a job may be resumed as often as its process dies: there is no attempt too many
        @DBOS.workflow(name=_NAME, max_recovery_attempts=None)
        def extract_job(job_id: str) -> str:
            with self._running:
                return self._work(job_id, self._step)

        self._workflow = extract_job
        DBOS.launch()

    @_database_errors()
    def start(self, job_id: str) -> None:
        """Run a job's workflow; one that is there already is not run twice."""
        with SetWorkflowID(job_id):
            DBOS.start_workflow(self._workflow, job_id)

    @_database_errors()
    def forget_ended(self, keep: Collection[str]) -> None:
        """Delete the records of workflows that have ended: what a job did stands in its own row."""
        ended = DBOS.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"], load_input=False, load_output=False
        )
        gone = [one.workflow_id for one in ended if one.workflow_id not in keep]
        for first in range(0, len(gone), _FORGET_AT_ONCE):
            DBOS.delete_workflows(gone[first : first + _FORGET_AT_ONCE])

    @_database_errors()
    def is_known(self, job_id: str) -> bool:
        """Whether the job has a workflow."""
        return DBOS.get_workflow_status(job_id) is not None

    @_database_errors()
    def broken(self, job_id: str) -> str | None:
        """Why a job's workflow ended without having ended its job; None if it goes on."""
        status = DBOS.get_workflow_status(job_id)
        if status is None or status.status in {"PENDING", "ENQUEUED", "DELAYED"}:
            return None
        return str(status.error) if status.error else f"the workflow is {status.status.lower()}"

    def close(self) -> None:
        """Stop; running workflows stay as they are, for the next process."""
        DBOS.destroy(destroy_registry=True)
        self._running.wait(_LEAVE_S)

    def _step(self, name: str, work: Callable[[], T]) -> T:
        self._may_go_on()
        return DBOS.run_step({"name": name}, lambda: work())  # noqa: PLW0108 it wants a function's attributes


class _Running:
    """Counts the workflows that run in this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)


class _JsonSerializer(Serializer):
    """Inputs, results and errors as JSON."""

    @override
    def name(self) -> str:
        return "strongroom_json"

    @override
    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            known = isinstance(data, StrongroomError)
            return json.dumps({"error": str(data) if known else f"{type(data).__name__}: {data}"})
        return json.dumps({"value": data})

    @override
    def deserialize(self, serialized_data: str) -> Any:
        stored = json.loads(serialized_data)
        if "error" in stored:
            return StrongroomError(stored["error"])
        return stored["value"]


def _create(database: Path, access: Access) -> None:
    """Make the file with its mode; SQLite gives its journal the same."""
    handle = os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if access.group is not None:
            os.fchown(handle, -1, access.group)
        os.fchmod(handle, access.file_mode)
    finally:
        os.close(handle)


def _quiet() -> None:
    """Keep the engine off stderr: its own console handler goes, what it says reaches our log."""
    logger = logging.getLogger("dbos")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.NullHandler())
    logger.propagate = True
