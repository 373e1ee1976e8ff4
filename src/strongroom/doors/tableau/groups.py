"""Groups of a site's users."""

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, listing, required, text_of
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.people import group_element, user_element, users_answer
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request


def list_groups(call: Call) -> Answer:
    """The groups of the site."""
    site, window = own_site(call), window_of(call.query)
    page = call.services.groups.page(call.identity.subject, site.id, query_of(call.query, window))
    rows = [group_element(group) for group in page.rows]
    return Answer(page_of(call.query, window, page.total, ("groups", "group"), rows))


def create_group(call: Call) -> Answer:
    """A new local group."""
    site = own_site(call)
    name = text_of(required(call.request(), "group"), "name")
    group = call.services.groups.create(call.identity.subject, site.id, name)
    return Answer([group_element(group)], 201)


def update_group(call: Call) -> Answer:
    """Another name."""
    site = own_site(call)
    name = text_of(required(call.request(), "group"), "name")
    subject = call.identity.subject
    group = call.services.groups.rename(subject, site.id, call.path["group"], name)
    return Answer([group_element(group)])


def delete_group(call: Call) -> Answer:
    """Delete a group; the members stay users."""
    site = own_site(call)
    call.services.groups.delete(call.identity.subject, site.id, call.path["group"])
    return NO_CONTENT


def list_members(call: Call) -> Answer:
    """The users of a group."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window)
    page = call.services.groups.members(call.identity.subject, site.id, call.path["group"], query)
    return users_answer(call.query, window, page.rows, page.total)


def add_members(call: Call) -> Answer:
    """Add a user to a group, or several users, all or none (3.21)."""
    site = own_site(call)
    sent = call.request()
    many = sent.find("users")
    ids = _ids(many) if many is not None else [text_of(required(sent, "user"), "id")]
    subject = call.identity.subject
    members = call.services.groups.add_users(subject, site.id, call.path["group"], ids)
    if many is None:
        return Answer([user_element(members[0])])
    return Answer([listing("users", "user", [user_element(one) for one in members])])


def remove_members(call: Call) -> Answer:
    """Several users leave a group, all or none (3.21)."""
    site = own_site(call)
    ids = _ids(required(call.request(), "users"))
    call.services.groups.remove_users(call.identity.subject, site.id, call.path["group"], ids)
    return NO_CONTENT


def remove_member(call: Call) -> Answer:
    """A user leaves a group."""
    site = own_site(call)
    call.services.groups.remove_users(
        call.identity.subject, site.id, call.path["group"], [call.path["user"]]
    )
    return NO_CONTENT


def _ids(users: Element) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(text_of(user, "id") for user in users.all("user")))


_GROUP = request(
    group=Shape(
        {
            **read("name"),
            "minimumSiteRole": as_it_is("roles are given to users one by one", "unlicensed"),
            "ephemeralUsersEnabled": as_it_is("every user of it is kept", "false"),
        }
    )
)
_USER = Shape(read("id"))
_USERS = Shape(children={"user": _USER})
_AS_JOB = {"asJob": as_it_is("a group is made at once", "false")}

ROUTES = (
    Route("GET", "/sites/{site}/groups", list_groups, Noun.GROUP, query=LISTING),
    Route("POST", "/sites/{site}/groups", create_group, Noun.GROUP, takes=_GROUP, query=_AS_JOB),
    Route(
        "PUT", "/sites/{site}/groups/{group}", update_group, Noun.GROUP, takes=_GROUP, query=_AS_JOB
    ),
    Route("DELETE", "/sites/{site}/groups/{group}", delete_group, Noun.GROUP),
    Route("GET", "/sites/{site}/groups/{group}/users", list_members, Noun.GROUP, query=LISTING),
    Route(
        "POST",
        "/sites/{site}/groups/{group}/users",
        add_members,
        Noun.GROUP,
        takes=request(user=_USER, users=_USERS),
    ),
    Route(
        "PUT",
        "/sites/{site}/groups/{group}/users/remove",
        remove_members,
        Noun.GROUP,
        takes=request(users=_USERS),
    ),
    Route("DELETE", "/sites/{site}/groups/{group}/users/{user}", remove_member, Noun.GROUP),
)
