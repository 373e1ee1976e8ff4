"""Two actions on one database, one of which is stopped before a chosen statement while the other one runs.

So every order of their statements that matters is tried: the second action comes whole at each boundary of the first,
as far as the locks of the first let it; then the first goes on.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import event

from strongroom.errors import StrongroomError
from strongroom.repository.unit_of_work import Repository
from strongroom.system.compat import override

LIMIT_S = 60
_POLL_S = 0.005
_SQLITE_WAITS_S = 0.05
"""Whoever has not gone on for so long waits for SQLite's only writer; if it is just slow, it comes beside the first."""
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@dataclass(frozen=True)
class Ended:
    """How an action ended: with a value, or refused; any other error fails the test at once."""

    value: object = None
    refused: StrongroomError | None = None

    @property
    def done(self) -> bool:
        return self.refused is None


class _Action(threading.Thread):
    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._ended = Ended()
        self._error: BaseException | None = None

    @override
    def run(self) -> None:
        try:
            self._ended = Ended(self._work())
        except StrongroomError as error:
            self._ended = Ended(refused=error)
        except BaseException as error:  # noqa: BLE001  raised again where the test waits
            self._error = error

    def end(self) -> Ended:
        self.join(LIMIT_S)
        assert not self.is_alive(), "an action hangs"
        if self._error is not None:
            raise self._error
        return self._ended


class _Boundaries:
    """Counts the statements and commits of one thread over a repository, and stops it before one of them."""

    def __init__(self, repository: Repository, stop_before: int | None = None) -> None:
        self.count = 0
        self.stopped = threading.Event()
        self.go_on = threading.Event()
        self.thread: threading.Thread | None = None
        self._stop_before = stop_before
        self._engine = repository._engine

    def _passed(self, *_: Any) -> None:
        if threading.current_thread() is not self.thread:
            return
        if self.count == self._stop_before:
            self.stopped.set()
            assert self.go_on.wait(LIMIT_S)
        self.count += 1

    def __enter__(self) -> Self:
        for name in ("begin", "before_cursor_execute", "commit"):
            event.listen(self._engine, name, self._passed)
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("begin", "before_cursor_execute", "commit"):
            event.remove(self._engine, name, self._passed)


def count_boundaries(repository: Repository, work: Callable[[], object]) -> int:
    """How many statements and commits an action has, run alone."""
    with _Boundaries(repository) as boundaries:
        boundaries.thread = action = _Action(work)
        action.start()
        action.end()
    return boundaries.count


def beside(
    repository: Repository,
    first: Callable[[], object],
    second: Callable[[], object],
    at: int,
    other: Repository,
) -> tuple[Ended, Ended]:
    """Run the second action when the first, over this repository, is before its statement number `at`."""
    with _Boundaries(repository, at) as boundaries:
        boundaries.thread = one = _Action(first)
        one.start()
        while one.is_alive() and not boundaries.stopped.wait(_POLL_S):
            pass
        two = _Action(second)
        two.start()
        _let_it_run(two, other)
        boundaries.go_on.set()
        return one.end(), two.end()


def _let_it_run(action: threading.Thread, repository: Repository) -> None:
    """Until it has ended, or waits for the other one."""
    is_postgres = repository._engine.dialect.name == "postgresql"
    end = time.monotonic() + (LIMIT_S if is_postgres else _SQLITE_WAITS_S)
    while action.is_alive() and time.monotonic() < end:
        action.join(_POLL_S)
        if is_postgres and action.is_alive() and _somebody_waits(repository):
            return


def _somebody_waits(repository: Repository) -> bool:
    with repository._engine.connect() as connection:
        return bool(connection.exec_driver_sql(_WAITING).scalar_one())
