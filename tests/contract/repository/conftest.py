"""The engines that the repository's suite runs over: another one is another row of `ENGINES`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.repository.rows import ContentRow, ProjectRow, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository

NOW = "2026-11-21T12:00:00Z"
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
    repository = Repository(url)
    repository.ensure_schema()
    with repository.transaction() as tx:
        tx.sites.insert(SiteRow("site", "Default", "", 0, NOW))
        tx.users.insert(UserRow("user", "Admin", "Admin", None, True, NOW))
        tx.projects.insert(project("project", "Default"))
    yield repository
    repository.close()


def project(key: str, name: str, parent_id: str | None = None) -> ProjectRow:
    """A project of the site."""
    return ProjectRow(key, "site", name, parent_id, "", "user", "ManagedByOwner", NOW, NOW)


def content(key: str, *, name: str = "", mek_id: str = "mek1", state: int = 1) -> ContentRow:
    """A data source of the site."""
    return ContentRow(
        id=key,
        site_id="site",
        project_id="project",
        owner_id="user",
        kind="datasource",
        name=name or key,
        content_url=name or key,
        file_name=f"{key}.hyper",
        file_type="hyper",
        storage_key=f"extracts/{key}",
        file_id="f" * 32,
        mek_id=mek_id,
        plaintext_bytes=100,
        stored_bytes=5000,
        state=state,
        has_extract=True,
        created_at=NOW,
        updated_at=NOW,
        tags=["a"],
        attributes={"isCertified": True},
    )
