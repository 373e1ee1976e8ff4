"""Permissions and default permissions, as they follow from site roles and ownership; there is nothing to set (findings T5)."""

from functools import partial

from strongroom.doors.tableau import paging
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, element, listing
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Rules, read
from strongroom.extracts.model import ContentKind
from strongroom.services.content.standings import (
    EVERYBODY,
    Standings,
    UserStanding,
    Window,
    Within,
)

PAGES: Rules = read("pageNumber", "pageSize")
_GRANTEES = "granteeCapabilities"
# the kinds of things that a project of the original product can hold, and a project of this server cannot
_OTHERS = (
    "databases",
    "dataroles",
    "flows",
    "lenses",
    "metrics",
    "tables",
    "virtualConnections",
    "virtualconnections",
)


def of_content(kind: ContentKind, call: Call) -> Answer:
    """Of an item."""
    own_site(call)
    asked = _asked(call)
    found, standings = call.services.standings.of_content(
        call.identity, kind, call.path["item"], _window(asked)
    )
    owner = element("owner", {"id": found.row.owner_id})
    thing = element(kind, {"id": found.row.id, "name": found.row.name}, owner)
    return _answer(thing, standings, asked)


def in_project(what: Within, call: Call) -> Answer:
    """Of a project, or of what lies in it."""
    own_site(call)
    asked = _asked(call)
    project, standings = call.services.standings.in_project(
        call.identity, call.path["project"], what, _window(asked)
    )
    owner = element("owner", {"id": project.owner_id})
    thing = element("project", {"id": project.id, "name": project.name}, owner)
    return _answer(thing, standings, asked)


def _asked(call: Call) -> paging.Window | None:
    """The documented answer has no pages: it has them for whoever asks for some."""
    return paging.window_of(call.query) if call.query.keys() & PAGES.keys() else None


def _window(asked: paging.Window | None) -> Window:
    return EVERYBODY if asked is None else Window(asked.offset, asked.size)


def _answer(thing: Element, standings: Standings, asked: paging.Window | None) -> Answer:
    grantees = [_grantee(one) for one in standings.users]
    told = Element("permissions", {}, [thing, *grantees], lists=(_GRANTEES,))
    return Answer([told] if asked is None else [asked.element(standings.total), told])


def _grantee(standing: UserStanding) -> Element:
    capabilities = [
        element("capability", {"name": name, "mode": "Allow"}) for name in standing.capabilities
    ]
    return element(
        _GRANTEES,
        {},
        element("user", {"id": standing.user_id}),
        listing("capabilities", "capability", capabilities),
    )


_PROJECT = "/sites/{site}/projects/{project}"
_DEFAULTS = _PROJECT + "/default-permissions"

ROUTES = (
    *(
        Route(
            "GET",
            f"/sites/{{site}}/{kind}s/{{item}}/permissions",
            partial(of_content, kind),
            noun,
            query=PAGES,
        )
        for kind, noun in (
            (ContentKind.DATASOURCE, Noun.DATASOURCE),
            (ContentKind.WORKBOOK, Noun.WORKBOOK),
        )
    ),
    *(
        Route("GET", path, partial(in_project, what), Noun.PROJECT, query=PAGES)
        for path, what in (
            (_PROJECT + "/permissions", Within.PROJECT),
            *((f"{_DEFAULTS}/{kind}s", Within.CONTENT) for kind in ContentKind),
            *((f"{_DEFAULTS}/{word}", Within.NOTHING) for word in _OTHERS),
        )
    ),
)
