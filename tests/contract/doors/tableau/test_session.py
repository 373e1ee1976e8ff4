"""serverInfo, sign-in, sign-out and switching sites (clients.md 1.1, 1.2)."""

from xml.sax.saxutils import quoteattr

import pytest

from strongroom.repository.rows import SiteMode
from strongroom.services.directory.sites import SiteChanges
from tests.support.web_client import LOCAL, PASSWORD, Client, Served


def test_server_info_needs_nobody(served: Served) -> None:
    reply = Client(served.port, version="2.4").send("GET", "/serverInfo")
    assert reply.status == 200
    assert reply.body.startswith(b"<?xml")
    assert reply.find("restApiVersion").text == "3.26"
    assert reply.find("productVersion").get("build")


@pytest.mark.parametrize("name", ["admin", "ADMIN"])
@pytest.mark.parametrize("site", ["", "default", "Default"])
def test_sign_in_whatever_the_case(served: Served, name: str, site: str) -> None:
    client = Client(served.port)
    reply = client.sign_in(name, PASSWORD, site)
    assert reply.status == 200
    credentials = reply.xml[0]
    assert credentials.tag.endswith("credentials")  # a direct child of the answer
    assert reply.find("site").get("contentUrl") == ""
    user = client.on_site("GET", f"/users/{client.user_id}").find("user")
    assert (user.get("name"), user.get("siteRole")) == ("admin", "ServerAdministrator")


def test_sites_are_found_by_their_lower_cased_name(served: Served) -> None:
    """tabcmd signs in with the lower-cased name of the site that a command is about (clients.md 0 item 5)."""
    served.node.sites.create(LOCAL, "West Coast", SiteChanges(content_url="wc"))
    assert served.client("west coast").site_id == served.client("WC").site_id


@pytest.mark.parametrize(
    ("name", "password", "site"),
    [("admin", "wrong password", ""), ("nobody", PASSWORD, ""), ("admin", PASSWORD, "nosuch")],
)
def test_any_wrong_credential_is_401001(
    served: Served, name: str, password: str, site: str
) -> None:
    reply = Client(served.port).sign_in(name, password, site)
    assert (reply.status, reply.code) == (401, "401001")
    assert password.encode() not in reply.body


def test_access_tokens_sign_in_side_by_side(served: Served) -> None:
    """Users' first complaint: a token allowed one session only (clients.md 5)."""
    user = served.node.users.find("admin")
    _, secret = served.node.tokens.create(LOCAL, user.id, "ci")
    text = secret.reveal().decode()
    body = (
        f"<tsRequest><credentials personalAccessTokenName='ci' "
        f"personalAccessTokenSecret={quoteattr(text)}><site contentUrl=''/></credentials></tsRequest>"
    )
    client = Client(served.port)
    tokens = [
        client.send("POST", "/auth/signin", body).find("credentials").get("token", "")
        for _ in range(2)
    ]
    for token in tokens:
        assert Client(served.port, token).send("GET", "/sites").status == 200


def test_tokens_serve_every_version(served: Served) -> None:
    client = served.client()
    for version in ("2.4", "3.5", "3.26", "9.99"):
        client.version = version
        assert client.send("GET", "/sites").status == 200


@pytest.mark.parametrize("version", ["2.3", "1.0", "x", "3", "3.2.1", "9999.1"])
def test_other_versions_are_none(served: Served, version: str) -> None:
    assert Client(served.port, version=version).send("GET", "/serverInfo").status in {400, 404}


def test_without_and_with_a_dead_token(served: Served) -> None:
    none = Client(served.port).send("GET", "/sites")
    assert (none.status, none.code) == (401, "401000")
    dead = Client(served.port, "x" * 43).send("GET", "/sites")
    assert (dead.status, dead.code) == (401, "401002")


def test_sign_out_ends_the_session(served: Served) -> None:
    client = served.client()
    assert client.send("POST", "/auth/signout").status == 204
    assert client.send("GET", "/sites").code == "401002"
    assert client.send("POST", "/auth/signout").status == 204


def test_switching_sites(served: Served) -> None:
    served.site("Other", SiteMode.ENABLED)
    client = served.client()
    before = client.token
    body = '<tsRequest><site contentUrl="other"/></tsRequest>'
    reply = client.send("POST", "/auth/switchSite", body)
    assert reply.find("site").get("contentUrl") == "Other"
    client.token = reply.find("credentials").get("token", "")
    assert client.token != before
    again = client.send("POST", "/auth/switchSite", body)
    assert (again.status, again.code) == (403, "403070")


@pytest.mark.parametrize(
    "credentials",
    [
        "<credentials jwt='a.b.c'><site/></credentials>",
        "<credentials name='a' password='b'><user id='x'/></credentials>",
    ],
)
def test_jwt_and_impersonation_are_refused(served: Served, credentials: str) -> None:
    reply = Client(served.port).send(
        "POST", "/auth/signin", f"<tsRequest>{credentials}</tsRequest>"
    )
    assert reply.status == 403


def test_users_without_a_role_stay_outside(served: Served) -> None:
    served.node.sites.create(LOCAL, "Closed")
    served.user("alice", "Default", "Viewer")
    assert Client(served.port).sign_in("alice", PASSWORD, "closed").code == "401001"
