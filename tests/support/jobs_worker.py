"""A backgrounder over a test's lab, as a process that can be killed: `python -m tests.support.jobs_worker FOLDER [KILL_AT]`.

With KILL_AT it kills itself, as kill -9 does, before the N-th thing that changes anything. It says on stdout when the
first of them comes, and at the end how many there were.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.backgrounder.worker import Advice, Place, Worker
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.filestore.local import LocalFileStore
from strongroom.repository.unit_of_work import Repository
from tests.support.jobs_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable


class Points:
    """Counts what changes things."""

    def __init__(self, kill_at: int | None) -> None:
        self.count = 0
        self._kill_at = kill_at
        self._lock = threading.Lock()

    def passed(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == 1:
                sys.stdout.write("begun\n")
                sys.stdout.flush()
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            self.passed()
            return original(*args, **kwargs)

        setattr(owner, name, counted)


def main() -> None:
    folder = Path(sys.argv[1])
    points = Points(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    for owner, name in (
        (Repository, "transaction"),
        (JsonlEventLog, "append"),
        (LocalFileStore, "put"),
        (LocalFileStore, "delete"),
        (LocalFileStore, "swap_header"),
    ):
        points.before(owner, name)
    import strongroom.services.jobs.run as work

    work.BATCH_ITEMS = 3  # type: ignore[misc]  # several steps for few extracts
    lab, stopping = Lab(folder), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def idle() -> bool:
        return all(job.finished_at for job in lab.jobs.list())

    worker = Worker(
        lab.ports, Place(folder / "workflows.db", "node1"), stopping, Advice(lambda: (2, 0))
    )
    worker.run(until=idle)
    sys.stdout.write(f"{points.count}\n")


if __name__ == "__main__":
    main()
