"""Every documented filter and order of every list (findings T4): answered from the rows, or equal to nothing; never 400."""

from collections.abc import Iterator

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.node import create
from tests.contract.doors.tableau.test_authorisation import furnish
from tests.support.web_client import ADMIN, PASSWORD, Client, Served, serve

CONTENT = (
    *(
        "authenticationType",
        "connectedWorkbookType",
        "connectionTo",
        "connectionType",
        "contentUrl",
        "createdAt",
    ),
    *(
        "databaseName",
        "databaseUserName",
        "description",
        "favoritesTotal",
        "hasAlert",
        "hasEmbeddedPassword",
    ),
    *(
        "hasExtracts",
        "isCertified",
        "isConnectable",
        "isDefaultPort",
        "isHierarchical",
        "isPublished",
        "name",
    ),
    *(
        "ownerDomain",
        "ownerEmail",
        "ownerName",
        "projectName",
        "serverName",
        "serverPort",
        "size",
        "tableName",
    ),
    *("tags", "type", "updatedAt", "displayTabs", "hasAlerts", "sheetCount", "subscriptionTotal"),
)
# the public reference, "Filtering and Sorting in the REST API"
FIELDS = {
    "datasources": CONTENT,
    "workbooks": CONTENT,
    "projects": (
        "createdAt",
        "name",
        "ownerDomain",
        "ownerEmail",
        "ownerName",
        "parentProjectId",
        "topLevelProject",
        "updatedAt",
    ),
    "users": (
        "domainName",
        "friendlyName",
        "isLocal",
        "lastLogin",
        "luid",
        "name",
        "siteRole",
        "email",
    ),
    "groups": (
        "domainName",
        "domainNickname",
        "isLocal",
        "luid",
        "minimumSiteRole",
        "name",
        "userCount",
    ),
    "jobs": (
        *("args", "completedAt", "createdAt", "endedAt", "jobType", "name", "notes", "priority"),
        *("progress", "startedAt", "status", "subtitle", "title"),
    ),
    "": ("name", "contentUrl", "state", "createdAt"),
}
TRUTHS = {
    "hasExtracts",
    "isCertified",
    "isPublished",
    "hasAlert",
    "hasAlerts",
    "displayTabs",
    "topLevelProject",
    "isLocal",
}
NUMBERS = {"favoritesTotal", "size", "userCount", "progress", "priority", "subscriptionTotal"}
CASES = [(kind, field) for kind, fields in FIELDS.items() for field in fields]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("filters") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as running:
        furnish(running, "Own")
        yield running.client("Own")


def count(client: Client, kind: str, **query: str) -> int:
    reply = (
        client.on_site("GET", f"/{kind}", query=query)
        if kind
        else client.send("GET", "/sites", query=query)
    )
    assert reply.status == 200, (query, reply.body)
    return int(reply.find("pagination").get("totalAvailable", ""))


def snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)


@pytest.mark.table
@pytest.mark.parametrize(("kind", "field"), CASES)
def test_every_documented_field(client: Client, kind: str, field: str) -> None:
    """In both spellings, by every operator that its type has, and as an order."""
    value = "true" if field in TRUTHS else "7" if field in NUMBERS else "nosuch"
    whole = count(client, kind)
    for name in (field, snake(field)):
        for operator in ("eq", "in", *(() if field in TRUTHS else ("gt", "gte", "lt", "lte"))):
            text = f"[{value},{value}]" if operator == "in" else value
            assert 0 <= count(client, kind, filter=f"{name}:{operator}:{text}") <= whole
        for direction in ("asc", "desc"):
            assert count(client, kind, sort=f"{name}:{direction}") == whole
    if field not in TRUTHS | NUMBERS:
        assert count(client, kind, filter=f"{field}:eq:nosuch") == 0


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("datasources", "hasExtracts:eq:true", 1),
        ("datasources", "has_extracts:eq:false", 0),
        ("datasources", "isCertified:eq:true", 0),
        ("datasources", "isCertified:eq:false", 1),
        ("datasources", "ownerName:eq:Owner of own", 1),
        ("datasources", "ownerDomain:eq:local", 1),
        ("datasources", "ownerEmail:eq:", 0),
        ("datasources", "favoritesTotal:lt:1", 1),
        ("datasources", "description:eq:", 1),
        ("workbooks", "hasExtracts:eq:false", 1),
        ("workbooks", "displayTabs:eq:false", 1),
        ("projects", "topLevelProject:eq:true", 2),
        ("projects", "ownerName:in:[owner of Own,nobody]", 1),
        ("users", "siteRole:eq:SiteAdministratorCreator", 1),
        ("users", "siteRole:in:[ServerAdministrator,Viewer]", 1),
        ("users", "isLocal:eq:true", 2),
        ("users", "lastLogin:gte:2000-01-01T00:00:00Z", 0),
        ("groups", "userCount:eq:0", 1),
        ("groups", "domainName:eq:local", 1),
        ("groups", "minimumSiteRole:eq:Viewer", 0),
        ("jobs", "jobType:eq:EncryptExtracts", 1),
        ("jobs", "job_type:eq:encrypt_extracts", 1),
        ("jobs", "priority:lte:50", 1),
        ("", "state:eq:Active", 2),
        ("", "state:eq:Suspended", 0),
    ],
)
def test_what_the_rows_can_answer(client: Client, kind: str, text: str, expected: int) -> None:
    assert count(client, kind, filter=text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("datasources", "nosuch:eq:x"),
        ("datasources", "hasExtracts:eq:perhaps"),
        ("datasources", "hasExtracts:has:true"),
        ("datasources", "hasExtracts:gt:true"),
        ("datasources", "size:eq:large"),
        ("groups", "userCount:has:1"),
    ],
)
def test_what_makes_no_sense_is_refused(client: Client, kind: str, text: str) -> None:
    assert client.on_site("GET", f"/{kind}", query={"filter": text}).status == 400


def test_a_name_with_an_escaped_comma_is_found(served: Served) -> None:
    """Findings K17."""
    client = served.client()
    for name in ("Sales, EMEA", "Other", "EMEA"):
        client.publish(name)
    assert count(client, "datasources", filter=r"name:in:[Sales\, EMEA,Other]") == 2
    assert count(client, "datasources", filter=r"name:eq:Sales\, EMEA") == 1
    assert count(client, "datasources", filter="name:eq:Sales, EMEA") == 1
