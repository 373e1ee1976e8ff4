"""Projects: a tree per site."""

import pytest

from strongroom.access.permissions import Action, Resource, is_allowed
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
)
from strongroom.repository.rows import ProjectRow
from strongroom.services.directory import ownership, projects
from strongroom.services.directory.projects import ProjectChanges
from tests.contract.services.conftest import LOCAL, Platform
from tests.support.rows import content


def default_project(platform: Platform) -> ProjectRow:
    with platform.repository.reading() as tx:
        project = tx.projects.find_by_name(platform.site.id, "Default", None)
    assert project is not None
    return project


def create(platform: Platform, name: str, parent_id: str = "") -> ProjectRow:
    changes = ProjectChanges(parent_id=parent_id)
    return platform.projects.create(LOCAL, platform.site.id, name, changes)


def test_projects_are_nested(platform: Platform) -> None:
    upper = create(platform, "A")
    lower = create(platform, "A", upper.id)
    assert lower.parent_id == upper.id
    assert lower.owner_id == platform.admin.id
    with pytest.raises(ConflictError):
        create(platform, "a", upper.id)
    assert platform.projects.page(LOCAL, platform.site.id).total == 3


def test_a_project_has_what_was_sent(platform: Platform) -> None:
    bob = platform.user("bob")
    wanted = ProjectChanges(description="d", content_permissions="lockedtoproject", owner_id=bob.id)
    project = platform.projects.create(LOCAL, platform.site.id, "A", wanted)
    assert (project.description, project.content_permissions) == ("d", "LockedToProject")
    assert project.owner_id == bob.id


@pytest.mark.parametrize(
    ("name", "changes", "error"),
    [
        ("", ProjectChanges(), UsageError),
        ("a", ProjectChanges(content_permissions="Open"), UsageError),
        ("a", ProjectChanges(description="x" * 4001), UsageError),
        ("a", ProjectChanges(parent_id="nosuch"), NotFoundError),
        ("a", ProjectChanges(owner_id="nosuch"), NotFoundError),
    ],
    ids=["name", "permissions", "description", "parent", "owner"],
)
def test_projects_that_are_refused(
    platform: Platform, name: str, changes: ProjectChanges, error: type[Exception]
) -> None:
    with pytest.raises(error):
        platform.projects.create(LOCAL, platform.site.id, name, changes)


def test_a_project_is_changed_and_moved(platform: Platform) -> None:
    upper, other = create(platform, "A"), create(platform, "B")
    lower = create(platform, "C", upper.id)
    platform.later(seconds=5)
    changes = ProjectChanges(
        name="D",
        parent_id=other.id,
        description="x",
        content_permissions="ManagedByOwner",
        owner_id=platform.admin.id,
    )
    moved = platform.projects.update(LOCAL, platform.site.id, lower.id, changes)
    assert (moved.name, moved.parent_id, moved.description) == ("D", other.id, "x")
    assert moved.updated_at > lower.updated_at
    top = platform.projects.update(LOCAL, platform.site.id, lower.id, ProjectChanges(parent_id=""))
    assert top.parent_id is None
    same = ProjectChanges(parent_id="")
    assert platform.projects.update(LOCAL, platform.site.id, lower.id, same).parent_id is None


def test_a_project_never_lies_below_itself(platform: Platform) -> None:
    upper = create(platform, "A")
    lower = create(platform, "B", upper.id)
    for parent in (upper.id, lower.id):
        with pytest.raises(UsageError, match="below itself"):
            platform.projects.update(
                LOCAL, platform.site.id, upper.id, ProjectChanges(parent_id=parent)
            )


def test_nesting_has_an_end(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "MAX_PROJECT_DEPTH", 3)
    monkeypatch.setattr(projects, "MAX_PROJECT_DEPTH", 3)
    parent = ""
    for name in "abc":
        parent = create(platform, name, parent).id
    with pytest.raises(UsageError, match="deep"):
        create(platform, "d", parent)


def test_the_default_project_stays(platform: Platform) -> None:
    project = default_project(platform)
    site_id = platform.site.id
    with pytest.raises(StateError):
        platform.projects.delete(LOCAL, site_id, project.id)
    with pytest.raises(StateError):
        platform.projects.update(LOCAL, site_id, project.id, ProjectChanges(name="X"))
    kept = ProjectChanges(name="default", description="x", parent_id="")
    assert platform.projects.update(LOCAL, site_id, project.id, kept).description == "x"


def test_deleting_a_project_names_the_files_below_it(platform: Platform) -> None:
    upper = create(platform, "A")
    lower = create(platform, "B", upper.id)
    with platform.repository.transaction() as tx:
        place = {"site_id": platform.site.id, "owner_id": platform.admin.id}
        tx.contents.insert(content("one", **place, project_id=upper.id))
        tx.contents.insert(content("two", **place, project_id=lower.id))
        tx.contents.insert(content("no", **place, project_id=lower.id, storage_key=""))
    files = platform.projects.delete(LOCAL, platform.site.id, upper.id)
    assert files == ["extracts/one", "extracts/two"]
    with platform.repository.reading() as tx:
        noted = {intent.storage_key: intent.purpose for intent in tx.intents.list()}
    assert noted == {"extracts/one": "delete", "extracts/two": "delete"}
    assert platform.event_ids()[-3:] == ["EXTRACT_DELETED"] * 3
    with pytest.raises(NotFoundError):
        platform.projects.delete(LOCAL, platform.site.id, lower.id)


def test_projects_of_another_site_are_not_there(platform: Platform) -> None:
    other = platform.sites.create(LOCAL, "Other")
    with pytest.raises(NotFoundError):
        platform.projects.delete(LOCAL, other.id, default_project(platform).id)
    with pytest.raises(NotFoundError):
        platform.projects.create(
            LOCAL, other.id, "A", ProjectChanges(parent_id=default_project(platform).id)
        )


def test_who_leads_a_project_leads_what_is_below(platform: Platform) -> None:
    """Q-18: project leader."""
    bob = platform.user("bob")
    upper = platform.projects.create(LOCAL, platform.site.id, "A", ProjectChanges(owner_id=bob.id))
    as_bob = platform.subject("bob")
    site_id = platform.site.id
    lower = platform.projects.create(as_bob, site_id, "B", ProjectChanges(parent_id=upper.id))
    assert lower.owner_id == bob.id
    with pytest.raises(PermissionDeniedError):
        platform.projects.create(as_bob, site_id, "Top")
    with pytest.raises(PermissionDeniedError):
        platform.projects.update(as_bob, site_id, lower.id, ProjectChanges(parent_id=""))
    admins = create(platform, "C", lower.id)
    with platform.repository.transaction() as tx:
        row = content("c", site_id=site_id, project_id=admins.id, owner_id=platform.admin.id)
        resource = ownership.content_resource(tx, tx.contents.insert(row))
        assert resource == Resource(
            site_id, platform.admin.id, frozenset({bob.id, platform.admin.id})
        )
        assert is_allowed(as_bob, Action.TOGGLE_ENCRYPTION, resource)
        assert ownership.project_path(tx, "nosuch") == []
    platform.user("eve")
    eve = platform.subject("eve")
    for attempt in (
        lambda: platform.projects.delete(eve, site_id, lower.id),
        lambda: platform.projects.create(eve, site_id, "X", ProjectChanges(parent_id=upper.id)),
    ):
        with pytest.raises(PermissionDeniedError):
            attempt()
    assert platform.projects.page(eve, site_id).total == 4


def test_a_project_needs_an_owner(platform: Platform) -> None:
    with platform.repository.transaction() as tx:
        tx.users.update(platform.admin.id, is_server_admin=False)
    with pytest.raises(StateError, match="no server administrator"):
        create(platform, "A")
