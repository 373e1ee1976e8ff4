"""Databases for a repository, of each kind that it runs on; a copy of one with rows takes a moment."""

import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy import URL

from strongroom.repository.tables import metadata
from tests.support.components.postgres import Postgres
from tests.support.rows import new_repository

KINDS = ("postgres", "sqlite")


def url_of(server: Postgres, database: str) -> str:
    """The URL by which the tests' own user reaches a database."""
    where = {"host": str(server.sockets), "port": str(server.port)}
    url = URL.create("postgresql+psycopg", username="postgres", database=database, query=where)
    return url.render_as_string()


@dataclass
class PostgresDatabases:
    """Databases of one server, which goes with all of them."""

    server: Postgres
    _numbers: "count[int]" = field(default_factory=count)
    _used: str = ""

    def empty(self) -> str:
        """The URL of a database without a table."""
        return url_of(self.server, self._created())

    def with_rows(self) -> str:
        """The URL of a database with the rows of `new_repository` and no others: one for all tests, put back for each.

        To copy a database takes a hundred times as long, and 8 MB.
        """
        if not self._used:
            self._used = self._created()
            new_repository(url_of(self.server, self._used)).close()
            self._run(
                "CREATE SCHEMA kept",
                *(f"CREATE TABLE kept.{name} AS TABLE {name}" for name in _names()),
            )
        self._run(
            *(f"DELETE FROM {name}" for name in reversed(_names())),
            *(f"INSERT INTO {name} SELECT * FROM kept.{name}" for name in _names()),
        )
        return url_of(self.server, self._used)

    def _created(self) -> str:
        name = f"repository_{next(self._numbers)}"
        self.server.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def _run(self, *statements: str) -> None:
        import psycopg

        where = f"host={self.server.sockets} port={self.server.port}"
        with psycopg.connect(f"{where} user=postgres dbname={self._used}") as client:
            client.execute("; ".join(statements).encode())


def _names() -> list[str]:
    """Every table, after those that it refers to."""
    return [table.name for table in metadata.sorted_tables]


@dataclass
class SqliteDatabases:
    """Files of SQLite.

    Attributes:
        template: Where the file that is copied lies, or will.
        folder: Where a test's files are to be.
    """

    template: Path
    folder: Path

    def empty(self) -> str:
        """The URL of a file that is still to be made."""
        return f"sqlite:///{self.folder}/repository.db"

    def with_rows(self) -> str:
        """The URL of a file with the rows of `new_repository`."""
        if not self.template.exists():
            new_repository(f"sqlite:///{self.template}").close()
        shutil.copy(self.template, self.folder / "repository.db")
        return self.empty()


Databases = PostgresDatabases | SqliteDatabases
