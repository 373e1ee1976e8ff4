"""What real clients send by default is taken, and what is taken is done (findings T3)."""

from strongroom.repository.rows import SiteMode
from tests.support.web_client import PASSWORD, Client, Served


def test_what_clients_send_by_default_is_taken(served: Served) -> None:
    """TSC and tabcmd send these along with everything; they ask for nothing."""
    client = served.site("Site", SiteMode.ENABLED)
    payload = '<datasource name="d" isCertified="false" useRemoteQueryAgent="False" certificationNote=""/>'
    assert (
        client.publish("d", attributes='isCertified="false" useRemoteQueryAgent="False"').status
        == 201
    ), payload
    assert (
        client.on_site(
            "POST",
            "/projects",
            '<tsRequest><project name="p"/></tsRequest>',
            {"publishSamples": "False"},
        ).status
        == 201
    )
    assert (
        client.on_site(
            "POST",
            "/groups",
            '<tsRequest><group name="g" minimumSiteRole="Unlicensed"/></tsRequest>',
        ).status
        == 201
    )
    user = '<tsRequest><user name="u" siteRole="Viewer" authSetting="ServerDefault"/></tsRequest>'
    assert client.on_site("POST", "/users", user).status == 201


def test_a_users_full_name_and_password_are_set(served: Served) -> None:
    client = served.client()
    user = served.user("bob", "Default", "Viewer")
    body = '<tsRequest><user fullName="Bob B." password="another good password" siteRole="Creator"/></tsRequest>'
    reply = client.on_site("PUT", f"/users/{user.user_id}", body)
    assert (
        reply.status,
        reply.find("user").get("fullName"),
        reply.find("user").get("siteRole"),
    ) == (200, "Bob B.", "Creator")
    assert (
        user.on_site("GET", "/projects").status == 401
    )  # the sessions of the old password have ended
    assert Client(served.port).sign_in("bob", PASSWORD).status == 401
    assert Client(served.port).sign_in("bob", "another good password").status == 200
    leader = served.user("leader", "Default", "SiteAdministratorCreator")
    for attribute in ("fullName", "password"):
        body = f'<tsRequest><user {attribute}="something else entirely"/></tsRequest>'
        assert leader.on_site("PUT", f"/users/{user.user_id}", body).status == 403


def test_a_file_without_an_extract_may_be_asked_for_without_it(served: Served) -> None:
    client = served.site("Site", SiteMode.ENABLED)
    item = client.publish("plain", b"<datasource/>", file_type="tds").find("datasource").get("id")
    reply = client.on_site("GET", f"/datasources/{item}/content", query={"includeExtract": "False"})
    assert (reply.status, reply.body) == (200, b"<datasource/>")


def test_tabs_are_kept(served: Served) -> None:
    client = served.client()
    reply = client.publish(
        "book", b"<workbook/>", kind="workbook", file_type="twb", attributes='showTabs="true"'
    )
    assert reply.find("workbook").get("showTabs") == "true"
    path = f"/workbooks/{reply.find('workbook').get('id')}"
    changed = client.on_site("PUT", path, '<tsRequest><workbook showTabs="false"/></tsRequest>')
    assert changed.find("workbook").get("showTabs") == "false"
    assert client.download(reply.find("workbook").get("id", ""), "workbook").status == 200
