"""The database of the job engine in a cluster: a schema of its own in the repository's database of PostgreSQL.

The engine makes its tables itself, and needs the right to create the schema. As with the file of a single node, nothing
is lost with it but time.
"""

import contextlib
from typing import Final

from sqlalchemy import URL, Engine
from sqlalchemy.exc import SQLAlchemyError

from strongroom.errors import StorageError, StrongroomError
from strongroom.repository import engine
from strongroom.repository.postgres import PostgresDatabase
from strongroom.repository.postgres_address import Passwords

SCHEMA: Final = "strongroom_jobs"


class WorkflowSchema:
    """The engine's tables in PostgreSQL; implements `workflow_database.WorkflowDatabase`."""

    def __init__(self, url: URL, passwords: Passwords) -> None:
        """Keep address and passwords; nothing is connected yet.

        Args:
            url: The address of the repository's database.
            passwords: Returns the passwords to try for each new connection.
        """
        self.schema: str | None = SCHEMA
        self._url = url
        self._passwords = passwords
        self._opened: PostgresDatabase | None = None

    def open(self) -> Engine:
        """The connections of the engine, which are its own: those of the repository keep to their own limit.

        Raises:
            StorageError: The library for PostgreSQL is not installed.
        """
        self._opened = PostgresDatabase(self._url, self._passwords)
        return self._opened.engine

    def shrink(self) -> None:
        """Nothing is to be done: PostgreSQL uses empty pages again by itself."""

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._opened.close()

    def problem(self, error: BaseException) -> StrongroomError | None:
        """The error of ours for an error of this database; None for any other."""
        if not isinstance(error, SQLAlchemyError):
            return None
        told = engine.translated(error)
        return told if isinstance(told, StorageError) else None
