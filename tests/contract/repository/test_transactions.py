"""Transactions: all or nothing, one writer after the other, readers who wait for nobody, also across kills."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from strongroom.errors import NotFoundError, StateError
from strongroom.repository.revision import REVISION
from strongroom.repository.unit_of_work import Repository
from tests.support.databases import Databases
from tests.support.rows import content

COUNTING = """
import sys
from strongroom.repository.unit_of_work import Repository
repository = Repository(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with repository.transaction() as tx:
        tx.marks.set("count", str(int(tx.marks.find("count") or 0) + 1))
"""

DYING = """
import os, signal, sys
from strongroom.repository.unit_of_work import Repository
repository = Repository(sys.argv[1])
with repository.transaction() as tx:
    tx.marks.set("half", "done")
    if sys.argv[2] == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(script: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", script, *arguments])


def test_what_fails_leaves_nothing(repository: Repository) -> None:
    def fail() -> None:
        with repository.transaction() as tx:
            tx.contents.insert(content("c1"))
            tx.contents.get("nosuch")

    with pytest.raises(NotFoundError):
        fail()
    with repository.reading() as tx:
        assert tx.contents.find("c1") is None


def test_two_processes_that_count_lose_nothing(repository: Repository, url: str) -> None:
    """Read-modify-write from two processes at once."""
    writers = [run(COUNTING, url, "40") for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with repository.reading() as tx:
        assert tx.marks.find("count") == "80"


def test_threads_share_one_repository(repository: Repository) -> None:
    def count() -> None:
        for _ in range(10):
            with repository.transaction() as tx:
                tx.marks.set("count", str(int(tx.marks.find("count") or 0) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with repository.reading() as tx:
        assert tx.marks.find("count") == "40"


@pytest.mark.parametrize(("where", "found"), [("inside", None), ("after", "done")])
def test_a_kill_leaves_the_old_or_the_new(
    repository: Repository, url: str, where: str, found: str | None
) -> None:
    assert run(DYING, url, where).wait(60) == -signal.SIGKILL
    with repository.transaction() as tx:
        assert tx.marks.find("half") == found
        tx.marks.set("next", "works")


def test_readers_see_one_state_and_wait_for_no_writer(repository: Repository, url: str) -> None:
    other = Repository(url)
    with repository.transaction() as tx:
        tx.marks.set("a", "1")
        with other.reading() as seen:
            assert seen.marks.find("a") is None
    with other.reading() as seen:
        assert seen.marks.find("a") == "1"
        with repository.transaction() as tx:
            tx.marks.set("a", "2")
        assert seen.marks.find("a") == "1"
    other.close()


def test_making_the_schema_twice_changes_nothing(repository: Repository) -> None:
    repository.ensure_schema()
    with repository.reading() as tx:
        assert tx.sites.get("site").name == "Default"


def test_two_processes_may_make_the_schema_at_once(databases: Databases) -> None:
    url = databases.empty()
    script = (
        "import sys\n"
        "from strongroom.repository.unit_of_work import Repository\n"
        "Repository(sys.argv[1]).ensure_schema()\n"
    )
    makers = [run(script, url) for _ in range(3)]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0]
    repository = Repository(url)
    with repository.reading() as tx:
        assert tx.sites.list() == []
    repository.close()


def test_tables_of_another_version_are_not_touched(repository: Repository, url: str) -> None:
    with repository._begin(read_only=False) as connection:
        connection.exec_driver_sql("UPDATE schema_version SET revision = '9999'")
    other = Repository(url)
    with pytest.raises(StateError, match=f"schema 9999, this program needs {REVISION}"):
        other.reading().__enter__()
    with pytest.raises(StateError, match="9999"):
        other.ensure_schema()
    other.close()


def test_a_database_without_tables_is_no_repository(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "repository.db").touch()
    repository = Repository(databases.empty())
    with pytest.raises(StateError, match="schema none"):
        repository.reading().__enter__()
    repository.close()


def test_errors_of_ours_pass_through(repository: Repository) -> None:
    with pytest.raises(NotFoundError), repository.transaction() as tx:
        tx.sites.get("nosuch")
