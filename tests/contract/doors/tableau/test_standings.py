"""Tags; permissions as they follow from roles and ownership; and what is not offered (findings T5, T7)."""

from typing import Any

import pytest

from strongroom.access import permissions
from strongroom.doors.tableau.not_offered import COLLECTIONS
from strongroom.ids import new_id
from strongroom.repository.gateways.directory import UsersTable
from strongroom.repository.rows import Page, Query, SiteMode, UserRow
from strongroom.services.content import standings as standings_service
from tests.support.web_client import Client, Served

pytestmark = pytest.mark.table


def item_of(client: Client) -> str:
    return client.publish("data").find("datasource").get("id", "")


def labels(client: Client, path: str) -> list[str]:
    return [one.get("label", "") for one in client.on_site("GET", path).all("tag")]


def test_tags_are_kept(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    path = f"/datasources/{item_of(client)}"
    body = '<tsRequest><tags><tag label="blue green"/><tag label="&quot;two words&quot;"/><tag label="a,b"/></tags></tsRequest>'
    reply = client.on_site("PUT", path + "/tags", body)
    expected = ["blue", "green", "two words", "a", "b"]
    assert [one.get("label") for one in reply.all("tag")] == expected
    assert labels(client, path) == expected
    assert client.on_site("DELETE", path + "/tags/two%20words").status == 204
    assert client.on_site("DELETE", path + "/tags/nosuch").status == 204
    assert labels(client, path) == ["blue", "green", "a", "b"]
    found = client.on_site("GET", "/datasources", query={"filter": "tags:in:[blue,red]"})
    assert found.find("pagination").get("totalAvailable") == "1"
    for filtered in ("tags:eq:blu", "tags:eq:reen", "tags:in:[x]"):
        found = client.on_site("GET", "/datasources", query={"filter": filtered})
        assert found.find("pagination").get("totalAvailable") == "0"
    client.publish("data", query={"overwrite": "true"})
    assert labels(client, path) == ["blue", "green", "a", "b"]


@pytest.mark.parametrize("label", ["", "&quot;&quot;", "a&quot;b", "x" * 256, "a&#x202e;b"])
def test_tags_that_are_none(served: Served, label: str) -> None:
    client = served.client()
    body = f'<tsRequest><tags><tag label="{label}"/></tags></tsRequest>'
    assert client.on_site("PUT", f"/datasources/{item_of(client)}/tags", body).status == 400


def test_several_items_are_tagged_all_or_none(served: Served) -> None:
    client = served.client()
    items = [client.publish(name).find("datasource").get("id", "") for name in ("a", "b")]

    def batch(*ids: str) -> str:
        contents = "".join(f'<content contentType="Datasource" id="{one}"/>' for one in ids)
        return f'<tsRequest><tagBatch><tags><tag label="t"/></tags><contents>{contents}</contents></tagBatch></tsRequest>'

    assert client.on_site("PUT", "/tags:batchCreate", batch(items[0], "nosuch")).code == "404004"
    assert labels(client, f"/datasources/{items[0]}") == []
    assert client.on_site("PUT", "/tags:batchCreate", batch(*items)).status == 200
    assert [labels(client, f"/datasources/{one}") for one in items] == [["t"], ["t"]]
    assert client.on_site("PUT", "/tags:batchDelete", batch(*items)).status == 200
    assert labels(client, f"/datasources/{items[1]}") == []


def standings(client: Client, path: str) -> dict[str, set[str]]:
    reply = client.on_site("GET", path)
    assert reply.status == 200, reply.body
    return {
        one[0].get("id", ""): {capability.get("name", "") for capability in one[1]}
        for one in reply.all("granteeCapabilities")
    }


def test_permissions_are_what_the_policy_says(served: Served) -> None:
    """Each answer is tried: who is told to be able to download can, and nobody else."""
    admin = served.site("Site", SiteMode.ENABLED)
    people = {
        role: served.user(role, "Site", role)
        for role in ("Creator", "Explorer", "Viewer", "Unlicensed")[:3]
    }
    owner = served.user("owner", "Site", "Creator")
    item = item_of(owner)
    told = standings(owner, f"/datasources/{item}/permissions")
    assert told == standings(admin, f"/datasources/{item}/permissions")
    assert told[owner.user_id] == {"Read", "ExportXml", "Write", "ChangeHierarchy", "Delete"}
    for one in (*people.values(), owner):
        may = told[one.user_id]
        assert (one.on_site("GET", f"/datasources/{item}").status == 200) == ("Read" in may)
        assert (one.download(item).status == 200) == ("ExportXml" in may)
        body = '<tsRequest><datasource description="d"/></tsRequest>'
        assert (one.on_site("PUT", f"/datasources/{item}", body).status == 200) == ("Write" in may)
    assert people["Viewer"].on_site("GET", f"/datasources/{item}/permissions").status == 403


def test_default_permissions_and_those_of_projects(served: Served) -> None:
    admin = served.site("Site", SiteMode.ENABLED)
    leader = served.user("leader", "Site", "Creator")
    body = f'<tsRequest><project name="P"><owner id="{leader.user_id}"/></project></tsRequest>'
    project = admin.on_site("POST", "/projects", body).find("project").get("id")
    base = f"/projects/{project}"
    assert standings(leader, base + "/permissions")[leader.user_id] == {
        "Read",
        "Write",
        "ProjectLeader",
    }
    assert "Write" in standings(leader, base + "/default-permissions/workbooks")[leader.user_id]
    assert standings(leader, base + "/default-permissions/flows") == {}


@pytest.mark.parametrize("place", ["permissions", "default-permissions/workbooks"])
def test_the_policy_is_asked_for_each_kind_of_user_and_not_for_each_user(
    served: Served, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings T5: what one request costs does not grow with the policy times the users of the site."""
    client = served.site("Site", SiteMode.ENABLED)
    leader = served.user("leader", "Site", "Creator")
    body = f'<tsRequest><project name="P"><owner id="{leader.user_id}"/></project></tsRequest>'
    project = client.on_site("POST", "/projects", body).find("project").get("id")
    with served.node.repository.transaction() as tx:
        for number in range(100):
            one = UserRow(new_id(), f"many{number}", "", None, False, "2026-01-01T00:00:00Z")
            tx.users.insert(one)
            role = ("Creator", "Viewer", "Unlicensed")[number % 3]
            tx.users.set_site_role(client.site_id, one.id, role)
    asked = 0
    is_allowed = permissions.is_allowed

    def counted(*arguments: Any) -> bool:
        nonlocal asked
        asked += 1
        return is_allowed(*arguments)

    monkeypatch.setattr(permissions, "is_allowed", counted)
    told = standings(leader, f"/projects/{project}/{place}")
    assert len(told) == 2 + 34 + 33
    assert asked < 40
    monkeypatch.undo()
    with served.node.repository.reading() as tx:
        roles = tx.users.site_roles(client.site_id, told)
    kinds = {(roles.get(one), frozenset(may)) for one, may in told.items()}
    assert len(kinds) == 4  # the administrator, the leader, and two roles of the three


def test_of_what_no_project_holds_nobody_is_asked_about(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings T5: whether the user may ask is decided all the same."""
    client = served.site("Site", SiteMode.ENABLED)
    viewer = served.user("viewer", "Site", "Viewer")
    project = client.on_site("GET", "/projects").find("project").get("id")
    path = f"/projects/{project}/default-permissions/flows"
    monkeypatch.setattr(standings_service, "_standings", None)
    assert standings(client, path) == {}
    assert viewer.on_site("GET", path).status == 403
    assert client.on_site("GET", "/projects/nosuch/default-permissions/flows").code == "404005"


def test_whoever_asks_for_pages_gets_pages_and_together_they_are_all(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request read, and answered with, every user of the site, however many."""
    client = served.site("Site", SiteMode.ENABLED)
    project = client.on_site("GET", "/projects").find("project").get("id")
    with served.node.repository.transaction() as tx:
        for number in range(30):
            one = UserRow(new_id(), f"many{number}", "", None, False, "2026-01-01T00:00:00Z")
            tx.users.insert(one)
            tx.users.set_site_role(client.site_id, one.id, ("Viewer", "Unlicensed")[number % 2])
    path = f"/projects/{project}/default-permissions/workbooks"
    whole = standings(client, path)
    assert len(whole) == 1 + 15
    pieces: list[int | None] = []
    page_of_site = UsersTable.page_of_site

    def watched(gateway: UsersTable, site_id: str, query: Query) -> Page[UserRow]:
        pieces.append(query.limit)
        return page_of_site(gateway, site_id, query)

    monkeypatch.setattr(UsersTable, "page_of_site", watched)
    monkeypatch.setattr(standings_service, "_PIECE", 4)
    pages = [
        standings(client, f"{path}?pageSize=10&pageNumber={number}") for number in (1, 2, 3, 4)
    ]
    assert max(len(page) for page in pages) <= 10
    joined = {user: may for page in pages for user, may in page.items()}
    assert joined == whole == standings(client, path)
    assert sum(map(len, pages)) == len(whole)
    assert max(limit if limit is not None else 10**9 for limit in pieces) <= 4
    reply = client.on_site("GET", f"{path}?pageSize=10")
    assert reply.find("pagination").get("totalAvailable") == "31"
    assert client.on_site("GET", f"{path}?pageSize=0").status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/datasources/x/permissions"),
        ("PUT", "/projects/x/permissions"),
        ("PUT", "/projects/x/default-permissions/workbooks"),
    ],
)
def test_permissions_cannot_be_set_and_it_is_said_why(
    served: Served, method: str, path: str
) -> None:
    reply = served.client().on_site(method, path, "<tsRequest><permissions/></tsRequest>")
    assert (reply.status, reply.code) == (405, "405000")
    assert b"follow from site roles and ownership" in reply.body
    assert reply.headers["allow"]


@pytest.mark.parametrize("word", sorted(COLLECTIONS))
def test_what_is_not_offered_says_so(served: Served, word: str) -> None:
    client = served.client()
    reply = client.on_site("POST", f"/{word}", "<tsRequest/>")
    assert reply.status in {404, 405}
    assert COLLECTIONS[word] in reply.body.decode()
    assert "this server" in reply.body.decode()
    deeper = client.on_site("GET", f"/{word}/nosuch/more")
    assert (deeper.status, COLLECTIONS[word] in deeper.body.decode()) == (404, True)


def test_a_route_that_is_none_says_what_it_was(served: Served) -> None:
    client = served.client()
    reply = client.on_site("GET", "/nosuch")
    assert (reply.code, b"/nosuch" in reply.body, b"API of this server" in reply.body) == (
        "404003",
        True,
        True,
    )
    assert client.on_site("DELETE", "/users").code == "405000"


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/users/nosuch", "", "404002"),
        ("GET", "/users/nosuch/groups", "", "404002"),
        ("GET", "/users/nosuch/workbooks", "", "404002"),
        ("DELETE", "/users/{user}?mapAssetsTo=nosuch", "", "404002"),
        ("GET", "/groups/nosuch/users", "", "404012"),
        ("POST", "/groups/{group}/users", '<user id="nosuch"/>', "404002"),
        ("POST", "/groups/nosuch/users", '<user id="{user}"/>', "404012"),
        ("DELETE", "/groups/{group}/users/nosuch", "", "404002"),
        ("GET", "/projects/nosuch", "", "404005"),
        ("PUT", "/projects/{project}", '<project><owner id="nosuch"/></project>', "404002"),
        ("POST", "/projects", '<project name="P" parentProjectId="nosuch"/>', "404005"),
        ("GET", "/datasources/nosuch", "", "404004"),
        ("GET", "/workbooks/{item}", "", "404006"),
        ("PUT", "/datasources/{item}", '<datasource><project id="nosuch"/></datasource>', "404005"),
        ("PUT", "/datasources/{item}", '<datasource><owner id="nosuch"/></datasource>', "404002"),
        ("GET", "/jobs/nosuch", "", "404009"),
        ("GET", "/projects/nosuch/permissions", "", "404005"),
    ],
)
def test_the_code_of_a_404_is_that_of_what_is_missing(
    served: Served, method: str, path: str, body: str, code: str
) -> None:
    """Findings T7: not of what the route is about."""
    client = served.site("Site", SiteMode.ENABLED)
    names = {
        "user": served.user("bob", "Site", "Viewer").user_id,
        "item": item_of(client),
        "group": client.on_site("POST", "/groups", '<tsRequest><group name="g"/></tsRequest>')
        .find("group")
        .get("id"),
        "project": client.on_site("POST", "/projects", '<tsRequest><project name="Q"/></tsRequest>')
        .find("project")
        .get("id"),
    }
    sent = f"<tsRequest>{body.format(**names)}</tsRequest>" if body else ""
    assert client.on_site(method, path.format(**names), sent).code == code


def test_publishing_into_a_project_that_is_none(served: Served) -> None:
    reply = served.client().publish("data", inner='<project id="nosuch"/>')
    assert reply.code == "404005"


def test_why_an_extract_cannot_be_made(served: Served) -> None:
    """Findings T8: the text of the 409 says why."""
    client = served.site("Site", SiteMode.ENABLED)
    item = client.publish("plain", b"<datasource/>", file_type="tds").find("datasource").get("id")
    reply = client.on_site("POST", f"/datasources/{item}/createExtract", "", {"encrypt": "true"})
    assert (reply.code, b"no connection to the data" in reply.body) == ("409110", True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_at_the_root(served: Served, method: str) -> None:
    """Findings F3: where the addresses lead that clients print; no script, and nothing of this installation."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request(method, "/")
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert (answer.status, answer.getheader("content-type")) == (200, "text/html; charset=utf-8")
    assert answer.getheader("content-security-policy", "").startswith("default-src 'none'")
    if method == "HEAD":
        assert body == ""
        assert int(answer.getheader("content-length", "0")) > 500
    else:
        assert "tabcmd login" in body
        assert "/api/3.26/" in body
        assert "<script" not in body
        assert str(served.port) not in body


def test_the_address_that_clients_print_leads_to_the_page(served: Served) -> None:
    client = served.client()
    client.publish("data")
    address = client.on_site("GET", "/datasources").find("datasource").get("webpageUrl", "")
    assert address.partition("/#/")[0] == f"http://127.0.0.1:{served.port}"
