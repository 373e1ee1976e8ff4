"""The repository's suite runs over every kind of database that the repository runs on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.repository.unit_of_work import Repository
from tests.support.components.postgres import Postgres
from tests.support.databases import KINDS, Databases, PostgresDatabases, SqliteDatabases


@pytest.fixture(scope="session")
def postgres_databases(postgres: Postgres) -> PostgresDatabases:
    """The databases of the session's server."""
    return PostgresDatabases(postgres)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a repository of SQLite is copied from."""
    return tmp_path_factory.mktemp("template") / "repository.db"


@pytest.fixture(params=KINDS)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Databases of one kind."""
    if request.param == "sqlite":
        return SqliteDatabases(request.getfixturevalue("sqlite_template"), tmp_path)
    found: PostgresDatabases = request.getfixturevalue("postgres_databases")
    return found


@pytest.fixture
def url(databases: Databases) -> str:
    """The URL of a repository with one site, user and project, ids `site`, `user` and `project`."""
    return databases.with_rows()


@pytest.fixture
def repository(url: str) -> Iterator[Repository]:
    """That repository, opened."""
    repository = Repository(url)
    yield repository
    repository.close()
