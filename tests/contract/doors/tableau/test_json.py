"""JSON both ways on every route, from the same message as the XML (findings T2, K17)."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.tableau.routing import Route
from strongroom.doors.tableau.table import ROUTES
from strongroom.node import create
from strongroom.repository.rows import SiteMode
from strongroom.services.directory import sites
from tests.contract.doors.tableau.test_authorisation import furnish
from tests.support.web_client import (
    ADMIN,
    BOUNDARY,
    HYPER,
    PASSWORD,
    Client,
    Reply,
    Served,
    multipart,
    serve,
)

JSON = {"accept": "application/json"}
GETS = [
    route
    for route in ROUTES
    if route.method == "GET" and not route.downloads and route.path != "/serverinfo"
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Any]]]:
    root = tmp_path_factory.mktemp("json") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as running:
        yield running, furnish(running, "Own")


def asked(client: Client, method: str, path: str, body: object = None, **query: str) -> Reply:
    content = b"" if body is None else json.dumps(body).encode()
    return client.send(method, path, content, query, {"content-type": "application/json", **JSON})


def leaves_of_json(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves_of_json(inner, name if key == "value" else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves_of_json(inner, name)
    else:
        yield name, str(value).lower()


def leaves_of_xml(reply: Reply) -> Iterator[tuple[str, str]]:
    for element in reply.xml.iter():
        for key, text in element.attrib.items():
            yield key, text.lower()
        if element.text is not None:
            yield element.tag.rpartition("}")[2], element.text.lower()


@pytest.mark.parametrize("route", GETS, ids=lambda route: route.path)
def test_every_route_says_the_same_in_both_forms(
    stage: tuple[Served, dict[str, Any]], route: Route
) -> None:
    """Generated over the table: each value of the XML is in the JSON, and nothing else is."""
    served, things = stage
    kind = "workbooks" if "/workbooks" in route.path else "datasources"
    path = route.path.format(**things[kind])
    client = served.client("Own")
    as_xml, as_json = client.send("GET", path), asked(client, "GET", path)
    assert (as_xml.status, as_json.status) == (200, 200)
    assert as_json.headers["content-type"] == "application/json"
    assert as_xml.headers["content-type"] == "application/xml"
    assert "accept" in as_json.headers["vary"].lower()
    found = json.loads(as_json.body)
    assert Counter(leaves_of_json(found)) == Counter(leaves_of_xml(as_xml))
    # who may do what is told whole unless a page is asked for
    if "pageSize" in route.query and "permissions" not in route.path:
        assert found["pagination"]["pageNumber"] == "1"
        names = [name for name in found if name != "pagination"]
        assert len(names) == 1
        assert all(isinstance(rows, list) for rows in found[names[0]].values())


def test_signing_in_and_out(served: Served) -> None:
    """Findings K17: `Accept: application/json` and a JSON body."""
    client = Client(served.port)
    site = {"contentUrl": ""}
    credentials = {"name": ADMIN, "password": PASSWORD, "site": site}
    reply = asked(client, "POST", "/auth/signin", {"credentials": credentials})
    assert reply.status == 200
    found = json.loads(reply.body)["credentials"]
    assert found["site"] == {"id": found["site"]["id"], "contentUrl": ""}
    client.token, client.site_id = found["token"], found["site"]["id"]
    user = asked(client, "GET", f"/sites/{client.site_id}/users/{found['user']['id']}")
    assert json.loads(user.body)["user"]["name"] == ADMIN
    assert asked(client, "POST", "/auth/signout").status == 204


def test_an_access_token_with_a_user_of_nobody(served: Served) -> None:
    """tableau-api-lib sends `"user": {"id": null}` with every access token."""
    with served.node.repository.reading() as tx:
        admin = tx.users.find_by_name(ADMIN)
    assert admin is not None
    _, secret = served.node.tokens.create(served_subject(), admin.id, "script")
    body = {
        "credentials": {
            "personalAccessTokenName": "script",
            "personalAccessTokenSecret": secret.reveal().decode(),
            "site": {"contentUrl": ""},
            "user": {"id": None},
        }
    }
    assert asked(Client(served.port), "POST", "/auth/signin", body).status == 200
    body["credentials"]["user"] = {"id": admin.id}
    assert asked(Client(served.port), "POST", "/auth/signin", body).status == 403


def served_subject() -> Any:
    from tests.support.web_client import LOCAL

    return LOCAL


def test_changes_by_json(served: Served) -> None:
    client = served.client()
    base = f"/sites/{client.site_id}"
    made = asked(client, "POST", f"{base}/projects", {"project": {"name": "P"}})
    assert made.status == 201
    project = json.loads(made.body)["project"]
    assert project["owner"] == {"id": client.user_id}
    changed = asked(
        client,
        "PUT",
        f"{base}/projects/{project['id']}",
        {"project": {"description": "d", "owner": {"id": client.user_id}}},
    )
    assert json.loads(changed.body)["project"]["description"] == "d"
    group = asked(client, "POST", f"{base}/groups", {"group": {"name": "G"}})
    users = {"users": {"user": [{"id": client.user_id}]}}
    path = f"{base}/groups/{json.loads(group.body)['group']['id']}/users"
    added = json.loads(asked(client, "POST", path, users).body)
    assert [user["id"] for user in added["users"]["user"]] == [client.user_id]


@pytest.mark.parametrize("accept", ["application/json", "application/xml", ""])
def test_publishing_with_a_message_in_json(served: Served, accept: str) -> None:
    """The request's form and the answer's are chosen one by one."""
    client = served.site("Site", SiteMode.ENFORCED)
    payload = json.dumps({"datasource": {"name": "data", "description": "in JSON"}}).encode()
    body = multipart(("request_payload", "", payload), ("tableau_datasource", "f", HYPER))
    reply = client.on_site(
        "POST",
        "/datasources",
        body,
        {"datasourceType": "hyper"},
        {"content-type": f"multipart/mixed; boundary={BOUNDARY}", "accept": accept},
    )
    assert reply.status == 201
    if accept == "application/json":
        item = json.loads(reply.body)["datasource"]
        assert (item["description"], item["tags"], item["hasExtracts"]) == ("in JSON", {}, True)
        assert (item["size"], item["encryptExtracts"]) == ("1", "true")
    else:
        assert reply.find("datasource").get("description") == "in JSON"
    shown = client.on_site("GET", "/datasources").find("datasource")
    assert client.download(shown.get("id", "")).body == HYPER


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/sites/nosuch", "404000"),
        ("GET", "/nosuch", "404003"),
        ("DELETE", "/serverInfo", "405000"),
        ("POST", "/sites", "400011"),
        ("GET", "/sites?pageSize=0", "400007"),
        ("GET", "/sites/{site}/datasources/nosuch/content", "404004"),
        ("POST", "/sites/{site}/datasources?datasourceType=hyper", "400011"),
        ("PUT", "/sites/{site}/datasources/nosuch/permissions", "405000"),
    ],
)
def test_errors_are_in_the_form_that_was_asked_for(
    served: Served, method: str, path: str, code: str
) -> None:
    client = served.client()
    reply = client.send(method, path.format(site=client.site_id), b"{", None, JSON)
    error = json.loads(reply.body)["error"]
    assert error.keys() == {"summary", "detail", "code"}
    assert error["code"] == code
    assert reply.headers["content-type"] == "application/json"
    assert client.send(method, path.format(site=client.site_id), b"{").code == code


# each breaks or changes the XML that shows it, if it is written there as it was sent
NO_NAMES = [
    "{x",
    "{urn:x}a",
    'a b"/><evil',
    "a><evil/",
    "a=",
    "a b",
    "a\n",
    "",
    "1a",
    "-a",
    "é",
    "a:b",
    ":",
    "xmlns",
    "xmlns:t",
    "a" * 101,
]


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("creates", [True, False], ids=["create", "update"])
def test_a_member_that_is_no_name_gets_into_no_site(
    served: Served, name: str, creates: bool
) -> None:
    """Findings T2: whoever asks for the site afterwards, in either form, is answered."""
    client = served.client()
    path = "/sites" if creates else f"/sites/{client.site_id}"
    before = client.send("GET", "/sites").body
    site = {name: "v", **({"name": "New"} if creates else {})}
    reply = asked(client, "POST" if creates else "PUT", path, {"site": site})
    code = "400003" if len(name) > sites.MAX_ATTRIBUTE_NAME else "400011"  # a name, but too long
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (400, code), reply.body
    after = client.send("GET", "/sites")
    assert (after.status, after.body) == (200, before)
    assert asked(client, "GET", "/sites").status == 200


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_stored_already_is_not_shown(served: Served, name: str) -> None:
    """A site that an earlier release let one into is whole again, and the next change takes it away."""
    client = served.client()
    with served.node.repository.transaction() as tx:
        tx.sites.update(client.site_id, attributes={name: "v", "someFlag": "y"})
    for path in ("/sites", f"/sites/{client.site_id}"):
        attributes = client.send("GET", path).find("site").attrib
        assert (attributes["someFlag"], name in attributes) == ("y", False)
        assert b"evil" not in client.send("GET", path).body
        shown = json.loads(asked(client, "GET", path).body)
        site = shown["sites"]["site"][0] if path == "/sites" else shown["site"]
        assert (site["someFlag"], name in site) == ("y", False)
    body = {"site": {"otherFlag": True}}
    assert asked(client, "PUT", f"/sites/{client.site_id}", body).status == 200
    with served.node.repository.reading() as tx:
        kept = tx.sites.get(client.site_id).attributes
    assert kept == {"someFlag": "y", "otherFlag": "true"}


def test_a_site_has_no_more_attributes_than_the_bound(served: Served) -> None:
    client = served.client()
    path = f"/sites/{client.site_id}"
    many = {f"flag{number}": "v" for number in range(sites.MAX_ATTRIBUTES + 1)}
    assert asked(client, "PUT", path, {"site": many}).status == 400
    many.popitem()
    assert asked(client, "PUT", path, {"site": {**many, "a" * 101: "v"}}).status == 400
    assert asked(client, "PUT", path, {"site": many}).status == 200
    assert client.send("GET", path).find("site").get("flag0") == "v"


def test_who_is_not_signed_in_is_told_so_in_json(served: Served) -> None:
    reply = asked(Client(served.port), "GET", f"/sites?{urlencode({'pageSize': 1})}")
    assert json.loads(reply.body)["error"]["code"] == "401000"


def test_fields_narrow_a_list_down(served: Served) -> None:
    """`fields=` of the public API, which its clients send as `_all_` or as names."""
    client = served.client()
    base = f"/sites/{client.site_id}/projects"
    whole = json.loads(asked(client, "GET", base).body)["projects"]["project"][0]
    for everything in ("_all_", "_default_"):
        found = json.loads(asked(client, "GET", base, fields=everything).body)
        assert found["projects"]["project"] == [whole]
    some = json.loads(asked(client, "GET", base, fields="name, owner.id,nosuch").body)
    assert some["projects"]["project"] == [{"name": whole["name"], "owner": whole["owner"]}]
