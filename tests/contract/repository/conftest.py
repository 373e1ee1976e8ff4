"""The engines that the repository's suite runs over: another one is another row of `ENGINES`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.repository.unit_of_work import Repository
from tests.support.rows import new_repository

ENGINES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/repository.db",
}


@pytest.fixture(params=sorted(ENGINES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def repository(url: str) -> Iterator[Repository]:
    """A repository with one site, user and project, ids `site`, `user` and `project`."""
    repository = new_repository(url)
    yield repository
    repository.close()
