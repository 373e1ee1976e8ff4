"""SQLite as we open it, and its errors in our words."""

import contextlib
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import (
    IntegrityError,
    InvalidRequestError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from strongroom.errors import ConflictError, StorageError
from strongroom.repository import engine, tables
from strongroom.repository.migrations import runner
from strongroom.repository.revision import REVISION
from strongroom.repository.unit_of_work import Repository
from strongroom.system.durable import PRIVATE, FileModes, shared_with
from tests.support.rows import new_repository


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "repository.db"


def new(path: Path) -> Repository:
    return new_repository(engine.sqlite_url(path))


def test_the_migrations_make_what_the_tables_say(path: Path) -> None:
    repository = new(path)
    with repository._begin(read_only=True) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    repository.close()


def test_the_program_needs_the_newest_revision() -> None:
    assert runner.revisions()[-1] == REVISION


@pytest.mark.parametrize("present", range(len(runner.STEPS) - 1))
def test_whatever_comes_first_brings_an_older_repository_up_to_date(
    path: Path, present: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `serve` did it, so that every other command refused a node of the version before."""
    monkeypatch.setattr(runner, "STEPS", runner.STEPS[: present + 1])
    monkeypatch.setattr("strongroom.repository.unit_of_work.REVISION", runner.revisions()[-1])
    with closing(Repository(engine.sqlite_url(path))) as older:
        older.ensure_schema()
    monkeypatch.undo()
    repository = Repository(engine.sqlite_url(path))
    with repository.reading() as tx:
        assert tx.jobs.list() == []
    with repository._begin(read_only=True) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    repository.close()


def test_every_commit_is_synced_and_references_are_checked(path: Path) -> None:
    repository = new(path)
    with repository._begin(read_only=True) as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    repository.close()


@pytest.mark.parametrize(
    ("file_modes", "mode"),
    [(PRIVATE, 0o600), (shared_with(os.getgid()), 0o640)],
    ids=["private", "shared"],
)
def test_files_keep_others_out_from_the_start(path: Path, file_modes: FileModes, mode: int) -> None:
    """C-10, whatever the umask: the log files take the mode of the database."""
    repository = Repository(engine.sqlite_url(path), file_modes)
    repository.ensure_schema()
    modes = [stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()]
    assert modes == [mode] * 3
    repository.close()


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "repository.db").mkdir()
    repository = Repository(engine.sqlite_url(tmp_path / "repository.db"))
    with pytest.raises(StorageError, match="cannot be created"):
        repository.ensure_schema()
    repository.close()


def test_a_missing_file_is_not_made_in_silence(path: Path) -> None:
    repository = Repository(engine.sqlite_url(path))
    with pytest.raises(StorageError, match="no repository at"), repository.transaction():
        pass
    assert not path.exists()
    repository.close()


@pytest.mark.parametrize("kept", [0, 100, 4096])
def test_a_damaged_file_is_told(path: Path, kept: int) -> None:
    new(path).close()
    data = path.read_bytes()
    path.write_bytes(data[:kept] + b"\xff" * (len(data) - kept))
    repository = Repository(engine.sqlite_url(path))
    with pytest.raises(StorageError, match="damaged"), repository.reading() as tx:
        tx.sites.list()
    repository.close()


def test_a_lock_that_is_not_given_back_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0)
    repository = new(path)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked") as caught, repository.transaction():
            pass
        assert caught.value.hint == "try again"
    repository.close()


def test_values_do_not_get_into_errors(path: Path) -> None:
    repository = new(path)
    with pytest.raises(ConflictError) as caught, repository.transaction() as tx:
        tx.sites.insert(tx.sites.get("site"))
    assert "Default" not in str(caught.value.__cause__)
    repository.close()


def _driver(code: str) -> sqlite3.Error:
    """Words that mean nothing: the code decides (house 2.6)."""
    error = sqlite3.OperationalError("words that say FOREIGN KEY, locked, malformed\nand more")
    if code:
        error.sqlite_errorname = code
    return error


def _operational(code: str) -> OperationalError:
    return OperationalError("", {}, _driver(code))


def _integrity(code: str) -> IntegrityError:
    return IntegrityError("", {}, _driver(code))


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (_operational("SQLITE_BUSY_SNAPSHOT"), StorageError, "locked"),
        (_operational("SQLITE_LOCKED_SHAREDCACHE"), StorageError, "locked"),
        (_operational("SQLITE_FULL"), StorageError, "full"),
        (_operational("SQLITE_CORRUPT_INDEX"), StorageError, "damaged"),
        (_operational("SQLITE_NOTADB"), StorageError, "damaged"),
        (_operational("SQLITE_CANTOPEN_ISDIR"), StorageError, "opened"),
        (_operational("SQLITE_READONLY_DIRECTORY"), StorageError, "written"),
        (_operational("SQLITE_ERROR"), StorageError, "cannot be used: words"),
        (_operational(""), StorageError, "cannot be used: words"),
        (_integrity("SQLITE_CONSTRAINT_FOREIGNKEY"), ConflictError, "refers"),
        (_integrity("SQLITE_CONSTRAINT_UNIQUE"), ConflictError, "exists"),
        (_integrity("SQLITE_CONSTRAINT_PRIMARYKEY"), ConflictError, "exists"),
        (_integrity("SQLITE_CONSTRAINT_NOTNULL"), StorageError, "cannot be used: words"),
        (PoolTimeoutError("QueuePool limit"), StorageError, "too many"),
        (InvalidRequestError("closed"), StorageError, "closed"),
    ],
    ids=lambda value: getattr(getattr(value, "orig", None), "sqlite_errorname", None),
)
def test_errors_in_our_words(error: SQLAlchemyError, expected: type[Exception], words: str) -> None:
    found = engine.translated(error)
    assert isinstance(found, expected)
    assert words in found.message
    assert "\n" not in found.message


def test_a_disk_that_is_full_is_told_and_changes_nothing(path: Path) -> None:
    """Stands for a full disk: the database may not grow beyond its present size."""
    repository = new(path)
    with repository._begin(read_only=True) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    with repository._engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute(f"PRAGMA max_page_count = {pages}")
    with (
        pytest.raises(StorageError, match="disk of the repository is full") as caught,
        repository.transaction() as tx,
    ):
        tx.marks.set("big", "x" * 1_000_000)
    assert "free some space" in caught.value.hint
    with repository.reading() as tx:
        assert tx.marks.find("big") is None
    repository.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    repository = Repository(engine.sqlite_url(tmp_path / "folder" / "repository.db"))
    with pytest.raises(StorageError, match="folder"):
        repository.ensure_schema()
    repository.close()
