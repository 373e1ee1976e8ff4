"""Groups of a site's users."""

from strongroom.repository.rows import GroupRow
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.paging import query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route
from strongroom.web.api.scope import own_site
from strongroom.web.api.users import user_element, users_answer


def list_groups(call: Call) -> Answer:
    """The groups of the site."""
    site, window = own_site(call), window_of(call.query)
    page = call.node.groups.page(call.identity.subject, site.id, query_of(call.query, window))
    groups = xml.element("groups", {}, *map(_element, page.rows))
    return Answer([window.element(page.total), groups])


def create_group(call: Call) -> Answer:
    """A new local group."""
    site = own_site(call)
    name = xml.text_of(xml.required(call.request(), "group"), "name")
    return Answer([_element(call.node.groups.create(call.identity.subject, site.id, name))], 201)


def update_group(call: Call) -> Answer:
    """Another name."""
    site = own_site(call)
    name = xml.text_of(xml.required(call.request(), "group"), "name")
    subject = call.identity.subject
    return Answer([_element(call.node.groups.rename(subject, site.id, call.path["group"], name))])


def delete_group(call: Call) -> Answer:
    """Its members stay users."""
    site = own_site(call)
    call.node.groups.delete(call.identity.subject, site.id, call.path["group"])
    return NO_CONTENT


def list_members(call: Call) -> Answer:
    """The users of a group."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window)
    page = call.node.groups.members(call.identity.subject, site.id, call.path["group"], query)
    return users_answer(window, page.rows, page.total)


def add_member(call: Call) -> Answer:
    """A user joins a group."""
    site = own_site(call)
    user_id = xml.text_of(xml.required(call.request(), "user"), "id")
    subject = call.identity.subject
    found = call.node.groups.add_user(subject, site.id, call.path["group"], user_id)
    return Answer([user_element(found)])


def remove_member(call: Call) -> Answer:
    """A user leaves a group."""
    site = own_site(call)
    call.node.groups.remove_user(
        call.identity.subject, site.id, call.path["group"], call.path["user"]
    )
    return NO_CONTENT


def _element(group: GroupRow) -> xml.Element:
    return xml.element(
        "group", {"id": group.id, "name": group.name}, xml.element("domain", {"name": "local"})
    )


ROUTES = (
    Route("GET", "/sites/{site}/groups", list_groups, Noun.GROUP),
    Route("POST", "/sites/{site}/groups", create_group, Noun.GROUP),
    Route("PUT", "/sites/{site}/groups/{group}", update_group, Noun.GROUP),
    Route("DELETE", "/sites/{site}/groups/{group}", delete_group, Noun.GROUP),
    Route("GET", "/sites/{site}/groups/{group}/users", list_members, Noun.GROUP),
    Route("POST", "/sites/{site}/groups/{group}/users", add_member, Noun.GROUP),
    Route("DELETE", "/sites/{site}/groups/{group}/users/{user}", remove_member, Noun.GROUP),
)
