"""Users, roles, groups and access tokens."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from strongroom.access.permissions import Subject
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
)
from strongroom.repository.rows import Filter, Query
from strongroom.services.directory import first_rows
from strongroom.services.directory.sites import SiteChanges
from strongroom.services.directory.users import UserChanges
from tests.contract.services.conftest import LOCAL, PASSWORD, Platform

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = Query(sort=(("name", False),))


def test_the_first_rows_are_there_once(platform: Platform) -> None:
    before = platform.event_ids()
    assert before == ["USER_CREATED", "SITE_CREATED"]
    again = first_rows.create_platform(
        platform.repository,
        platform.events,
        platform.clock,
        "os:root",
        admin_name="ADMIN",
        admin_password=PASSWORD,
    )
    assert (again.site, again.administrator) == (platform.site, platform.admin)
    assert platform.event_ids() == before


def test_a_user_signs_in_with_its_password(platform: Platform) -> None:
    user = platform.users.create(LOCAL, " Bob ", password=PASSWORD, full_name="Bob B.")
    assert (user.name, user.full_name) == ("Bob", "Bob B.")
    assert user.password_hash is not None
    assert PASSWORD.reveal().decode() not in user.password_hash
    platform.users.add_to_site(LOCAL, platform.site.id, "BOB", "creator")
    assert platform.sign_in("bob")[1].role == "Creator"
    assert platform.event_ids()[-3:] == ["USER_CREATED", "USER_ROLE_CHANGED", "SIGNED_IN"]


def test_users_that_are_refused(platform: Platform) -> None:
    with pytest.raises(ConflictError, match="'ADMIN'"):
        platform.users.create(LOCAL, "ADMIN")
    with pytest.raises(UsageError):
        platform.users.create(LOCAL, "a\0")
    with pytest.raises(UsageError, match="shorter"):
        platform.users.create(LOCAL, "bob", password=SecretBytes(b"short"))


def test_who_is_added_to_a_site_exists_then(platform: Platform) -> None:
    """clients.md section 1.3: createsiteusers sends names and roles only."""
    added = platform.users.add_to_site(LOCAL, platform.site.id, "carol", "Viewer")
    assert added.user.password_hash is None
    assert added.role == "Viewer"
    with pytest.raises(ConflictError, match="already"):
        platform.users.add_to_site(LOCAL, platform.site.id, "CAROL", "Viewer")
    with pytest.raises(UsageError, match="unknown site role"):
        platform.users.add_to_site(LOCAL, platform.site.id, "dave", "King")
    with pytest.raises(NotFoundError):
        platform.users.find("dave")


def test_the_quota_of_users_holds(platform: Platform) -> None:
    site = platform.sites.create(LOCAL, "Small", SiteChanges(user_quota=1))
    platform.users.add_to_site(LOCAL, site.id, "one", "Viewer")
    with pytest.raises(StateError, match="quota"):
        platform.users.add_to_site(LOCAL, site.id, "two", "Viewer")


def test_server_administrators_are_users_of_every_site(platform: Platform) -> None:
    """clients.md section 1.2."""
    site = platform.sites.create(LOCAL, "New")
    admin = platform.users.get_on_site(LOCAL, site.id, platform.admin.id)
    assert admin.role == "ServerAdministrator"
    bob = platform.user("bob", "Explorer")
    page = platform.users.page_of_site(LOCAL, platform.site.id, ALL)
    assert [(one.user.name, one.role) for one in page.rows] == [
        ("Admin", "ServerAdministrator"),
        ("bob", "Explorer"),
    ]
    named = Query(filters=(Filter("name", "eq", ("BOB",)),))
    assert platform.users.page_of_site(LOCAL, platform.site.id, named).total == 1
    with pytest.raises(NotFoundError):
        platform.users.get_on_site(LOCAL, site.id, bob.id)
    with pytest.raises(NotFoundError):
        platform.users.get_on_site(LOCAL, site.id, "nosuch")


def test_users_are_found_as_people_name_them(platform: Platform) -> None:
    assert platform.users.find("ADMIN") == platform.users.find(platform.admin.id)
    with pytest.raises(NotFoundError) as caught:
        platform.users.find("admni")
    assert caught.value.hint == "did you mean 'Admin'?"


def test_server_administrators_are_made_and_unmade(platform: Platform) -> None:
    bob = platform.user("bob", "Viewer")
    site_id = platform.site.id
    assert platform.users.update_on_site(
        LOCAL, site_id, bob.id, UserChanges("serveradministrator")
    ).role
    assert platform.users.find("bob").is_server_admin
    assert platform.users.give_role(LOCAL, site_id, bob.id, "ServerAdministrator").role
    assert (
        platform.users.update_on_site(LOCAL, site_id, bob.id, UserChanges("Creator")).role
        == "Creator"
    )
    assert not platform.users.find("bob").is_server_admin
    with pytest.raises(StateError, match="last server administrator"):
        platform.users.update_on_site(LOCAL, site_id, platform.admin.id, UserChanges("Viewer"))
    with pytest.raises(StateError, match="last server administrator"):
        platform.users.delete(LOCAL, platform.admin.id)


def test_a_role_may_be_given_to_whoever_has_none(platform: Platform) -> None:
    user = platform.users.create(LOCAL, "bob", password=PASSWORD)
    with pytest.raises(NotFoundError):
        platform.users.update_on_site(LOCAL, platform.site.id, user.id, UserChanges("Viewer"))
    assert platform.users.give_role(LOCAL, platform.site.id, user.id, "Viewer").role == "Viewer"


def test_site_administrators_make_no_server_administrators(platform: Platform) -> None:
    platform.user("sally", "SiteAdministratorExplorer")
    bob = platform.user("bob")
    sally = platform.subject("sally")
    assert (
        platform.users.update_on_site(sally, platform.site.id, bob.id, UserChanges("Viewer")).role
        == "Viewer"
    )
    forbidden: list[Callable[[], object]] = [
        lambda: platform.users.update_on_site(
            sally, platform.site.id, bob.id, UserChanges("ServerAdministrator")
        ),
        lambda: platform.users.add_to_site(sally, platform.site.id, "x", "ServerAdministrator"),
        lambda: platform.users.update_on_site(
            sally, platform.site.id, platform.admin.id, UserChanges("Viewer")
        ),
        lambda: platform.users.give_role(sally, platform.site.id, bob.id, "Viewer"),
        lambda: platform.users.set_password(sally, bob.id, PASSWORD),
        lambda: platform.users.create(sally, "x"),
        lambda: platform.users.delete(sally, bob.id),
        lambda: platform.users.page(sally),
    ]
    for attempt in forbidden:
        with pytest.raises(PermissionDeniedError):
            attempt()
    with pytest.raises(NotFoundError):
        platform.users.find("x")


def test_a_new_password_ends_sessions_and_pauses(platform: Platform) -> None:
    user = platform.user("bob")
    token, _ = platform.sign_in("bob")
    for _ in range(6):
        with pytest.raises(AuthenticationError):
            platform.auth.sign_in("bob", SecretBytes(b"wrong password"), "")
    new = SecretBytes(b"another password")
    platform.users.set_password(LOCAL, user.id, new)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
    platform.auth.sign_in("bob", new, "")
    with pytest.raises(UsageError):
        platform.users.set_password(LOCAL, user.id, SecretBytes(b"short"))
    with pytest.raises(NotFoundError):
        platform.users.set_password(LOCAL, "nosuch", new)


def test_a_user_leaves_a_site_without_what_it_owned(platform: Platform) -> None:
    user = platform.user("bob", "SiteAdministratorCreator")
    token, identity = platform.sign_in("bob")
    site_id = platform.site.id
    project = platform.projects.create(identity.subject, site_id, "Bob's")
    with pytest.raises(ConflictError, match="owns 1"):
        platform.users.remove_from_site(LOCAL, site_id, user.id)
    with pytest.raises(UsageError):
        platform.users.remove_from_site(LOCAL, site_id, user.id, give_to=user.id)
    platform.users.remove_from_site(LOCAL, site_id, user.id, give_to=platform.admin.id)
    with platform.repository.reading() as tx:
        assert tx.projects.get(project.id).owner_id == platform.admin.id
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
    with pytest.raises(NotFoundError):
        platform.users.remove_from_site(LOCAL, site_id, user.id)
    with pytest.raises(StateError, match="every site"):
        platform.users.remove_from_site(LOCAL, site_id, platform.admin.id)


def test_a_deleted_user_leaves_nothing_open(platform: Platform) -> None:
    user = platform.user("bob")
    _, secret = platform.tokens.create(LOCAL, user.id, "CI")
    token, identity = platform.sign_in("bob")
    platform.users.delete(LOCAL, user.id)
    with pytest.raises(AuthenticationError):
        platform.auth.identify(token)
    with pytest.raises(AuthenticationError):
        platform.auth.sign_in_with_token("CI", secret, "")
    with pytest.raises(AuthenticationError):
        platform.sign_in("bob")
    assert "USER_DELETED" in platform.event_ids()
    admin = platform.subject("admin")
    platform.user("second", "ServerAdministrator")
    with pytest.raises(StateError, match="itself"):
        platform.users.delete(admin, platform.admin.id)
    assert identity.user.name == "bob"


def test_tokens_belong_to_their_users(platform: Platform) -> None:
    bob, eve = platform.user("bob"), platform.user("eve")
    as_bob = platform.subject("bob")
    token, _ = platform.tokens.create(as_bob, bob.id, "mine")
    assert platform.tokens.list(as_bob, bob.id) == [token]
    assert platform.tokens.list(LOCAL) == [token]
    as_eve = platform.subject("eve")
    forbidden: list[Callable[[], object]] = [
        lambda: platform.tokens.create(as_bob, eve.id, "x"),
        lambda: platform.tokens.list(as_eve, bob.id),
        lambda: platform.tokens.list(as_eve),
        lambda: platform.tokens.revoke(as_eve, token.id),
        lambda: platform.tokens.revoke(as_eve, "nosuch"),
    ]
    for attempt in forbidden:
        with pytest.raises(PermissionDeniedError):
            attempt()
    platform.tokens.revoke(as_bob, token.id)
    with pytest.raises(NotFoundError):
        platform.tokens.revoke(LOCAL, token.id)
    assert platform.event_ids().count("TOKEN_REVOKED") == 1


def test_tokens_that_are_refused(platform: Platform) -> None:
    platform.tokens.create(LOCAL, platform.admin.id, "CI")
    with pytest.raises(ConflictError):
        platform.tokens.create(LOCAL, platform.admin.id, "ci")
    with pytest.raises(UsageError):
        platform.tokens.create(LOCAL, platform.admin.id, "x", lifetime=timedelta())
    with pytest.raises(UsageError):
        platform.tokens.create(LOCAL, platform.admin.id, " ")
    with pytest.raises(NotFoundError):
        platform.tokens.create(LOCAL, "nosuch", "x")


def test_groups(platform: Platform) -> None:
    bob = platform.user("bob", "Viewer")
    site_id = platform.site.id
    group = platform.groups.create(LOCAL, site_id, "Finance")
    with pytest.raises(ConflictError):
        platform.groups.create(LOCAL, site_id, "FINANCE")
    assert platform.groups.rename(LOCAL, site_id, group.id, "Money").name == "Money"
    assert platform.groups.page(LOCAL, site_id).total == 1
    assert platform.groups.add_users(LOCAL, site_id, group.id, [bob.id])[0].role == "Viewer"
    with pytest.raises(ConflictError, match="already"):
        platform.groups.add_users(LOCAL, site_id, group.id, [bob.id])
    members = platform.groups.members(LOCAL, site_id, group.id, ALL)
    assert [(one.user.name, one.role) for one in members.rows] == [("bob", "Viewer")]
    platform.groups.remove_users(LOCAL, site_id, group.id, [bob.id])
    with pytest.raises(NotFoundError):
        platform.groups.remove_users(LOCAL, site_id, group.id, [bob.id])
    with pytest.raises(NotFoundError):
        platform.groups.add_users(LOCAL, site_id, group.id, ["nosuch"])
    platform.groups.delete(LOCAL, site_id, group.id)
    with pytest.raises(NotFoundError):
        platform.groups.delete(LOCAL, site_id, group.id)


def test_groups_of_another_site_are_not_there(platform: Platform) -> None:
    other = platform.sites.create(LOCAL, "Other")
    group = platform.groups.create(LOCAL, other.id, "Theirs")
    platform.user("sally", "SiteAdministratorCreator")
    sally = platform.subject("sally")
    with pytest.raises(NotFoundError):
        platform.groups.delete(sally, platform.site.id, group.id)
    with pytest.raises(PermissionDeniedError):
        platform.groups.delete(sally, other.id, group.id)
    with pytest.raises(PermissionDeniedError):
        platform.groups.create(Subject("user:x"), platform.site.id, "x")
