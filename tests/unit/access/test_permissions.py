"""Roles and ownership in the cases that people ask about."""

import pytest

from strongroom.access import permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.errors import PermissionDeniedError

CONTENT = Resource("site", owner_id="bob", project_owner_ids={"pat"})


def subject(role: str, user_id: str = "eve", site_id: str = "site") -> Subject:
    return Subject("user:eve", user_id, site_id=site_id, site_role=role)


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (Subject.local("os:root"), True),
        (Subject("user:a", "a", is_server_admin=True), True),
        (subject("SiteAdministratorExplorer"), True),
        (subject("Viewer", "bob"), True),
        (subject("Explorer", "pat"), True),
        (subject("Creator"), False),
        (subject("Unlicensed", "bob"), False),
        (subject("ServerAdministrator"), False),
        (subject("SiteAdministratorCreator", site_id="other"), False),
    ],
    ids=["local", "server", "site", "owner", "leader", "creator", "none", "name", "elsewhere"],
)
def test_who_decides_on_the_encryption_of_an_extract(who: Subject, may: bool) -> None:
    """Q-18."""
    assert permissions.is_allowed(who, Action.TOGGLE_ENCRYPTION, CONTENT) is may


@pytest.mark.parametrize(
    ("role", "may"),
    [("Creator", True), ("ExplorerCanPublish", True), ("Explorer", False), ("Viewer", False)],
)
def test_who_publishes(role: str, may: bool) -> None:
    assert permissions.is_allowed(subject(role), Action.PUBLISH, Resource("site")) is may


def test_viewers_do_not_download() -> None:
    assert not permissions.is_allowed(subject("Viewer"), Action.DOWNLOAD_CONTENT, CONTENT)
    assert permissions.is_allowed(subject("Viewer", "bob"), Action.DOWNLOAD_CONTENT, CONTENT)
    assert permissions.is_allowed(subject("Interactor"), Action.DOWNLOAD_CONTENT, CONTENT)


def test_a_refusal_says_what_was_refused() -> None:
    with pytest.raises(PermissionDeniedError, match="user:eve may not encrypt, decrypt") as caught:
        permissions.check(subject("Creator"), Action.ENCRYPT_SITE, Resource("site"))
    assert "administrator" in caught.value.hint
