"""Whatever a request says is read, or refused with a sentence that names it: nothing is answered with success and not done.

Generated over the table of routes (findings T3). The words are those that real clients send, and that the public reference
documents, for any resource: what a route does not know is refused, and what it says that it reads, it reads. Of the words
that are nobody's, each place of each route is sent some, and all of them when everything is tortured.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import app
from strongroom.doors.tableau.message import Element
from strongroom.doors.tableau.routing import Route
from strongroom.doors.tableau.shape import Read, Shape
from strongroom.doors.tableau.table import ROUTES
from strongroom.node import create
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.contract.doors.tableau.test_authorisation import furnish
from tests.support.web_client import (
    ADMIN,
    BOUNDARY,
    PASSWORD,
    Client,
    Reply,
    Served,
    multipart,
    serve,
)

pytestmark = pytest.mark.table

ATTRIBUTES = (
    *(
        "accelerateNow",
        "accelerationEnabled",
        "adminMode",
        "askDataMode",
        "authSetting",
        "authenticationType",
    ),
    *(
        "certificationNote",
        "contentPermissions",
        "contentUrl",
        "databaseName",
        "description",
        "displayTabs",
    ),
    *(
        "domainName",
        "email",
        "embed",
        "embedPassword",
        "encryptExtracts",
        "ephemeralUsersEnabled",
        "externalAuthUserId",
    ),
    *(
        "fullName",
        "generateThumbnailsAsUser",
        "grantLicenseMode",
        "hidden",
        "id",
        "idpConfigurationId",
        "includeAll",
    ),
    *(
        "incremental",
        "isCertified",
        "isUat",
        "jwt",
        "label",
        "language",
        "locale",
        "minimumSiteRole",
        "mode",
        "name",
    ),
    *(
        "oAuth",
        "option",
        "ownerId",
        "parentProjectId",
        "password",
        "priority",
        "publishSamples",
        "queryTaggingEnabled",
    ),
    *(
        "revisionLimit",
        "serverAddress",
        "serverPort",
        "showTabs",
        "siteRole",
        "state",
        "thumbnailsGroupId",
    ),
    *("thumbnailsUserId", "useRemoteQueryAgent", "userName", "nosuch"),
)
PARAMETERS = (
    *(
        "append",
        "asJob",
        "createnew",
        "encrypt",
        "encryptExtracts",
        "fields",
        "filter",
        "includeExtract",
    ),
    *(
        "includeUsage",
        "includeUsageStatistics",
        "includeViewAccelerationStatus",
        "key",
        "mapAssetsTo",
        "maxAge",
    ),
    *(
        "overwrite",
        "ownedBy",
        "pageNumber",
        "pageSize",
        "publishSamples",
        "replace",
        "resultlevel",
        "skipConnectionCheck",
    ),
    *("sort", "updateAll", "uploadSessionId", "validationEnabled", "nosuch"),
)
CHILDREN = (
    "askData",
    "connections",
    "dataFreshnessPolicy",
    "domain",
    "import",
    "owner",
    "project",
    "tags",
    "views",
    "nosuch",
)
SMALL = [route for route in ROUTES if route.has_message]
MESSAGES = [route for route in ROUTES if route.takes.children]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("dropped") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as served:
        yield served


@pytest.fixture(scope="module")
def stage(running: Served) -> tuple[Client, dict[str, Any]]:
    furnish(running, "Own")
    return running.client("Own"), things(running, "Own")


def things(served: Served, site: str) -> dict[str, Any]:
    client = served.client(site)
    found = {
        "site": client.site_id,
        "user": client.user_id,
        "connection": "nosuch",
        "tag": "t",
        "job": "nosuch",
        "upload": "nosuch",
        "group": client.on_site("GET", "/groups").find("group").get("id"),
        "project": client.on_site("GET", "/projects").find("project").get("id"),
    }
    items = {
        kind: client.on_site("GET", f"/{kind}s").find(kind).get("id")
        for kind in ("datasource", "workbook")
    }
    return {**found, "items": items}


def path_of(route: Route, named: Mapping[str, Any]) -> str:
    kind = "workbook" if "/workbooks" in route.path else "datasource"
    return route.path.format(**{**named, "item": named["items"][kind]})


def written(element: Element) -> str:
    inner = "".join(map(written, element.children)) + (element.text or "")
    attributes = "".join(f' {key}="{value}"' for key, value in element.attrib.items())
    return f"<{element.tag}{attributes}>{inner}</{element.tag}>"


def send(
    client: Client, route: Route, path: str, sent: str, query: Mapping[str, str] | None = None
) -> Reply:
    body = f"<tsRequest>{sent}</tsRequest>"
    if not route.streams:
        return client.send(route.method, path, body, query)
    kind = "workbook" if "/workbooks" in route.path else "datasource"
    parts = multipart(("request_payload", "", body.encode()), (f"tableau_{kind}", "f", b"junk" * 9))
    headers = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}
    return client.send(route.method, path, parts, {f"{kind}Type": "tds", **(query or {})}, headers)


def places(shape: Shape, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
    """Every node that a message of this shape may have."""
    for tag, child in shape.children.items():
        yield (*path, tag), child
        yield from places(child, (*path, tag))


def nested(path: tuple[str, ...], attributes: Mapping[str, str], *children: Element) -> str:
    made = Element(path[-1], dict(attributes), list(children))
    for tag in reversed(path[:-1]):
        made = Element(tag, {}, [made])
    return written(made)


def unread(words: Sequence[str], read: Mapping[str, object]) -> list[str]:
    """Those of the words that are refused in any case."""
    return [word for word in words if not isinstance(read.get(word), Read)]


@pytest.mark.torture
@pytest.mark.parametrize("route", MESSAGES, ids=name_of)
def test_what_a_message_says_beyond_what_is_read_is_refused(
    stage: tuple[Client, dict[str, Any]], route: Route, torture: Torture
) -> None:
    client, named = stage
    path = path_of(route, named)
    tried = 0
    for place, shape in places(route.takes):
        where = f"{name_of(route)} {place}"
        attributes = [] if shape.keeps_rest else unread(ATTRIBUTES, shape.attributes)
        for attribute in torture.choose(attributes, where):
            reply = send(client, route, path, nested(place, {attribute: "something-else"}))
            assert (reply.status, attribute in reply.body.decode()) == (400, True), reply.body
            tried += 1
        for child in [child for child in CHILDREN if child not in shape.children]:
            reply = send(client, route, path, nested(place, {}, Element(child)))
            assert (reply.status, f"&lt;{child}&gt;" in reply.body.decode()) == (400, True), (
                reply.body
            )
            tried += 1
    assert tried


@pytest.mark.parametrize("route", SMALL, ids=name_of)
def test_a_message_that_no_route_asked_for_is_refused(
    stage: tuple[Client, dict[str, Any]], route: Route
) -> None:
    """Also where the handler reads no message at all: what it says would be dropped."""
    client, named = stage
    reply = send(client, route, path_of(route, named), '<nosuch name="x"/>')
    assert (reply.status, "nosuch" in reply.body.decode()) == (400, True), reply.body


@pytest.mark.torture
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_parameters_that_no_route_reads_are_refused(
    stage: tuple[Client, dict[str, Any]], route: Route, torture: Torture
) -> None:
    client, named = stage
    path = path_of(route, named)
    for parameter in torture.choose(unread(PARAMETERS, route.query), name_of(route)):
        reply = client.send(
            route.method,
            path,
            b"",
            {parameter: "something-else"},
            {"content-type": "multipart/mixed; boundary=B"},
        )
        assert (reply.status, parameter in reply.body.decode()) == (400, True), reply.body


@pytest.mark.parametrize("route", [route for route in ROUTES if route.query], ids=name_of)
def test_a_parameter_that_says_two_things_is_refused(
    stage: tuple[Client, dict[str, Any]], route: Route
) -> None:
    client, named = stage
    name = next(iter(route.query))
    reply = client.send(route.method, f"{path_of(route, named)}?{name}=1&{name}=2")
    assert (reply.status, f"'{name}' is sent twice" in reply.body.decode()) == (400, True), (
        reply.body
    )


class Recorded(dict[str, str]):
    """Parameters that know which of them were asked for."""

    def __init__(self, sent: Mapping[str, str], seen: set[str]) -> None:
        super().__init__(sent)
        self._seen = seen

    @override
    def get(self, name: str, default: Any = None) -> Any:
        self._seen.add(name)
        return super().get(name, default)


# values with which a request gets far enough for all of it to be read
VALUES = {
    "adminMode": "ContentAndUsers",
    "contentPermissions": "ManagedByOwner",
    "contentType": "datasource",
    "contentUrl": "Own",
    "embed": "true",
    "embedPassword": "false",
    "encrypt": "false",
    "encryptExtracts": "false",
    "extractEncryptionMode": "enabled",
    "includeAll": "true",
    "includeExtract": "true",
    "incremental": "false",
    "ownedBy": "true",
    "showTabs": "false",
    "siteRole": "SiteAdministratorCreator",
    "state": "Active",
    "storageQuota": "9",
    "userQuota": "9",
    "asJob": "false",
    "append": "false",
    "createnew": "false",
    "overwrite": "true",
    "replace": "true",
    "skipConnectionCheck": "true",
    "fields": "_all_",
    "filter": "name:eq:x",
    "sort": "name:asc",
    "pageNumber": "1",
    "pageSize": "10",
    "key": "",
    "mapAssetsTo": "nosuch",
    "uploadSessionId": "",
    "datasourceType": "tds",
    "workbookType": "twb",
    "password": "correct horse battery",
}
# a message may ask for one thing or for another: each of them is sent by itself
EITHER = {"users": "user", "user": "users"}
_SITE_SENT = '<site contentUrl="nosuch"/>'
SENT = {
    "POST /auth/signin": [
        '<credentials jwt="x" isUat="false"/>',
        '<credentials><user id="x"/></credentials>',
        f'<credentials name="x" password="x">{_SITE_SENT}</credentials>',
        f'<credentials personalAccessTokenName="x" personalAccessTokenSecret="x">{_SITE_SENT}</credentials>',
    ]
}


def full(tag: str, shape: Shape, named: Mapping[str, Any]) -> Element:
    ids = {"project": named["project"], "owner": named["user"], "user": named["user"]}
    attributes = {
        name: VALUES.get(name, ids.get(tag, "x") if name == "id" else "x")
        for name, rule in shape.attributes.items()
        if isinstance(rule, Read)
    }
    children = [full(name, child, named) for name, child in shape.children.items()]
    return Element(tag, dict(attributes), children, text="x" if shape.holds_text else None)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.takes.children or r.query], ids=name_of)
def test_what_a_route_says_that_it_reads_it_reads(
    running: Served, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every declared attribute, text and parameter is looked at by the handler of a request that has them all."""
    site = f"Site{ROUTES.index(route)}"
    furnish(running, site)
    named = things(running, site)
    client = running.client(site)
    parameters: set[str] = set()
    attributes: set[tuple[str, str]] = set()
    get, query_of = Element.get, app._query

    def recorded_get(self: Element, name: str) -> str | None:
        attributes.add((self.tag, name))
        return get(self, name)

    def recorded_texts(self: Element, name: str) -> list[str]:
        attributes.add((name, ""))
        return [child.text or "" for child in self.all(name)]

    monkeypatch.setattr(Element, "get", recorded_get)
    monkeypatch.setattr(Element, "texts", recorded_texts)
    monkeypatch.setattr(app, "_query", lambda raw: Recorded(query_of(raw), parameters))
    query = {name: VALUES[name] for name, rule in route.query.items() if isinstance(rule, Read)}
    path = path_of(route, named)
    for sent in SENT.get(name_of(route)) or list(variants(route.takes, named)):
        reply = (
            send(client, route, path, sent, query)
            if sent
            else client.send(route.method, path, b"", query)
        )
        assert reply.status < 500, reply.body
        assert "is not offered by" not in reply.body.decode(), reply.body
    declared = {
        (place[-1], name)
        for place, shape in places(route.takes)
        for name, rule in (*shape.attributes.items(), *([("", Read())] if shape.holds_text else []))
        if isinstance(rule, Read)
    }
    # a body that the handler refuses without its other values has been read as far as it says
    assert {name for name, rule in route.query.items() if isinstance(rule, Read)} <= parameters | {
        "key"
    }
    assert declared <= attributes, declared - attributes


def variants(shape: Shape, named: Mapping[str, Any]) -> Iterator[str]:
    """A message with all that the shape has; where two children exclude each other, one for each."""
    names = list(shape.children)
    for left_out in [name for name in names if EITHER.get(name) in names] or [""]:
        yield "".join(
            written(full(tag, child, named))
            for tag, child in shape.children.items()
            if tag != left_out
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "words"),
    [
        ("PUT", "/users/{user}", '<user email="a@example.com"/>', {}, "email"),
        ("PUT", "/users/{user}", '<user authSetting="SAML"/>', {}, "authSetting"),
        ("POST", "/groups", '<group name="g" minimumSiteRole="Viewer"/>', {}, "minimumSiteRole"),
        (
            "POST",
            "/groups",
            '<group name="g"><import source="ActiveDirectory" domainName="d"/></group>',
            {},
            "import",
        ),
        ("PUT", "/datasources/{item}", '<datasource isCertified="true"/>', {}, "isCertified"),
        (
            "PUT",
            "/workbooks/{item}",
            '<workbook><dataFreshnessPolicy option="AlwaysLive"/></workbook>',
            {},
            "option",
        ),
        ("POST", "/projects", '<project name="p"/>', {"publishSamples": "True"}, "publishSamples"),
        ("GET", "/datasources/{item}/content", "", {"includeExtract": "False"}, "without"),
        (
            "POST",
            "/workbooks/{item}/createExtract",
            '<datasources includeAll="false"><datasource id="x"/></datasources>',
            {},
            "includeAll",
        ),
    ],
)
def test_the_examples_of_the_findings(
    stage: tuple[Client, dict[str, Any]],
    method: str,
    path: str,
    body: str,
    query: dict[str, str],
    words: str,
) -> None:
    client, named = stage
    item = named["items"]["workbook" if "workbooks" in path else "datasource"]
    sent = f"<tsRequest>{body}</tsRequest>" if body else ""
    reply = client.on_site(method, path.format(user=client.user_id, item=item), sent, query)
    assert (reply.status, words in reply.body.decode()) == (400, True), reply.body
