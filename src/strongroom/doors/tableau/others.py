"""Lists of what the public API has and this server does not keep: always empty, whoever asks (findings T5)."""

from functools import partial

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Rules, as_it_is
from strongroom.extracts.model import ContentKind

# path below a site, the list's name, the name of its rows
_OF_SITE = (
    ("collections", "collections", "collection"),
    ("customviews", "customViews", "customView"),
    ("dataAlerts", "dataAlerts", "dataAlert"),
    ("databases", "databases", "database"),
    ("flows", "flows", "flow"),
    ("flows/runs", "flowRuns", "flowRuns"),
    ("groupsets", "groupSets", "groupSet"),
    ("labelValues", "labelValueList", "labelValue"),
    ("metrics", "metrics", "metric"),
    ("schedules", "schedules", "schedule"),
    ("subscriptions", "subscriptions", "subscription"),
    ("tables", "tables", "table"),
    ("tasks/dataAcceleration", "tasks", "task"),
    ("tasks/extractRefreshes", "tasks", "task"),
    ("tasks/linked", "linkedTasks", "linkedTasks"),
    ("tasks/runFlow", "tasks", "task"),
    ("views", "views", "view"),
    ("virtualconnections", "virtualConnections", "virtualConnection"),
    ("webhooks", "webhooks", "webhook"),
)
_USAGE: Rules = {"includeUsageStatistics": as_it_is("it counts no views", "false", "true")}
_QUERY: Rules = {**LISTING, **_USAGE}


def empty_list(names: tuple[str, str], call: Call) -> Answer:
    """A list of what is not kept here."""
    own_site(call)
    return _empty(names, call)


def empty_list_of_server(names: tuple[str, str], call: Call) -> Answer:
    """Likewise, of the whole server."""
    return _empty(names, call)


def favorites(call: Call) -> Answer:
    """A user's favourites: it has none."""
    site = own_site(call)
    call.services.users.get_on_site(call.identity.subject, site.id, call.path["user"])
    return _empty(("favorites", "favorite"), call)


def of_item(kind: ContentKind, names: tuple[str, str], call: Call) -> Answer:
    """Something that an item could have."""
    own_site(call)
    call.services.content.get(call.identity, kind, call.path["item"])
    return _empty(names, call)


def _empty(names: tuple[str, str], call: Call) -> Answer:
    window = window_of(call.query)
    query_of(call.query, window)  # malformed parameters are refused here as everywhere
    return Answer(page_of(call.query, window, 0, names, []))


def _item_route(kind: ContentKind, noun: Noun, path: str, names: tuple[str, str]) -> Route:
    whole = f"/sites/{{site}}/{kind}s/{{item}}/{path}"
    return Route("GET", whole, partial(of_item, kind, names), noun, query=_QUERY)


ROUTES = (
    Route(
        "GET", "/schedules", partial(empty_list_of_server, ("schedules", "schedule")), query=_QUERY
    ),
    Route("GET", "/sites/{site}/favorites/{user}", favorites, Noun.USER, query=_QUERY),
    _item_route(ContentKind.WORKBOOK, Noun.WORKBOOK, "views", ("views", "view")),
    _item_route(ContentKind.WORKBOOK, Noun.WORKBOOK, "revisions", ("revisions", "revision")),
    _item_route(ContentKind.DATASOURCE, Noun.DATASOURCE, "revisions", ("revisions", "revision")),
    *(
        Route("GET", f"/sites/{{site}}/{path}", partial(empty_list, (name, row)), query=_QUERY)
        for path, name, row in _OF_SITE
    ),
)
