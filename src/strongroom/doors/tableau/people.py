"""Users and groups as answers show them."""

from collections.abc import Mapping, Sequence

from strongroom.doors.tableau.message import Element, element
from strongroom.doors.tableau.paging import Window, page_of
from strongroom.doors.tableau.routing import Answer
from strongroom.doors.tableau.shape import as_it_is
from strongroom.repository.rows import GroupRow
from strongroom.services.directory.users import SiteUser

AUTH_SETTING = as_it_is(
    "its users sign in with a password or an access token", "serverdefault", "local"
)
_LOCAL = {"name": "local"}


def users_answer(
    query: Mapping[str, str], window: Window, users: Sequence[SiteUser], total: int
) -> Answer:
    """A page of users."""
    rows = [user_element(user) for user in users]
    return Answer(page_of(query, window, total, ("users", "user"), rows))


def user_element(found: SiteUser) -> Element:
    """A user with its role; clients refuse roles that they do not know."""
    user = found.user
    return element(
        "user",
        {
            "id": user.id,
            "name": user.name,
            "fullName": user.full_name,
            "siteRole": found.role,
            "authSetting": "ServerDefault",
        },
        element("domain", _LOCAL),
    )


def group_element(group: GroupRow) -> Element:
    """A group; all are local ones."""
    return element("group", {"id": group.id, "name": group.name}, element("domain", _LOCAL))
