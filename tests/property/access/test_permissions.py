"""The policy table as laws: what holds for every action, subject and resource."""

from hypothesis import given
from hypothesis import strategies as st

from strongroom.access import permissions
from strongroom.access.permissions import POLICY, SITE_ROLES, Action, Resource, Standing, Subject

IDS = st.sampled_from(["", "alice", "bob"])
SITES = st.sampled_from(["", "one", "two"])
SUBJECTS = st.builds(
    Subject,
    actor=st.just("user:x"),
    user_id=IDS,
    is_server_admin=st.booleans(),
    site_id=SITES,
    site_role=st.sampled_from([*sorted(SITE_ROLES), "Nonsense"]),
)
RESOURCES = st.builds(Resource, site_id=SITES, owner_id=IDS, project_owner_ids=st.frozensets(IDS))
ACTIONS = st.sampled_from(list(Action))


def test_every_action_has_a_policy() -> None:
    assert set(POLICY) == set(Action)
    assert all(POLICY.values())


@given(SUBJECTS, ACTIONS, RESOURCES)
def test_server_administrators_may_do_everything(
    subject: Subject, action: Action, resource: Resource
) -> None:
    if subject.is_server_admin:
        assert permissions.is_allowed(subject, action, resource)


@given(SUBJECTS, ACTIONS, RESOURCES)
def test_nobody_else_may_do_anything_on_another_site(
    subject: Subject, action: Action, resource: Resource
) -> None:
    if not subject.is_server_admin and resource.site_id not in {"", subject.site_id}:
        assert not permissions.is_allowed(subject, action, resource)


@given(SUBJECTS, ACTIONS, RESOURCES)
def test_without_a_licence_nothing_is_allowed(
    subject: Subject, action: Action, resource: Resource
) -> None:
    unlicensed = {"Unlicensed", "UnlicensedWithPublish", "Nonsense", "ServerAdministrator"}
    if not subject.is_server_admin and subject.site_role in unlicensed:
        assert not permissions.is_allowed(subject, action, resource)


@given(SUBJECTS, RESOURCES)
def test_sites_are_encrypted_by_server_administrators_only(
    subject: Subject, resource: Resource
) -> None:
    """E-14, E-01."""
    for action in (Action.ENCRYPT_SITE, Action.SET_SITE_MODE, Action.CREATE_SITE):
        assert permissions.is_allowed(subject, action, resource) == subject.is_server_admin


@given(SUBJECTS, RESOURCES)
def test_who_may_toggle(subject: Subject, resource: Resource) -> None:
    """Q-18: owner, project leader, site administrator, server administrator."""
    standings = permissions.standings(subject, resource)
    expected = {
        Standing.OWNER,
        Standing.PROJECT_OWNER,
        Standing.SITE_ADMIN,
        Standing.SERVER_ADMIN,
    }
    allowed = permissions.is_allowed(subject, Action.TOGGLE_ENCRYPTION, resource)
    assert allowed == bool(standings & expected)


@given(SUBJECTS, RESOURCES)
def test_nobody_without_an_id_owns_anything(subject: Subject, resource: Resource) -> None:
    """A subject without an id must not match a resource without an owner."""
    if not subject.user_id:
        found = permissions.standings(subject, resource)
        assert not found & {Standing.OWNER, Standing.PROJECT_OWNER}


@given(SUBJECTS, RESOURCES)
def test_who_may_change_may_also_see(subject: Subject, resource: Resource) -> None:
    for strong, weak in (
        (Action.UPDATE_CONTENT, Action.DOWNLOAD_CONTENT),
        (Action.DOWNLOAD_CONTENT, Action.LIST_CONTENT),
        (Action.MANAGE_SITE_USERS, Action.LIST_USERS),
    ):
        if permissions.is_allowed(subject, strong, resource):
            assert permissions.is_allowed(subject, weak, resource)
