"""Who may call what: every route of the table × role × own or other site, against one expectation (security tests S11).

The expectation is written down here a second time, by hand, from requirements E-01, E-14 and Q-18: a new route without a row
fails, and so does a change of the policy that nobody wanted. Nothing is sent that could do anything: what passes the check
fails later, for want of a body or of the thing, so one server serves all cases. 401 and 403 are the answer of the policy;
that a thing of another site is unknown (404) is one too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.table import ROUTES
from strongroom.jobs.model import JobKind
from strongroom.node import create
from strongroom.repository.rows import SiteMode
from strongroom.services.directory.sites import SiteChanges
from tests.support.web_client import (
    ADMIN,
    BOUNDARY,
    LOCAL,
    PASSWORD,
    Client,
    Served,
    multipart,
    serve,
)

pytestmark = pytest.mark.table

SERVER, SITE_ADMIN, PUBLISHER, EXPLORER, VIEWER = (
    "server",
    "site",
    "publisher",
    "explorer",
    "viewer",
)
ROLES = {
    SITE_ADMIN: "SiteAdministratorCreator",
    PUBLISHER: "Creator",
    EXPLORER: "Explorer",
    VIEWER: "Viewer",
}
ALL = {SERVER, SITE_ADMIN, PUBLISHER, EXPLORER, VIEWER}
ADMINS = {SERVER, SITE_ADMIN}
PUBLISHERS = ADMINS | {PUBLISHER}
EXPLORERS = PUBLISHERS | {EXPLORER}
ITEM_OF = {"datasources": "datasource", "workbooks": "workbook"}

DEFAULTS = (
    *ITEM_OF,
    *("databases", "dataroles", "flows", "lenses", "metrics", "tables"),
    *("virtualConnections", "virtualconnections"),
)
# of what is not kept here: empty, and nothing that anybody could see there
EMPTY_LISTS = (
    *("collections", "customviews", "dataAlerts", "databases", "flows", "flows/runs"),
    *("groupsets", "labelValues", "metrics", "schedules", "subscriptions", "tables"),
    *("tasks/dataAcceleration", "tasks/extractRefreshes", "tasks/linked", "tasks/runFlow"),
    *("views", "virtualconnections", "webhooks"),
)

# who may, of those that own nothing: administrators, else nobody but an owner
SITE_ROUTES = {
    "GET /sites": ALL,
    "POST /sites": {SERVER},
    "GET /sites/{site}": ALL,
    "PUT /sites/{site}": ADMINS,
    "DELETE /sites/{site}": {SERVER},
    "POST /sites/{site}/encrypt-extracts": {SERVER},
    "POST /sites/{site}/decrypt-extracts": {SERVER},
    "POST /sites/{site}/reencrypt-extracts": {SERVER},
    "GET /sites/{site}/users": ALL,
    "POST /sites/{site}/users": ADMINS,
    "GET /sites/{site}/users/{user}": ALL,
    "PUT /sites/{site}/users/{user}": ADMINS,
    "DELETE /sites/{site}/users/{user}": ADMINS,
    "GET /sites/{site}/groups": ALL,
    "POST /sites/{site}/groups": ADMINS,
    "PUT /sites/{site}/groups/{group}": ADMINS,
    "DELETE /sites/{site}/groups/{group}": ADMINS,
    "GET /sites/{site}/groups/{group}/users": ALL,
    "POST /sites/{site}/groups/{group}/users": ADMINS,
    "PUT /sites/{site}/groups/{group}/users/remove": ADMINS,
    "DELETE /sites/{site}/groups/{group}/users/{user}": ADMINS,
    "GET /sites/{site}/users/{user}/groups": ALL,
    "GET /sites/{site}/favorites/{user}": ALL,
    "GET /sites/{site}/projects": ALL,
    "POST /sites/{site}/projects": ADMINS,
    "GET /sites/{site}/projects/{project}": ALL,
    "PUT /sites/{site}/projects/{project}": ADMINS,
    "DELETE /sites/{site}/projects/{project}": ADMINS,
    **{
        f"GET /sites/{{site}}/projects/{{project}}/{path}": ADMINS
        for path in ("permissions", *(f"default-permissions/{word}" for word in DEFAULTS))
    },
    "PUT /sites/{site}/tags:batchCreate": ADMINS,
    "PUT /sites/{site}/tags:batchDelete": ADMINS,
    **{
        call: who
        for kind in ITEM_OF
        for call, who in {
            f"GET /sites/{{site}}/{kind}": ALL,
            f"POST /sites/{{site}}/{kind}": PUBLISHERS,
            f"GET /sites/{{site}}/{kind}/{{item}}": ALL,
            f"PUT /sites/{{site}}/{kind}/{{item}}": ADMINS,
            f"DELETE /sites/{{site}}/{kind}/{{item}}": ADMINS,
            f"GET /sites/{{site}}/{kind}/{{item}}/content": EXPLORERS,
            f"POST /sites/{{site}}/{kind}/{{item}}/createExtract": ADMINS,
            f"POST /sites/{{site}}/{kind}/{{item}}/deleteExtract": ADMINS,
            f"POST /sites/{{site}}/{kind}/{{item}}/refresh": ADMINS,
            f"GET /sites/{{site}}/{kind}/{{item}}/connections": ALL,
            f"PUT /sites/{{site}}/{kind}/{{item}}/connections": ADMINS,
            f"PUT /sites/{{site}}/{kind}/{{item}}/connections/{{connection}}": ADMINS,
            f"GET /sites/{{site}}/{kind}/{{item}}/permissions": ADMINS,
            f"GET /sites/{{site}}/{kind}/{{item}}/revisions": ALL,
            f"PUT /sites/{{site}}/{kind}/{{item}}/tags": ADMINS,
            f"DELETE /sites/{{site}}/{kind}/{{item}}/tags/{{tag}}": ADMINS,
            f"GET /sites/{{site}}/users/{{user}}/{kind}": ALL,
        }.items()
    },
    "GET /sites/{site}/workbooks/{item}/views": ALL,
    **{f"GET /sites/{{site}}/{path}": ALL for path in EMPTY_LISTS},
    "POST /sites/{site}/fileUploads": PUBLISHERS,
    "PUT /sites/{site}/fileUploads/{upload}": PUBLISHERS,  # and of these who began it
    "GET /sites/{site}/jobs": ADMINS,
    "GET /sites/{site}/jobs/{job}": ADMINS,
    "PUT /sites/{site}/jobs/{job}": ADMINS,
    "POST /strongroom/data-keys/generate": {SERVER},
    "POST /strongroom/data-keys/unwrap": {SERVER},
}
OPEN_ROUTES = {"GET /serverinfo", "GET /serverInfo", "POST /auth/signin", "POST /auth/signout"}
SESSION_ROUTES = {
    "POST /auth/switchSite",
    "GET /schedules",
    "PUT /tags:batchCreate",
    "PUT /tags:batchDelete",
}
# other sites as such are the server administrators' business from wherever they signed in
ACROSS = {
    "GET /sites/{site}",
    "PUT /sites/{site}",
    "DELETE /sites/{site}",
    "POST /sites/{site}/encrypt-extracts",
    "POST /sites/{site}/decrypt-extracts",
    "POST /sites/{site}/reencrypt-extracts",
}
# NEW is another text in each request: a change to what is there already is no change, and may be asked for by anybody
BODIES = {
    "POST /sites": '<site name="New"/>',
    "POST /strongroom/data-keys/unwrap": '<dataKey header=""/>',
    "PUT /sites/{site}": "<site/>",
    "POST /sites/{site}/users": '<user name="new" siteRole="nosuch"/>',
    "PUT /sites/{site}/users/{user}": '<user siteRole="SiteAdministratorCreator"/>',
    "POST /sites/{site}/groups": '<group name="g"/>',
    "PUT /sites/{site}/groups/{group}": '<group name="g"/>',
    "POST /sites/{site}/groups/{group}/users": '<user id="nosuch"/>',
    "PUT /sites/{site}/groups/{group}/users/remove": '<users><user id="nosuch"/></users>',
    "POST /sites/{site}/projects": '<project name="P"/>',
    "PUT /sites/{site}/projects/{project}": '<project description="NEW"/>',
    "PUT /sites/{site}/datasources/{item}": '<datasource description="NEW"/>',
    "PUT /sites/{site}/workbooks/{item}": '<workbook description="NEW"/>',
    **{
        f"PUT /sites/{{site}}/{kind}/{{item}}/{path}": body
        for kind in ITEM_OF
        for path, body in {
            "tags": '<tags><tag label="t"/></tags>',
            "connections/{connection}": "<connection/>",
            "connections": "<connectionLUIDs><connectionLUID>x</connectionLUID></connectionLUIDs><connection/>",
        }.items()
    },
}
ROUTE_NAMES = [f"{route.method} {route.path}" for route in ROUTES]


@dataclass
class Stage:
    """A site with one of each thing, its people, and a second site with the same."""

    served: Served
    people: dict[str, Client]
    things: dict[str, dict[str, str]]
    others: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("authorisation") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as served:
        served.node.configuration.set("gateway.data_keys", "true", actor="os:test")
        served.node.configuration.apply(actor="os:test")
        things, others = (furnish(served, name) for name in ("Own", "Other"))
        people = {who: served.user(who, "Own", role) for who, role in ROLES.items()}
        people[SERVER] = served.client("Own")
        yield Stage(served, people, things, others)


def furnish(served: Served, name: str) -> dict[str, dict[str, str]]:
    """A site with one of each thing that a path can name."""
    served.node.sites.create(LOCAL, name, SiteChanges(mode=SiteMode.ENABLED))
    owner = served.user(f"owner of {name}", name, "SiteAdministratorCreator")
    found = {
        "site": owner.site_id,
        "user": owner.user_id,
        "project": element_id(owner, "/projects", '<project name="Sub"/>', "project"),
        "group": element_id(owner, "/groups", '<group name="All"/>', "group"),
        "connection": "nosuch",
        "tag": "t",
        "job": served.node.jobs.enqueue(JobKind.ENCRYPT, owner.site_id, "os:test").id,
        "upload": owner.on_site("POST", "/fileUploads")
        .find("fileUpload")
        .get("uploadSessionId", ""),
    }
    items = {
        "datasources": owner.publish("data").find("datasource").get("id", ""),
        "workbooks": owner.publish("book", b"<workbook/>", kind="workbook", file_type="twb")
        .find("workbook")
        .get("id", ""),
    }
    return {kind: {**found, "item": item} for kind, item in items.items()}


def element_id(client: Client, path: str, body: str, name: str) -> str:
    reply = client.on_site("POST", path, f"<tsRequest>{body}</tsRequest>")
    return reply.find(name).get("id", "")


def ask(client: Client, route: str, names: dict[str, dict[str, str]], **more: str) -> int:
    """The status of a call that does nothing lasting if it is let through, or that nobody misses."""
    method, path = route.split(" ")
    kind = "workbooks" if "/workbooks" in path else "datasources"
    named = {**names[kind], **more}
    publishes = method == "POST" and path in {f"/sites/{{site}}/{one}" for one in ITEM_OF}
    if publishes or path.endswith("/fileUploads/{upload}"):
        payload = f'<tsRequest><{ITEM_OF[kind]} name="x"/></tsRequest>'
        file_part = "tableau_file" if path.endswith("{upload}") else f"tableau_{ITEM_OF[kind]}"
        # refused by its first bytes after the check, so nothing is published
        body = multipart(("request_payload", "", payload.encode()), (file_part, "f", b"junk" * 9))
        if path.endswith("{upload}"):
            body = multipart(("request_payload", "", b""))
        query = {f"{ITEM_OF[kind]}Type": "hyper" if kind == "datasources" else "twb"}
        headers = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}
        if path.endswith("{upload}"):
            query = {}
        return client.send(method, path.format(**named), body, query, headers).status
    wanted = BODIES.get(route, "").replace("NEW", uuid4().hex)
    if "/tags:" in path:
        content = f'<content contentType="datasource" id="{named["item"]}"/>'
        wanted = f'<tagBatch><tags><tag label="t"/></tags><contents>{content}</contents></tagBatch>'
    sent = f"<tsRequest>{wanted}</tsRequest>" if wanted else ""
    return client.send(method, path.format(**named), sent).status


def test_every_route_has_a_row() -> None:
    known = set(SITE_ROUTES) | OPEN_ROUTES | SESSION_ROUTES
    assert [name for name in ROUTE_NAMES if name not in known] == []
    assert {name for name in SITE_ROUTES if name not in ROUTE_NAMES} == set()


def test_what_is_open_is_meant_to_be() -> None:
    is_open = {f"{route.method} {route.path}" for route in ROUTES if route.is_open}
    assert is_open <= OPEN_ROUTES


@pytest.mark.crossed
@pytest.mark.parametrize("route", [*SITE_ROUTES, *sorted(SESSION_ROUTES)])
@pytest.mark.parametrize("token", ["", "x" * 43])
def test_without_a_session_nothing_is_done(stage: Stage, route: str, token: str) -> None:
    nobody = Client(stage.served.port, token=token)
    assert ask(nobody, route, stage.things) == 401


# deleting what the other cases need is tried only by those who may not
_DESTROYS = {name for name in SITE_ROUTES if name.startswith("DELETE")}


@pytest.mark.parametrize("who", [VIEWER, EXPLORER, PUBLISHER, SITE_ADMIN, SERVER])
@pytest.mark.parametrize("route", SITE_ROUTES)
def test_on_the_own_site_the_role_decides(stage: Stage, route: str, who: str) -> None:
    allowed = who in SITE_ROUTES[route]
    more = {}
    if allowed and route in _DESTROYS:
        # something that is not there: past the check it is unknown
        last = route.rpartition("{")[2].rstrip("}")
        more = {last: "nosuch"}
    status = ask(stage.people[who], route, stage.things, **more)
    assert status != 401
    assert status < 500
    if route.endswith("{upload}") and allowed:
        assert status == 404  # it is somebody else's
    elif allowed:
        assert status != 403
    else:
        assert status == 403


@pytest.mark.crossed
@pytest.mark.parametrize("who", [VIEWER, EXPLORER, PUBLISHER, SITE_ADMIN, SERVER])
@pytest.mark.parametrize("route", [one for one in SITE_ROUTES if "{site}" in one])
def test_a_path_of_another_site_is_refused(stage: Stage, route: str, who: str) -> None:
    """GHSA-class: a token of one site on the paths of another one."""
    if who == SERVER and route in ACROSS:
        return
    status = ask(stage.people[who], route, stage.others)
    assert status == (404 if route in ACROSS else 403)


@pytest.mark.crossed
@pytest.mark.parametrize("who", [VIEWER, PUBLISHER, SITE_ADMIN, SERVER])
@pytest.mark.parametrize("route", [one for one in SITE_ROUTES if one.count("{") > 1])
def test_things_of_another_site_are_unknown_on_the_own_one(
    stage: Stage, route: str, who: str
) -> None:
    """IDOR: the ids of another site's things in paths of the own one."""
    own = stage.things["datasources"]["site"]
    status = ask(stage.people[who], route, stage.others, site=own)
    if who == SERVER and "{job}" in route:
        assert status in {200, 204}  # it may have been asked for from here
    elif who in SITE_ROUTES[route]:
        assert status == 404
    else:
        assert status in {403, 404}
