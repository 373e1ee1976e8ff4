"""Reads and keeps marks of the repository by themselves: of SQLite without SQLAlchemy, whose import costs half a second.

This is for commands that use nothing else of the repository. `shared_marks` does the same in PostgreSQL.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

_BUSY_S = 5.0

IsWanted = Callable[[str | None], bool]
"""Decides by the present text of a mark, None without one, whether another text takes its place."""


class Marks(Protocol):
    """The marks of a repository, each read and kept by itself, and with nothing else."""

    def find(self, names: tuple[str, ...]) -> Mapping[str, str] | None:
        """The texts of those marks that are there; None where a repository lies that cannot be read: it may have them."""
        ...

    def replace(self, name: str, value: str, is_wanted: IsWanted) -> bool:
        """Set a mark, durably, if that is wanted in the place of the one that is there; whether that is known to be done.

        Nobody can write between the decision and the change: where somebody did, the decision is made anew.

        Args:
            name: The name of the mark.
            value: The text to set.
            is_wanted: Decides.
        """
        ...


def read(marks: Marks, names: tuple[str, ...]) -> Mapping[str, str]:
    """The texts of those marks that are there.

    A repository that is lost or cannot be read has none: what is sealed outside of the node must open all the same, and
    the status tells of the repository.
    """
    return marks.find(names) or {}


class FileMarks:
    """The marks of a repository in a file of SQLite; implements `Marks`."""

    def __init__(self, path: Path) -> None:
        """Keep the path of the database. It is never created."""
        self._path = path

    def find(self, names: tuple[str, ...]) -> Mapping[str, str] | None:
        """The texts of those marks that are there; none without a file."""
        query = f"SELECT name, value FROM marks WHERE name IN ({', '.join('?' * len(names))})"  # noqa: S608
        if not self._path.exists():
            return {}
        with suppress(sqlite3.Error), closing(_connected(self._path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            return dict(connection.execute(query, names).fetchall())
        return None

    def replace(self, name: str, value: str, is_wanted: IsWanted) -> bool:
        """Set a mark, durably, if that is wanted in the place of the one that is there."""
        with suppress(sqlite3.Error), closing(_connected(self._path)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
            if is_wanted(row[0] if row else None):
                query = "INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)"
                connection.execute(query, (name, value))
                connection.execute("COMMIT")
                return True
        return False


def _connected(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, timeout=_BUSY_S, uri=True, isolation_level=None)
