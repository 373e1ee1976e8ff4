"""Answers for the parts of the public API that this server does not have (findings T5, T7).

strongroom stores and encrypts published files, and is no copy of the whole product. For things that it does not store,
a list is empty and a change is refused, and the refusal names the thing.
"""

import re

from strongroom.doors.tableau.errors import Fault, Noun

# collections of the public API, by the part of the path that names them, and what they are called
COLLECTIONS = {
    "collections": "collections",
    "customviews": "custom views",
    "dashboards": "dashboards",
    "dataAlerts": "data-driven alerts",
    "dataaccelerationreport": "data acceleration",
    "dataQualityWarnings": "data quality warnings",
    "databases": "databases",
    "dqw": "data quality warnings",
    "extensions": "extensions",
    "favorites": "favorites",
    "flows": "flows",
    "groupsets": "group sets",
    "labelCategories": "label categories",
    "labelValues": "label values",
    "labels": "labels",
    "linkedTasks": "linked tasks",
    "metrics": "metrics",
    "notifications": "notifications",
    "oauth-clients": "OAuth clients",
    "orderedfavorites": "favorites",
    "revisions": "revisions",
    "schedules": "schedules",
    "settings": "settings",
    "subscriptions": "subscriptions",
    "tables": "tables",
    "tasks": "tasks",
    "views": "views",
    "virtualConnections": "virtual connections",
    "webhooks": "webhooks",
}
_WHY = "strongroom keeps published data sources and workbooks and encrypts their extracts"
_API = re.compile(r"/api/[^/]{1,20}/")
_SHOWN = 120  # letters of a path in a sentence


def no_such_route(path: str) -> Fault:
    """The answer to a path that is none."""
    thing = _thing_of(path)
    if thing:
        detail = f"{thing} are not offered by this server: {_WHY}"
    elif _API.match(path):
        detail = f"there is no {_shown(path)} in the API of this server: {_WHY}"
    else:
        detail = f"there is no {_shown(path)} on this server; its API lies below /api/3.26/"
    return Fault(404, Noun.NOTHING.missing_code, detail)


def no_such_method(method: str, path: str) -> Fault:
    """The answer to a method that a path does not have."""
    thing = _thing_of(path)
    word = method if method.isalpha() and len(method) <= 10 else "this method"
    if path.endswith("/permissions") or "/default-permissions/" in path:
        detail = (
            "permissions cannot be set on this server: they follow from site roles and ownership"
            " (change the role of a user, or the owner of a project or item)"
        )
    elif thing:
        detail = f"{thing} cannot be made or changed on this server: {_WHY}"
    else:
        detail = f"{word} is not offered for {_shown(path)}"
    return Fault(405, "405000", detail)


def _thing_of(path: str) -> str:
    found = [COLLECTIONS[part] for part in path.split("/") if part in COLLECTIONS]
    return found[-1] if found else ""


def _shown(path: str) -> str:
    return repr(path[:_SHOWN])
