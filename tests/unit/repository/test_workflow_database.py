"""The job engine's database is disposed of while threads of the engine still use it."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, Engine

from strongroom.repository.workflow_database import open_workflow_database
from strongroom.system.durable import PRIVATE

_LIMIT_S = 120
#: In a process of its own: it ended with SIGSEGV.
_RUNNING = """
import sys
from pathlib import Path
from tests.unit.repository import test_workflow_database as tests
for number in range(20):
    tests.dispose_under_a_statement(Path(sys.argv[1]) / f"{number}.db")
"""


def opened(path: Path) -> Engine:
    return open_workflow_database(path, PRIVATE)


def raw_of(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


def dispose_under_a_statement(path: Path) -> None:
    """A statement waits in the middle; it must come to its end, and its connection be closed behind it."""
    engine, begun, may_go_on = opened(path), threading.Event(), threading.Event()
    told: list[object] = []
    with engine.connect():
        pass  # nobody uses it for a while

    def hold() -> int:
        begun.set()
        may_go_on.wait(_LIMIT_S)
        return 1

    def work() -> None:
        with engine.connect() as connection:
            raw = raw_of(connection)
            raw.create_function("hold", 0, hold)
            told.extend(connection.exec_driver_sql("select hold() union all select 2").scalars())
            told.append(raw)

    worker, ender = threading.Thread(target=work), threading.Thread(target=engine.dispose)
    worker.start()
    assert begun.wait(_LIMIT_S)
    ender.start()
    ender.join(
        0.05
    )  # whoever closed the connection would wait in SQLite, and for ever: the statement waits for us
    may_go_on.set()
    for thread in (worker, ender):
        thread.join(_LIMIT_S)
    *rows, raw = told
    assert rows == [1, 2]
    assert isinstance(raw, sqlite3.Connection)
    with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
        raw.execute("select 1")
        raise AssertionError("nobody closed it")


def test_a_statement_that_runs_is_let_end(tmp_path: Path) -> None:
    """A job that had ended was told by SIGSEGV: the engine noted its end while the connections were closed."""
    command = [sys.executable, "-X", "faulthandler", "-c", _RUNNING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_nobody_uses_is_closed_at_once(tmp_path: Path) -> None:
    engine = opened(tmp_path / "w.db")
    with engine.connect() as connection:
        raw = raw_of(connection)
    engine.dispose()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("select 1")


def test_what_was_closed_in_a_pool_that_is_gone_is_replaced(tmp_path: Path) -> None:
    """A thread took the pool before the end, and its connection behind it."""
    engine = opened(tmp_path / "w.db")
    pool = engine.pool
    with engine.connect() as connection:
        raw = raw_of(connection)
    engine.dispose(close=False)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("select 1")
    with contextlib.closing(pool.connect()) as late:
        assert late.cursor().execute("select 1").fetchone() == (1,)


def test_who_comes_afterwards_has_a_connection_and_leaves_none(tmp_path: Path) -> None:
    """A thread of the engine that did not hear of the end."""
    engine = opened(tmp_path / "w.db")
    engine.dispose()
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("select 1").scalar() == 1
            raw = raw_of(connection)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            raw.execute("select 1")
