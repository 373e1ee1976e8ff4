"""Users of a site. tabcmd never sends passwords here; programs may, and server administrators set them (clients.md 1.3)."""

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import required, text_of
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.people import (
    AUTH_SETTING,
    group_element,
    user_element,
    users_answer,
)
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.services.directory.users import UserChanges

_RENAMED = {"friendlyName": "full_name"}


def list_users(call: Call) -> Answer:
    """The users of the site."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window, _RENAMED)
    page = call.services.users.page_of_site(call.identity.subject, site.id, query)
    return users_answer(call.query, window, page.rows, page.total)


def get_user(call: Call) -> Answer:
    """A user, by id; every tabcmd command asks for the signed-in user."""
    site = own_site(call)
    found = call.services.users.get_on_site(call.identity.subject, site.id, call.path["user"])
    return Answer([user_element(found)])


def add_user(call: Call) -> Answer:
    """Give a user a role on the site; one that does not exist is created without a password."""
    site = own_site(call)
    sent = required(call.request(), "user")
    found = call.services.users.add_to_site(
        call.identity.subject, site.id, text_of(sent, "name"), text_of(sent, "siteRole")
    )
    return Answer([user_element(found)], 201)


def update_user(call: Call) -> Answer:
    """Another role on the site; another full name or password of the user itself."""
    site = own_site(call)
    sent = required(call.request(), "user")
    password = sent.get("password")
    changes = UserChanges(
        role=sent.get("siteRole") or None,
        full_name=sent.get("fullName") or None,
        password=SecretBytes(password.encode()) if password else None,
    )
    subject = call.identity.subject
    return Answer(
        [
            user_element(
                call.services.users.update_on_site(subject, site.id, call.path["user"], changes)
            )
        ]
    )


def remove_user(call: Call) -> Answer:
    """Take a user off the site; `mapAssetsTo` names who gets what it owns."""
    heir = call.query.get("mapAssetsTo", "")
    site = own_site(call)
    call.services.users.remove_from_site(
        call.identity.subject, site.id, call.path["user"], give_to=heir
    )
    return NO_CONTENT


def list_groups_of(call: Call) -> Answer:
    """The groups that a user is in."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window)
    subject = call.identity.subject
    page = call.services.groups.page_of_user(subject, site.id, call.path["user"], query)
    rows = [group_element(group) for group in page.rows]
    return Answer(page_of(call.query, window, page.total, ("groups", "group"), rows))


_EMAIL = as_it_is("it sends no mail to users and keeps no addresses")
_IDP = as_it_is("it has no identity provider")
_NEW_USER = Shape(
    {
        **read("name", "siteRole"),
        "authSetting": AUTH_SETTING,
        "email": _EMAIL,
        "idpConfigurationId": _IDP,
    }
)
_CHANGED_USER = Shape(
    {
        **read("fullName", "password", "siteRole"),
        "authSetting": AUTH_SETTING,
        "email": _EMAIL,
        "idpConfigurationId": _IDP,
    }
)

ROUTES = (
    Route("GET", "/sites/{site}/users", list_users, Noun.USER, query=LISTING),
    Route("POST", "/sites/{site}/users", add_user, Noun.USER, takes=request(user=_NEW_USER)),
    Route("GET", "/sites/{site}/users/{user}", get_user, Noun.USER),
    Route(
        "PUT",
        "/sites/{site}/users/{user}",
        update_user,
        Noun.USER,
        hashes=True,
        takes=request(user=_CHANGED_USER),
    ),
    Route(
        "DELETE",
        "/sites/{site}/users/{user}",
        remove_user,
        Noun.USER,
        query=read("mapAssetsTo"),
    ),
    Route("GET", "/sites/{site}/users/{user}/groups", list_groups_of, Noun.USER, query=LISTING),
)
