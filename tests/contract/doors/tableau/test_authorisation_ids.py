"""Every site role on every route, and every id that a request can name besides its path (findings ST).

`test_authorisation.py` knows who may call what; here the same is asked for all roles that there are, and with the ids of another
site's things wherever a body or a query takes one: they are unknown there, and nothing of that site changes.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from strongroom.access.permissions import SERVER_ADMINISTRATOR, SITE_ROLES
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.table import ROUTES
from strongroom.node import create
from tests.contract.doors.tableau.test_authorisation import (
    EXPLORER,
    PUBLISHER,
    SITE_ADMIN,
    SITE_ROUTES,
    VIEWER,
    ask,
    furnish,
)
from tests.support.web_client import (
    ADMIN,
    BOUNDARY,
    HYPER,
    LOCAL,
    PASSWORD,
    Client,
    Reply,
    Served,
    serve,
)

pytestmark = pytest.mark.table

# what each role is, written down a second time
STANDS_FOR = {
    "SiteAdministrator": SITE_ADMIN,
    "SiteAdministratorCreator": SITE_ADMIN,
    "SiteAdministratorExplorer": SITE_ADMIN,
    "Creator": PUBLISHER,
    "ExplorerCanPublish": PUBLISHER,
    "Publisher": PUBLISHER,
    "Explorer": EXPLORER,
    "Interactor": EXPLORER,
    "Viewer": VIEWER,
    "ViewerWithPublish": VIEWER,
    "ReadOnly": VIEWER,
    "Guest": VIEWER,
}
NO_ENTRY = {"Unlicensed", "UnlicensedWithPublish"}


@dataclass
class Stage:
    """Two sites with one of each thing; somebody of each role on the first."""

    served: Served
    people: dict[str, Client]
    own: dict[str, dict[str, str]]
    others: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("ids") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as served:
        own, others = furnish(served, "Own"), furnish(served, "Other")
        people = {role: served.user(role, "Own", role) for role in STANDS_FOR}
        yield Stage(served, people, own, others)


def test_every_role_is_known_here() -> None:
    assert STANDS_FOR.keys() | NO_ENTRY | {SERVER_ADMINISTRATOR} == SITE_ROLES


@pytest.mark.parametrize("role", sorted(NO_ENTRY))
def test_roles_without_entry_do_not_enter(stage: Stage, role: str) -> None:
    site = stage.served.node.sites.find("Own")
    user = stage.served.node.users.create(LOCAL, role, password=SecretBytes(PASSWORD.encode()))
    stage.served.node.users.add_to_site(LOCAL, site.id, user.name, role)
    assert Client(stage.served.port).sign_in(role, PASSWORD, "Own").status == 401


@pytest.mark.crossed
@pytest.mark.parametrize("role", STANDS_FOR)
@pytest.mark.parametrize("route", SITE_ROUTES)
def test_every_role_on_every_route(stage: Stage, route: str, role: str) -> None:
    allowed = STANDS_FOR[role] in SITE_ROUTES[route]
    more = {}
    if allowed and route.startswith("DELETE"):
        more = {route.rpartition("{")[2].rstrip("}"): "nosuch"}
    status = ask(stage.people[role], route, stage.own, **more)
    assert status < 500
    assert (status == 403) is not allowed, status


def change(client: Client, method: str, path: str, inner: str) -> Reply:
    return client.on_site(method, path, f"<tsRequest>{inner}</tsRequest>")


def published(client: Client, inner: str = "", **query: str) -> Reply:
    return client.publish("new", HYPER, inner=inner, query=query)


def from_upload(client: Client, upload: str) -> Reply:
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request_payload"\r\n\r\n'
        f'<tsRequest><datasource name="new"/></tsRequest>\r\n--{BOUNDARY}--\r\n'
    )
    return client.on_site(
        "POST",
        "/datasources",
        body,
        {"datasourceType": "hyper", "uploadSessionId": upload},
        {"content-type": f"multipart/mixed; boundary={BOUNDARY}"},
    )


Names = dict[str, str]
# each place in which a request names a thing by its id, with the ids of the own site in `own` and of the other in `other`
PLACES: dict[tuple[str, str], Callable[[Client, Names, Names], list[Reply]]] = {
    ("content", "id"): lambda asks, own, other: [
        change(asks, "PUT", f"/datasources/{own['item']}", f"<datasource>{inner}</datasource>")
        for inner in (f'<project id="{other["project"]}"/>', f'<owner id="{other["user"]}"/>')
    ],
    ("groups", "id"): lambda asks, own, other: [
        change(asks, "POST", f"/groups/{own['group']}/users", f'<user id="{other["user"]}"/>')
    ],
    ("projects", "id"): lambda asks, own, other: [
        change(
            asks,
            "PUT",
            f"/projects/{own['project']}",
            f'<project><owner id="{other["user"]}"/></project>',
        )
    ],
    ("projects", "parentProjectId"): lambda asks, own, other: [
        change(
            asks, "POST", "/projects", f'<project name="P" parentProjectId="{other["project"]}"/>'
        ),
        change(
            asks,
            "PUT",
            f"/projects/{own['project']}",
            f'<project parentProjectId="{other["project"]}"/>',
        ),
    ],
    ("publish", "id"): lambda asks, _, other: [
        published(asks, f'<project id="{other["project"]}"/>')
    ],
    ("publish", "uploadSessionId"): lambda asks, own, other: [
        from_upload(asks, other["upload"]),
        from_upload(asks, own["upload"]),  # somebody else's of the same site
    ],
    ("tags", "id"): lambda asks, _, other: [
        change(
            asks,
            "PUT",
            f"/tags:batch{verb}",
            '<tagBatch><tags><tag label="t"/></tags><contents>'
            f'<content contentType="datasource" id="{other["item"]}"/></contents></tagBatch>',
        )
        for verb in ("Create", "Delete")
    ],
    ("users", "mapAssetsTo"): lambda asks, own, other: [
        asks.on_site("DELETE", f"/users/{own['user']}", query={"mapAssetsTo": other["user"]})
    ],
}


# read only to refuse it: nobody signs in as somebody else
NAMES_NOBODY = {("session", "id")}


def ids_that_are_read() -> set[tuple[str, str]]:
    """Modules of the API, and the attributes and parameters with ids that their functions look up."""
    found = set()
    for module in {inspect.getmodule(getattr(one.handle, "func", one.handle)) for one in ROUTES}:
        assert module is not None
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if name in {"get", "text_of"}:
                found |= {
                    (module.__name__.rpartition(".")[2], word)
                    for word in words
                    if isinstance(word, str)
                    and (word == "id" or word.endswith("Id") or word == "mapAssetsTo")
                }
    return found


def test_every_id_that_is_read_has_a_row() -> None:
    """A new attribute or parameter that names a thing is tried with a thing of another site as well."""
    assert ids_that_are_read() == {*PLACES, *NAMES_NOBODY}


@pytest.mark.parametrize("place", PLACES, ids="-".join)
@pytest.mark.parametrize("role", ["SiteAdministratorCreator", "Creator", "Viewer"])
def test_things_of_another_site_are_unknown_wherever_they_are_named(
    stage: Stage, place: tuple[str, str], role: str
) -> None:
    """findings ST: an id in a body is as much of a way across as one in a path."""
    own, other = stage.own["datasources"], stage.others["datasources"]
    before = everything(stage.served)
    for reply in PLACES[place](stage.people[role], own, other):
        assert reply.status in {403, 404}, reply.body
        assert b"Other" not in reply.body
    assert everything(stage.served) == before


def everything(served: Served) -> list[object]:
    """What is on both sites, who is who, and which uploads are open."""
    rows: list[object] = []
    with served.node.repository.reading() as tx:
        for site in tx.sites.list():
            rows += [*tx.contents.list_for_site(site.id), *tx.projects.page(site.id).rows]
        rows += [list(tx.whole.rows(name)) for name in ("site_users", "uploads")]
    return rows
