"""What answers must not tell: other sites, the machine's paths, the database's words, or secrets (S7, S8, S12, S17)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.repository.rows import SiteMode
from strongroom.services.directory.sites import SiteChanges
from tests.support.web_client import LOCAL, Client, Reply, Served

HUGE = "9" * 30


@pytest.mark.parametrize("query", [{}, {"key": "name"}, {"key": "contentUrl"}], ids=str)
def test_other_sites_look_like_none(served: Served, query: dict[str, str]) -> None:
    """Neither a hint nor another word tells a site that is there from one that is not."""
    secret = served.node.sites.create(LOCAL, "TopSecretMerger", SiteChanges())
    eve = served.user("eve", "Default", "SiteAdministratorCreator")
    words = set()
    for text in (secret.id, "TopSecretMerger", "topsecretmerge", "TopSecretMergers", "nosuch"):
        for method, body in (("GET", ""), ("PUT", "<tsRequest><site/></tsRequest>")):
            reply = eve.send(method, f"/sites/{text}", body, query)
            assert (reply.status, reply.code) == (404, "404000")
            words.add(reply.body.decode().replace(text, "TEXT"))
    assert len(words) == 1


def remove(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
@pytest.mark.parametrize("harm", [remove, link, folder])
def test_a_lost_file_is_told_without_its_path(
    served: Served, mode: SiteMode, harm: Callable[[Path], None]
) -> None:
    """Also: what somebody put in its place is not followed (S2)."""
    client = served.site("Site", mode)
    item = client.publish("data").find("datasource").get("id", "")
    harm(served.stored[0])
    reply = client.download(item)
    assert (reply.status, reply.code) == (423, "423041")
    assert str(served.node.paths.root) not in reply.body.decode()
    assert b"root:" not in reply.body


def quota(client: Client) -> Reply:
    return client.on_site("PUT", "", f'<tsRequest><site userQuota="{HUGE}"/></tsRequest>')


def many_conditions(client: Client) -> Reply:
    return client.on_site("GET", "/datasources", query={"filter": ",".join(["name:eq:a"] * 1500)})


def many_orders(client: Client) -> Reply:
    return client.on_site("GET", "/projects", query={"sort": ",".join(["name:asc"] * 2500)})


def huge_size(client: Client) -> Reply:
    return client.on_site("GET", "/datasources", query={"filter": f"size:gt:{HUGE}"})


def huge_progress(client: Client) -> Reply:
    return client.on_site("GET", "/jobs", query={"filter": f"progress:gt:{HUGE}"})


@pytest.mark.parametrize("ask", [quota, many_conditions, many_orders, huge_size, huge_progress])
def test_what_a_database_cannot_take_is_a_bad_request(
    served: Served, ask: Callable[[Client], Reply]
) -> None:
    reply = ask(served.client())
    assert (reply.status, reply.code) == (400, "400003")


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}"])
def test_jobs_are_asked_for_on_the_own_site(served: Served, path: str) -> None:
    """A path that names another site is refused, not read as the own one."""
    client = served.site("Site", SiteMode.ENABLED)
    job = client.on_site("POST", "/encrypt-extracts").find("job").get("id", "")
    default = served.node.sites.find("default").id
    path = path.format(job=job)
    assert client.send("GET", f"/sites/{default}{path}").status == 403
    assert client.on_site("GET", path).status == 200


def test_nobody_of_another_site_becomes_an_owner(served: Served) -> None:
    """An owner's name is shown with what it owns, and an owner has rights on it."""
    served.site("Other", SiteMode.ENABLED)
    stranger = served.user("stranger", "Other", "Creator")
    boss = served.user("boss", "Default", "SiteAdministratorCreator")
    leaver = served.user("leaver", "Default", "Creator")
    item = leaver.publish("data").find("datasource").get("id", "")
    body = f'<tsRequest><datasource><owner id="{stranger.user_id}"/></datasource></tsRequest>'
    reply = boss.on_site("PUT", f"/datasources/{item}", body)
    assert reply.status == 404
    assert b"stranger" not in reply.body
    reply = boss.on_site(
        "DELETE", f"/users/{leaver.user_id}", query={"mapAssetsTo": stranger.user_id}
    )
    assert reply.status == 404
    owner = boss.on_site("GET", f"/datasources/{item}").find("owner")
    assert owner.get("id") == leaver.user_id


def test_a_project_of_another_site_is_unknown(served: Served) -> None:
    other = served.site("Other", SiteMode.ENABLED)
    foreign = other.on_site("GET", "/projects").find("project").get("id", "")
    owner = served.user("owner", "Default", "Creator")
    item = owner.publish("data").find("datasource").get("id", "")
    words = set()
    for project in (foreign, "nosuch"):
        body = f'<tsRequest><datasource><project id="{project}"/></datasource></tsRequest>'
        reply = owner.on_site("PUT", f"/datasources/{item}", body)
        assert reply.status == 404
        words.add(reply.body.decode().replace(project, "ID"))
    assert len(words) == 1
