"""Users, groups and projects over HTTP (clients.md 1.3)."""

import pytest

from strongroom.repository.rows import SiteMode
from tests.support.web_client import Client, Reply, Served


def add_user(client: Client, name: str, role: str = "Viewer") -> Reply:
    body = f'<tsRequest><user name="{name}" siteRole="{role}"/></tsRequest>'
    return client.on_site("POST", "/users", body)


def test_users_of_a_site(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    made = add_user(client, "Carol")
    assert (made.status, made.find("user").get("siteRole")) == (201, "Viewer")
    user = made.find("user").get("id")
    again = add_user(client, "carol")
    assert (again.status, again.code) == (409, "409017")
    changed = client.on_site(
        "PUT", f"/users/{user}", '<tsRequest><user siteRole="Creator"/></tsRequest>'
    )
    assert changed.find("user").get("siteRole") == "Creator"
    same = client.on_site("PUT", f"/users/{user}", '<tsRequest><user fullName="C"/></tsRequest>')
    assert same.find("user").get("siteRole") == "Creator"
    found = client.on_site("GET", "/users", query={"filter": "name:eq:CAROL", "fields": "_all_"})
    assert [one.get("name") for one in found.all("user")] == ["Carol"]
    assert client.on_site("DELETE", f"/users/{user}").status == 204
    assert client.on_site("GET", f"/users/{user}").code == "404002"


@pytest.mark.parametrize("role", ["Nosuch", ""])
def test_roles_are_known_ones(served: Served, role: str) -> None:
    assert add_user(served.client(), "x", role).status == 400


def test_what_a_leaver_owns_goes_to_an_heir(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    leaver = served.user("leaver", "Site", "Creator")
    leaver.publish("data")
    assert client.on_site("DELETE", f"/users/{leaver.user_id}").status == 409
    reply = client.on_site(
        "DELETE", f"/users/{leaver.user_id}", query={"mapAssetsTo": client.user_id}
    )
    assert reply.status == 204
    assert client.on_site("GET", "/datasources").find("owner").get("id") == client.user_id


def test_users_are_managed_by_administrators(served: Served) -> None:
    served.site("Site", SiteMode.ENABLED)
    assert add_user(served.user("eve", "Site", "Creator"), "mallory").status == 403


def test_groups(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    user = add_user(client, "carol").find("user").get("id")
    made = client.on_site("POST", "/groups", '<tsRequest><group name="G"/></tsRequest>')
    assert made.status == 201
    group = made.find("group").get("id")
    again = client.on_site("POST", "/groups", '<tsRequest><group name="g"/></tsRequest>')
    assert (again.status, again.code) == (409, "409009")
    renamed = client.on_site("PUT", f"/groups/{group}", '<tsRequest><group name="H"/></tsRequest>')
    assert renamed.find("group").get("name") == "H"
    found = client.on_site("GET", "/groups", query={"filter": "name:eq:h"})
    assert found.find("pagination").get("totalAvailable") == "1"
    joined = client.on_site(
        "POST", f"/groups/{group}/users", f'<tsRequest><user id="{user}"/></tsRequest>'
    )
    assert joined.find("user").get("name") == "carol"
    members = client.on_site("GET", f"/groups/{group}/users")
    assert [one.get("id") for one in members.all("user")] == [user]
    assert client.on_site("DELETE", f"/groups/{group}/users/{user}").status == 204
    assert client.on_site("DELETE", f"/groups/{group}").status == 204
    assert client.on_site("DELETE", f"/groups/{group}").code == "404012"


def test_projects(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    top = client.on_site(
        "POST", "/projects", '<tsRequest><project name="Top" description="d"/></tsRequest>'
    )
    assert top.status == 201
    above = top.find("project").get("id")
    body = f'<tsRequest><project name="Below" parentProjectId="{above}"/></tsRequest>'
    below = client.on_site("POST", "/projects", body, {"publishSamples": "False"})
    assert below.find("project").get("parentProjectId") == above
    again = client.on_site("POST", "/projects", body)
    assert (again.status, again.code) == (409, "409006")
    found = client.on_site(
        "GET", "/projects", query={"filter": f"name:eq:below,parentProjectId:eq:{above}"}
    )
    assert [one.get("name") for one in found.all("project")] == ["Below"]
    changed = client.on_site(
        "PUT", f"/projects/{above}", '<tsRequest><project name="New" description="e"/></tsRequest>'
    )
    assert (changed.find("project").get("name"), changed.find("project").get("description")) == (
        "New",
        "e",
    )
    assert client.on_site("DELETE", f"/projects/{above}").status == 204
    listed = client.on_site("GET", "/projects", query={"sort": "name:desc"})
    assert [one.get("name") for one in listed.all("project")] == ["Default"]


def test_a_filter_that_is_none(served: Served) -> None:
    reply = served.client().on_site("GET", "/projects", query={"filter": "colour:eq:red"})
    assert reply.status == 400
