"""Users of a site. tabcmd never sends passwords here: they are set by our own commands (clients.md 1.3)."""

from collections.abc import Sequence

from strongroom.services.users import SiteUser
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.paging import Window, query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route
from strongroom.web.api.scope import own_site

_RENAMED = {"friendlyName": "full_name"}


def list_users(call: Call) -> Answer:
    """The users of the site."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window, _RENAMED)
    page = call.node.users.page_of_site(call.identity.subject, site.id, query)
    return users_answer(window, page.rows, page.total)


def get_user(call: Call) -> Answer:
    """One user; every tabcmd command asks for the signed-in one."""
    site = own_site(call)
    found = call.node.users.get_on_site(call.identity.subject, site.id, call.path["user"])
    return Answer([user_element(found)])


def add_user(call: Call) -> Answer:
    """Give a user a role on the site; one that does not exist is created without a password."""
    site = own_site(call)
    sent = xml.required(call.request(), "user")
    found = call.node.users.add_to_site(
        call.identity.subject, site.id, xml.text_of(sent, "name"), xml.text_of(sent, "siteRole")
    )
    return Answer([user_element(found)], 201)


def update_user(call: Call) -> Answer:
    """Another role on the site."""
    site = own_site(call)
    subject, user_id = call.identity.subject, call.path["user"]
    role = xml.required(call.request(), "user").get("siteRole")
    if role:
        found = call.node.users.set_role(subject, site.id, user_id, role)
    else:
        found = call.node.users.get_on_site(subject, site.id, user_id)
    return Answer([user_element(found)])


def remove_user(call: Call) -> Answer:
    """Take a user off the site; `mapAssetsTo` names who gets what it owns."""
    heir = call.query.get("mapAssetsTo", "")
    site = own_site(call)
    call.node.users.remove_from_site(
        call.identity.subject, site.id, call.path["user"], give_to=heir
    )
    return NO_CONTENT


def users_answer(window: Window, users: Sequence[SiteUser], total: int) -> Answer:
    """A page of users."""
    return Answer([window.element(total), xml.element("users", {}, *map(user_element, users))])


def user_element(found: SiteUser) -> xml.Element:
    """A user with its role; clients refuse roles that they do not know."""
    user = found.user
    return xml.element(
        "user",
        {
            "id": user.id,
            "name": user.name,
            "fullName": user.full_name,
            "siteRole": found.role,
            "authSetting": "ServerDefault",
        },
        xml.element("domain", {"name": "local"}),
    )


ROUTES = (
    Route("GET", "/sites/{site}/users", list_users, Noun.USER),
    Route("POST", "/sites/{site}/users", add_user, Noun.USER),
    Route("GET", "/sites/{site}/users/{user}", get_user, Noun.USER),
    Route("PUT", "/sites/{site}/users/{user}", update_user, Noun.USER),
    Route("DELETE", "/sites/{site}/users/{user}", remove_user, Noun.USER),
)
