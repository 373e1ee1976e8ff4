"""Findings K1: a data directory of any name that the file system takes keeps its databases inside.

The name went into URLs as it was: a `%2F` in it became a slash, and what stood behind a `?` was cut off, so that the
databases lay outside, and two nodes shared one.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.coordination.base import Change
from strongroom.coordination.local import LocalCoordinator
from strongroom.repository import engine
from strongroom.repository.unit_of_work import Repository
from strongroom.services.jobs.run import Step
from strongroom.system.durable import PRIVATE
from tests.support import forked
from tests.support.servers import BIN, PASSWORD

NAMES = (
    b"feature%2Fx",
    b"100%",
    b"x?1",
    b"x?2",
    b"x?mode=memory",
    b"x#y",
    b"a b",
    b"a\nb",
    b"a:b@c",
    b"file:x",
    b":memory:",
    b"caf\xe9",
    "売上".encode(),
    b"back\\slash",
    b"'quoted'",
    b"-dash",
    b"~",
)
BY_COMMAND = (b"feature%2Fx", b"x?1", b"x?2", b"caf\xe9", b"a\nb")


def titles(names: tuple[bytes, ...]) -> list[str]:
    return [ascii(name)[2:-1] for name in names]


def inside(base: Path) -> set[str]:
    """What lies in the folder, down to every file, without what SQLite makes beside a database."""
    found = {path for path in base.rglob("*") if path.is_file()}
    return {
        os.fsencode(path.relative_to(base)).decode("latin-1")
        for path in found
        if path.suffix not in {".db-wal", ".db-shm"}
    }


def check_databases(base: Path, name: bytes) -> None:
    folder = base / os.fsdecode(name)
    folder.mkdir()
    repository = Repository(engine.sqlite_url(folder / "repository.db"))
    repository.ensure_schema()
    with repository.transaction() as tx:
        tx.marks.set("whose", name.hex())
    repository.close()
    LocalCoordinator.create(folder / "coordination.db", folder / "locks")
    coordinator = LocalCoordinator(folder / "coordination.db", folder / "locks")
    coordinator.put({"whose": Change(name, 0)})
    coordinator.close()
    title = name.decode("latin-1")
    databases = {f"{title}/{one}.db" for one in ("repository", "coordination")}
    assert inside(base) == databases
    with closing(sqlite3.connect(folder / "repository.db")) as connection:
        assert connection.execute("SELECT value FROM marks").fetchall() == [(name.hex(),)]


def _no_work(job_id: str, step: Step) -> str:
    del step
    return job_id


@pytest.mark.parametrize("name", NAMES, ids=titles(NAMES))
def test_the_databases_of_a_node_lie_in_its_directory(tmp_path: Path, name: bytes) -> None:
    check_databases(tmp_path, name)
    folder = tmp_path / os.fsdecode(name)
    workflows = WorkflowEngine(folder / "workflows.db", "node1", PRIVATE, _no_work, lambda: None)
    before = inside(tmp_path)
    try:
        workflows.launch()
        assert not workflows.is_known("nobody")
    finally:
        workflows.close()
    assert inside(tmp_path) == before | {f"{name.decode('latin-1')}/workflows.db"}


@given(st.binary(min_size=1, max_size=60).filter(lambda name: not set(name) & set(b"\0/")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    """The databases are opened by what the ones above are opened by; a table takes the place of a whole schema."""
    if name in {b".", b".."}:
        return
    base = tmp_path_factory.mktemp("named")
    folder = base / os.fsdecode(name)
    folder.mkdir()
    opened = engine.open_engine(engine.sqlite_url(folder / "repository.db"))
    with opened.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE marks (value)")
    opened.dispose()
    LocalCoordinator.create(folder / "coordination.db", folder / "locks")
    title = name.decode("latin-1")
    assert inside(base) == {f"{title}/{one}.db" for one in ("repository", "coordination")}
    with closing(sqlite3.connect(folder / "repository.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("marks",)]


def test_two_nodes_whose_names_look_like_urls_share_nothing(tmp_path: Path) -> None:
    """By commands, each a process: made, worked on by the job engine, and each its own installation."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    base = tmp_path / "nodes"
    base.mkdir()

    def run(name: bytes, *words: str) -> bytes:
        place = os.fsencode(base / os.fsdecode(name))
        command = [
            str(BIN / "strongroom"),
            "--data-dir",
            os.fsdecode(place),
            *map(os.fsdecode, words),
        ]
        done = forked.run(command, folder=tmp_path, environment=os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in BY_COMMAND:
        run(name, "init", "--admin", "admin", "--admin-password-file", str(password))
        run(name, "sites", "create", f"of {name.hex()}")
        run(name, "extracts", "rewrap", "--site", "Default", "--wait")
    for name in BY_COMMAND:
        listed = run(name, "sites", "list").decode()
        assert [one.hex() for one in BY_COMMAND if f"of {one.hex()}" in listed] == [name.hex()]
        for database in ("repository/repository.db", "repository/workflows.db"):
            assert (base / os.fsdecode(name) / "tabsvc" / database).stat().st_size
    assert {os.fsencode(path.name) for path in base.iterdir()} == set(BY_COMMAND)
