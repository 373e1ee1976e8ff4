"""What only the embedded coordination service has: its files, their modes, and damage."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.local import LocalCoordinator
from strongroom.errors import CoordinationError, StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordination" / "coordination.db"


@pytest.fixture
def coordinator(path: Path) -> LocalCoordinator:
    LocalCoordinator.create(path, path.parent / "locks")
    return LocalCoordinator(path, path.parent / "locks", holder="os:anna, process 7")


def test_files_are_for_the_owner_alone(path: Path, coordinator: LocalCoordinator) -> None:
    """C-10, whatever the umask says; SQLite's side files follow."""
    old = os.umask(0)
    try:
        other = path.parent / "other.db"
        LocalCoordinator.create(other, path.parent / "locks")
        coordinator.put({"config": Change(b"x", 0)})
        with coordinator.lock("configuration", wait_s=0):
            files = [one for one in path.parent.rglob("*") if one.is_file()]
    finally:
        os.umask(old)
    assert {one.name for one in files} >= {"coordination.db", "coordination.db-wal", "other.db"}
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_create_keeps_what_is_there(path: Path, coordinator: LocalCoordinator) -> None:
    coordinator.put({"config": Change(b"x", 0)})
    LocalCoordinator.create(path, path.parent / "locks")
    present = coordinator.get("config")
    assert present is not None
    assert present.value == b"x"


def test_create_again_after_a_crash_left_an_empty_file(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    LocalCoordinator.create(path, path.parent / "locks")
    assert LocalCoordinator(path, path.parent / "locks").get("config") is None


def test_a_missing_database_is_not_an_empty_one(path: Path) -> None:
    with pytest.raises(CoordinationError, match="missing"):
        LocalCoordinator(path, path.parent).get("config")
    assert not path.exists()


def test_commits_are_synced(coordinator: LocalCoordinator) -> None:
    coordinator.get("config")
    connection = coordinator._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(4080)])
def test_no_database(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CoordinationError):
        LocalCoordinator(path, path.parent).get("config")


def test_truncated(path: Path, coordinator: LocalCoordinator) -> None:
    """At no length does a cut database pass for a good one that says something else."""
    coordinator.put({"config": Change(b"x" * 20_000, 0)})
    coordinator.close()
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 997):
        path.write_bytes(whole[:length])
        cut = LocalCoordinator(path, path.parent)
        try:
            # only bytes that SQLite does not use may be missing
            assert cut.get("config") == Versioned(b"x" * 20_000, 1)
            assert length > len(whole) - 4096
        except CoordinationError:
            pass
        cut.close()


def test_a_flipped_bit_in_a_value(path: Path, coordinator: LocalCoordinator) -> None:
    coordinator.put({"config": Change(b"NEEDLE", 0)})
    coordinator.close()
    path.write_bytes(path.read_bytes().replace(b"NEEDLE", b"NEEDLD"))
    with pytest.raises(CoordinationError, match="damaged"):
        coordinator.get("config")


def test_a_newer_schema(path: Path, coordinator: LocalCoordinator) -> None:
    del coordinator
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(CoordinationError, match="version"):
        LocalCoordinator(path, path.parent).get("config")


def test_a_write_that_fails_changes_nothing(coordinator: LocalCoordinator) -> None:
    """Findings R11: it said "restore the coordination database from a backup", which would lose what is whole."""
    coordinator.put({"config": Change(b"x", 0)})
    connection = coordinator._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="disk of the coordination database is full") as caught:
        coordinator.put({"a": Change(b"1", 0), "config": Change(bytes(100_000), 1)})
    assert "free some space" in caught.value.hint
    assert coordinator.get("a") is None


def test_no_folder_of_locks(path: Path) -> None:
    coordinator = LocalCoordinator(path, path.parent / "nowhere")
    with (
        pytest.raises(StorageError, match="lock file"),
        coordinator.lock("configuration", wait_s=0),
    ):
        pytest.fail("held")


def test_the_holder_is_written_in_the_lock(path: Path, coordinator: LocalCoordinator) -> None:
    with coordinator.lock("configuration", wait_s=0):
        assert (path.parent / "locks/configuration.lock").read_text() == "os:anna, process 7"


def test_watch_survives_trouble(path: Path, coordinator: LocalCoordinator) -> None:
    noticed = threading.Event()
    stop = coordinator.watch("config", lambda _: noticed.set())
    hidden = path.with_name("hidden.db")
    coordinator.close()
    path.rename(hidden)
    assert not noticed.wait(0.6)
    hidden.rename(path)
    coordinator.put({"config": Change(b"x", 0)})
    assert noticed.wait(60)
    stop()


def test_a_database_from_before_tokens(path: Path, coordinator: LocalCoordinator) -> None:
    """Revision fda7c78 has no entry of a lock: the first holder begins the count; the schema stays."""
    coordinator.put({"config": Change(b"x", 0)})
    with coordinator.lock("kms", wait_s=0) as lease:
        assert lease.token == 1
        coordinator.put({"config": Change(b"y", 1)})
    coordinator.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    assert connection.execute(tables).fetchall() == [("entries",)]
    connection.close()


def test_commits_are_synced_after_a_lock_too(coordinator: LocalCoordinator) -> None:
    """Only the count of holders is not synced: none of them outlives a power cut."""
    with coordinator.lock("kms", wait_s=0):
        connection = coordinator._connection
        assert connection is not None
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_damaged_entry_in_a_list(path: Path, coordinator: LocalCoordinator) -> None:
    coordinator.put({"journal/a": Change(b"NEEDLE", 0)})
    coordinator.close()
    path.write_bytes(path.read_bytes().replace(b"NEEDLE", b"NEEDLD"))
    with pytest.raises(CoordinationError, match="damaged"):
        coordinator.list("journal/")
