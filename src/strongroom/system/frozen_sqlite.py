"""Keeps all writers out of a file of SQLite while it is copied, and has it refuse them once its content lies elsewhere.

A process that has opened the file before goes on with it whatever the file is called later. What such a process wrote
would be lost without a word; so it is refused by the file itself.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from strongroom.errors import StorageError
from strongroom.system import disk

_BUSY_S: Final = 30.0
_PARTS: Final = ("", "-wal", "-shm")
_KINDS: Final = ("INSERT", "UPDATE", "DELETE")


class FrozenDatabase:
    """A file in which nobody else can write; readers go on."""

    def __init__(self, path: Path, what: str) -> None:
        """Wait for the present writer, and keep out every other one.

        Args:
            path: The file.
            what: The name of the database for people, such as `the repository`.

        Raises:
            StorageError: A writer does not end, or the file cannot be used.
        """
        self._path = path
        self._what = what
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def refuse_for_good(self, why: str) -> None:
        """Have every later change of every table refused with these words, and let go of the file.

        Raises:
            StorageError: The file cannot be written.
        """
        words = why.replace("'", "''")
        try:
            found = self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
            for (table,) in found.fetchall():
                for kind in _KINDS:
                    self._connection.execute(
                        f'CREATE TRIGGER IF NOT EXISTS "moved_{table}_{kind}" BEFORE {kind}'
                        f" ON \"{table}\" BEGIN SELECT RAISE(ABORT, '{words}'); END"
                    )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def let_go(self) -> None:
        """Let the writers in again; the file is as it was, unless it refuses them for good."""
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        self._connection.close()

    def _problem(self, error: sqlite3.Error) -> StorageError:
        told = disk.database_problem(error, self._what, self._path)
        return told or StorageError(f"{self._what} {self._path} cannot be used: {error}")


def set_aside(path: Path, suffix: str) -> Path | None:
    """Rename a database with the files of its log; returns the new path, None if nothing was there.

    Raises:
        StorageError: The disk refuses.
    """
    aside = path.with_name(path.name + suffix)
    moved = False
    # the log first: the database under its new name without it would lack what was committed last
    for part in reversed(_PARTS):
        source = path.with_name(path.name + part)
        try:
            source.rename(aside.with_name(aside.name + part))
            moved = True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk.problem(f"{source} cannot be renamed", error) from error
    return aside if moved else None
