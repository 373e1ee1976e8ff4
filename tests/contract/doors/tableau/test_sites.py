"""Sites, their modes, and the three calls on all extracts of a site (clients.md 0)."""

import pytest

from strongroom.repository.rows import SiteMode
from tests.support.web_client import Served

CALLS = ["encrypt-extracts", "decrypt-extracts", "reencrypt-extracts"]


def test_create_show_and_find(served: Served) -> None:
    client = served.client()
    body = (
        '<tsRequest><site name="Finance" contentUrl="Fin" adminMode="ContentOnly" '
        'extractEncryptionMode="enforced" runNowEnabled="true" someFlag="x"/></tsRequest>'
    )
    made = client.send("POST", "/sites", body)
    assert made.status == 201
    site = made.find("site")
    assert site.get("extractEncryptionMode") == "enforced"
    assert site.get("someFlag") == "x"
    for query in ({"key": "name"}, {"key": "contentUrl"}):
        word = "finance" if query["key"] == "name" else "FIN"
        assert client.send("GET", f"/sites/{word}", query=query).find("site").get("id") == site.get(
            "id"
        )
    again = client.send("POST", "/sites", body)
    assert (again.status, again.code) == (409, "409001")


def test_the_list_holds_all_and_is_paged(served: Served) -> None:
    client = served.client()
    for number in range(3):
        served.site(f"s{number}", SiteMode.DISABLED)
    whole = client.send("GET", "/sites")
    assert [site.get("name") for site in whole.all("site")] == ["Default", "s0", "s1", "s2"]
    assert whole.xml[0].tag.endswith("pagination")
    part = client.send("GET", "/sites", query={"pageNumber": "2", "pageSize": "3"})
    assert [site.get("name") for site in part.all("site")] == ["s2"]
    assert part.find("pagination").get("totalAvailable") == "4"


def test_what_a_client_sends_back_unchanged_changes_nothing(served: Served) -> None:
    """tabcmd and TSC write the whole site they read; what was not shown would come back as false."""
    client = served.site("Echo", SiteMode.ENFORCED)
    shown = dict(client.on_site("GET", "").find("site").attrib)
    attributes = " ".join(f'{key}="{value}"' for key, value in shown.items())
    reply = client.on_site("PUT", "", f"<tsRequest><site {attributes}/></tsRequest>")
    assert reply.status == 200
    assert dict(reply.find("site").attrib) == shown
    assert served.node.jobs.list(client.site_id) == []


def test_a_mode_is_set_and_asks_for_its_job(served: Served) -> None:
    client = served.site("Modes", SiteMode.DISABLED)
    client.publish("plain")
    body = '<tsRequest><site name="Modes" contentUrl="Modes" extractEncryptionMode="enforced"/></tsRequest>'
    assert client.on_site("PUT", "", body).find("site").get("extractEncryptionMode") == "enforced"
    assert [job.kind for job in served.node.jobs.list(client.site_id)] == ["encrypt_extracts"]


def test_an_unknown_mode_is_refused(served: Served) -> None:
    reply = served.client().on_site(
        "PUT", "", '<tsRequest><site extractEncryptionMode="on"/></tsRequest>'
    )
    assert reply.status == 400


def test_quotas_are_numbers(served: Served) -> None:
    client = served.client()
    assert client.on_site("PUT", "", '<tsRequest><site userQuota="x"/></tsRequest>').status == 400
    reply = client.on_site("PUT", "", '<tsRequest><site storageQuota="7"/></tsRequest>')
    assert reply.find("site").get("storageQuota") == "7"


@pytest.mark.parametrize("call", CALLS)
def test_the_three_calls_answer_202_with_a_job(served: Served, call: str) -> None:
    client = served.site("Jobs", SiteMode.ENABLED)
    for body in ("<tsRequest />", ""):  # other clients send no body
        reply = client.on_site("POST", f"/{call}", body)
        assert reply.status == 202
        job = reply.find("job")
        assert job.get("id") == served.node.jobs.list(client.site_id)[0].id  # queued once
        assert job.get("progress") == "0"
        assert "completedAt" not in job.attrib


def test_nothing_is_decrypted_on_an_enforced_site(served: Served) -> None:
    client = served.site("Enforced", SiteMode.ENFORCED)
    assert client.on_site("POST", "/decrypt-extracts").status == 409
    assert served.node.jobs.list(client.site_id) == []


@pytest.mark.parametrize("call", ["encrypt-extracts", "reencrypt-extracts"])
def test_nothing_is_encrypted_on_a_disabled_site(served: Served, call: str) -> None:
    client = served.site("Disabled", SiteMode.DISABLED)
    assert client.on_site("POST", f"/{call}").status == 403


@pytest.mark.parametrize("call", CALLS)
def test_the_three_calls_are_for_server_administrators(served: Served, call: str) -> None:
    """E-14."""
    served.site("Team", SiteMode.ENABLED)
    client = served.user("sam", "Team", "SiteAdministratorCreator")
    assert client.on_site("POST", f"/{call}").status == 403


def test_others_see_their_own_site_only(served: Served) -> None:
    other = served.site("Other", SiteMode.ENABLED)
    client = served.user("eve", "Default", "Creator")
    assert [site.get("name") for site in client.send("GET", "/sites").all("site")] == ["Default"]
    assert client.send("GET", f"/sites/{other.site_id}").code == "404000"
    assert client.send("GET", f"/sites/{client.site_id}").status == 200
    assert client.send("POST", "/sites", '<tsRequest><site name="X"/></tsRequest>').status == 403


def test_deleting_a_site_deletes_its_files(served: Served) -> None:
    client = served.site("Gone", SiteMode.ENFORCED)
    client.publish("a")
    assert len(served.stored) == 1
    assert client.on_site("DELETE", "").status == 204
    assert served.nothing_is_left()
    assert served.stored == []
    assert served.client().send("GET", "/sites/Gone", query={"key": "name"}).code == "404000"
    assert client.send("GET", "/sites").code == "401002"


def test_the_default_site_stays(served: Served) -> None:
    assert served.client().on_site("DELETE", "").status == 409


def test_a_site_is_found_by_two_keys_only(served: Served) -> None:
    assert served.client().send("GET", "/sites/x", query={"key": "colour"}).status == 400


@pytest.mark.parametrize(
    "change",
    [
        'name="Finance"',
        'contentUrl="Finance"',
        'state="Suspended"',
        'userQuota="1000"',
        'storageQuota="1000000"',
        'storageQuota="-1"',
        'adminMode="ContentOnly"',
    ],
)
def test_limits_of_a_site_are_set_by_server_administrators(served: Served, change: str) -> None:
    """A site administrator may write back the site it read, but neither raise a quota nor pass for another site."""
    admin = served.site("Team", SiteMode.ENABLED)
    admin.on_site("PUT", "", '<tsRequest><site userQuota="5" storageQuota="7"/></tsRequest>')
    client = served.user("sam", "Team", "SiteAdministratorCreator")
    shown = dict(client.on_site("GET", "").find("site").attrib)
    attributes = " ".join(f'{key}="{value}"' for key, value in shown.items())
    assert client.on_site("PUT", "", f"<tsRequest><site {attributes}/></tsRequest>").status == 200
    flags = '<tsRequest><site commentingEnabled="false"/></tsRequest>'
    assert client.on_site("PUT", "", flags).status == 200
    assert client.on_site("PUT", "", f"<tsRequest><site {change}/></tsRequest>").status == 403
    after = dict(client.on_site("GET", "").find("site").attrib)
    assert after == {**shown, "commentingEnabled": "false"}
    assert admin.on_site("PUT", "", f"<tsRequest><site {change}/></tsRequest>").status == 200


@pytest.mark.parametrize("name", ["é", "a·b", "a" * 101])
def test_names_of_attributes_are_bounded_in_xml_too(served: Served, name: str) -> None:
    client = served.client()
    reply = client.on_site("PUT", "", f'<tsRequest><site {name}="v"/></tsRequest>'.encode())
    assert (reply.status, b"no name of an attribute of a site" in reply.body) == (400, True)
    assert name not in client.on_site("GET", "").find("site").attrib


def test_attributes_with_a_namespace_are_not_kept(served: Served) -> None:
    body = '<tsRequest><site xmlns:q="urn:q" q:id="x" xml:lang="en" someFlag="y"/></tsRequest>'
    shown = served.client().on_site("PUT", "", body).find("site").attrib
    assert shown["someFlag"] == "y"
    assert [key for key in shown if key.startswith("{")] == []
