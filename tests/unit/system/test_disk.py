"""What a disk's refusal and a held lock are called (findings R11, R21)."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.coordination.local import LocalCoordinator
from strongroom.errors import StorageError
from strongroom.repository import engine
from strongroom.repository.dialects.causes import Cause
from strongroom.repository.dialects.sqlite import cause_of
from strongroom.system import disk
from tests.support.rows import new_repository

HOLD = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.parametrize("number", sorted(disk.NO_ROOM))
def test_a_full_disk_and_a_full_quota_have_one_hint(number: int) -> None:
    told = disk.problem("cannot write /a", OSError(number, os.strerror(number)))
    assert told.message == f"cannot write /a: {os.strerror(number).lower()}"
    assert told.hint == disk.FREE_SPACE
    assert told.exit_code == 41


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.EMFILE, errno.EIO, errno.ENOTDIR]
)
def test_other_refusals_have_hints_of_their_own(number: int) -> None:
    assert disk.hint_for(OSError(number, "x"))
    assert disk.hint_for(OSError(number, "x")) != disk.FREE_SPACE


@pytest.mark.parametrize(
    "number",
    [errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG],
    ids=errno.errorcode.get,
)
def test_of_a_path_that_leads_to_nothing_the_disk_is_not_suspected(number: int) -> None:
    """Findings R11, the other way round: "check free space, quota" was said of a name that was mistyped."""
    hint = disk.hint_for(OSError(number, os.strerror(number)))
    assert "space" not in hint
    assert "disk" not in hint


@pytest.mark.parametrize("number", sorted(disk.NO_ROOM | disk.NO_DESCRIPTOR | {errno.EFBIG}))
def test_no_caller_knows_better_what_is_short(number: int) -> None:
    """Findings R11: "run this as the owner" and "hard links are needed" were said of a full disk."""
    error = OSError(number, "x")
    assert disk.hint_for(error, "another sentence") == disk.hint_for(error)
    told = disk.problem("cannot write /a", error, "another sentence", always="nothing was done")
    assert told.hint == f"{disk.hint_for(error)}; nothing was done"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR, errno.EXDEV, 0])
def test_a_caller_knows_better_what_else_is_wrong(number: int) -> None:
    told = disk.problem("cannot write /a", OSError(number, "Some words"), "another sentence")
    assert (told.message, told.hint) == ("cannot write /a: some words", "another sentence")


def test_an_error_of_ours_keeps_its_hint() -> None:
    inner = disk.problem("cannot sync /a", OSError(errno.ENOSPC, "No space left on device"))
    told = disk.problem("it was moved", inner, "another sentence", always="look at both")
    assert told.message == "it was moved: cannot sync /a: no space left on device"
    assert told.hint == f"{disk.FREE_SPACE}; look at both"


def test_an_error_without_words_is_called_by_its_name() -> None:
    assert disk.reason(OSError()) == "OSError"


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize("name", ["SQLITE_IOERR_WRITE", "SQLITE_CANTOPEN", "SQLITE_IOERR_SHMSIZE"])
@pytest.mark.parametrize("number", sorted(disk.NO_ROOM))
def test_what_sqlite_cannot_name_is_found_out(
    tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "disk I/O error" for a quota that is used up."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "x.db"
    told = disk.database_problem(sqlite_error(name), "the repository", path)
    assert told is None or "is full" not in told.message
    monkeypatch.setattr(os, "write", refuse)
    told = disk.database_problem(sqlite_error(name), "the repository", path)
    assert told is not None
    assert (told.message, told.hint) == ("the disk of the repository is full", disk.FREE_SPACE)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_matter_of_the_disk_is_not_told_as_one(tmp_path: Path) -> None:
    for name in (
        "SQLITE_CORRUPT",
        "SQLITE_IOERR_SHORT_READ",
    ):  # one file, before and since SQLite 3.46
        assert disk.database_problem(sqlite_error(name), "it", tmp_path / "x") is None
        assert cause_of(sqlite_error(name)) is Cause.DAMAGED
    assert not disk.is_full(tmp_path)
    assert not disk.is_full(tmp_path / "nowhere")


@pytest.fixture
def databases(tmp_path: Path) -> tuple[Path, Path]:
    repository = new_repository(engine.sqlite_url(tmp_path / "repository.db"))
    repository.close()
    LocalCoordinator.create(tmp_path / "coordination.db", tmp_path / "locks")
    return tmp_path / "repository.db", tmp_path / "coordination.db"


@pytest.mark.parametrize("which", [0, 1], ids=["repository", "coordination"])
def test_a_writer_is_told_which_process_holds_the_lock(
    databases: tuple[Path, Path], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings R21: "locked by another process", and of the coordination store, that a backup should be restored."""
    monkeypatch.setattr("strongroom.repository.engine.BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr("strongroom.coordination.local._BUSY_S", 0.2)
    path = databases[which]
    from strongroom.repository.unit_of_work import Repository

    repository = Repository(engine.sqlite_url(databases[0]))
    coordinator = LocalCoordinator(databases[1], databases[1].parent / "locks")
    assert coordinator.get("x") is None  # its files beside the database are there
    with repository.reading() as tx:
        assert tx.marks.find("x") is None

    def write() -> None:
        if which == 1:
            coordinator.put({"x": Change(b"y", 0)})
            return
        with repository.transaction() as tx:
            tx.marks.set("x", "y")

    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            while disk.state_of(holder.pid) != "stopped":
                time.sleep(0.01)
            with pytest.raises(StorageError, match=f"locked by process {holder.pid}.*stopped"):
                write()
        finally:
            holder.send_signal(signal.SIGKILL)
    write()
    repository.close()
    coordinator.close()


def test_states_of_processes() -> None:
    assert disk.state_of(os.getpid()) == "running"
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        child.wait()
        assert disk.state_of(child.pid) == "gone"
    assert "python" in disk.described(os.getpid()) or "pytest" in disk.described(os.getpid())
    assert disk.described(2**22 + 5) == f"process {2**22 + 5}"
