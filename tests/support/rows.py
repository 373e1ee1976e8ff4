"""Rows for tests: one site, one user, one project, and content in it."""

import dataclasses

from sqlalchemy import URL

from strongroom.repository.rows import ContentRow, ProjectRow, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository

NOW = "2026-11-21T12:00:00Z"


def project(key: str, name: str, parent_id: str | None = None) -> ProjectRow:
    """A project of the site `site`."""
    return ProjectRow(key, "site", name, parent_id, "", "user", "ManagedByOwner", NOW, NOW)


def content(key: str, **changes: object) -> ContentRow:
    """An encrypted data source of the site `site`."""
    row = ContentRow(
        id=key,
        site_id="site",
        project_id="project",
        owner_id="user",
        kind="datasource",
        name=key,
        content_url=key,
        file_name=f"{key}.hyper",
        file_type="hyper",
        storage_key=f"extracts/{key}",
        file_id="f" * 32,
        mek_id="mek1",
        plaintext_bytes=100,
        stored_bytes=5000,
        state=1,
        has_extract=True,
        created_at=NOW,
        updated_at=NOW,
        tags=["a"],
        attributes={"isCertified": True},
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def new_repository(url: str | URL) -> Repository:
    """A repository with the ids `site`, `user` and `project`."""
    repository = Repository(url)
    repository.ensure_schema()
    with repository.transaction() as tx:
        tx.sites.insert(SiteRow("site", "Default", "", 0, NOW))
        tx.users.insert(UserRow("user", "Admin", "Admin", None, True, NOW))
        tx.projects.insert(project("project", "Default"))
    return repository
