"""A database that is copied elsewhere: nobody writes to it meanwhile, and nobody at all afterwards."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.system import frozen_sqlite
from strongroom.system.frozen_sqlite import FrozenDatabase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE one (name TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.execute("CREATE TABLE two (name TEXT)")
        connection.execute("INSERT INTO one VALUES ('there')")
    return path


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        yield connection


def test_readers_go_on_and_writers_wait(path: Path, other: sqlite3.Connection) -> None:
    frozen = FrozenDatabase(path, "the database")
    assert other.execute("SELECT name FROM one").fetchall() == [("there",)]
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("INSERT INTO one VALUES ('more')")
    frozen.let_go()
    other.execute("INSERT INTO one VALUES ('more')")


@pytest.mark.parametrize(
    "change",
    ["INSERT INTO two VALUES ('x')", "UPDATE one SET name = 'x'", "DELETE FROM one"],
)
def test_later_changes_are_refused(change: str, path: Path, other: sqlite3.Connection) -> None:
    """Also those of whoever had it open, and under whatever name."""
    other.execute("SELECT name FROM one").fetchall()
    frozen = FrozenDatabase(path, "the database")
    frozen.refuse_for_good("it's elsewhere")
    frozen.let_go()
    aside = frozen_sqlite.set_aside(path, ".aside")
    assert aside == path.with_name("some.db.aside")
    with pytest.raises(sqlite3.IntegrityError, match="it's elsewhere"):
        other.execute(change)
    other.close()
    with closing(sqlite3.connect(aside)) as again:
        assert again.execute("SELECT name FROM one").fetchall() == [("there",)]
        with pytest.raises(sqlite3.IntegrityError, match="it's elsewhere"):
            again.execute(change)
    assert not path.exists()
    assert frozen_sqlite.set_aside(path, ".aside") is None


def test_what_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    path.write_bytes(b"no database at all, but long enough to look like one" * 20)
    with pytest.raises(StorageError, match="the database"):
        FrozenDatabase(path, "the database")
