"""The answer of a COMMIT is lost while somebody waits for an answer by HTTP: what is told is what is so (matrix 14; b11)."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import URL

from strongroom.repository import postgres, postgres_address
from strongroom.repository.rows import SiteMode
from tests.support import web_client
from tests.support.cluster_services import ClusterServices
from tests.support.postgres_link import AtCommit, Link, linked
from tests.support.web_client import HYPER, Client, Reply, Served

DONE = (AtCommit.ANSWER_LOST, AtCommit.ANSWER_HELD)
NOT_DONE = (AtCommit.LOST, AtCommit.HELD)
Act = Callable[[Client], Reply]


class Change(NamedTuple):
    """Something that a client changes.

    Attributes:
        act: Asks for it.
        status: The answer if it is done.
        statement: A statement of its transaction, and of no other one.
        rows: Counts what it makes.
    """

    act: Act
    status: int
    statement: bytes
    rows: str


def _publish(client: Client) -> Reply:
    return client.publish("one")


def _project(client: Client) -> Reply:
    return client.on_site("POST", "/projects", '<tsRequest><project name="new"/></tsRequest>')


def _upload(client: Client) -> Reply:
    return client.on_site("POST", "/fileUploads")


CHANGES = {
    "publish": Change(
        _publish, 201, b"INSERT INTO contents", "SELECT count(*) FROM contents WHERE name = 'one'"
    ),
    "project": Change(
        _project, 201, b"INSERT INTO projects", "SELECT count(*) FROM projects WHERE name = 'new'"
    ),
    "upload": Change(_upload, 201, b"INSERT INTO uploads", "SELECT count(*) FROM uploads"),
}


@pytest.fixture
def link(
    services: ClusterServices,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Link]:
    """Between this process and its database; the address in the node's file stays what it is."""
    server = services.postgres
    real = server.sockets / f".s.PGSQL.{server.port}"
    plain = postgres_address.stored_url
    with linked(real, tmp_path_factory.mktemp("l"), server.port) as found:

        def through(given: Mapping[str, str]) -> URL:
            return (
                plain(given)
                .difference_update_query(["sslrootcert"])
                .update_query_dict({"host": str(found.folder)})
            )

        monkeypatch.setattr(postgres_address, "stored_url", through)
        monkeypatch.setattr(postgres, "COMMIT_S", 0.5)
        yield found


@pytest.fixture
def served(cluster_home: Path, link: Link) -> Iterator[Served]:
    with web_client.serve(cluster_home, upkeep_s=3600) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Client:
    return served.site("Sealed", SiteMode.ENFORCED)


def count(services: ClusterServices, change: Change) -> int:
    [(found,)] = services.query(change.rows)
    return int(found)


@pytest.mark.parametrize("change", CHANGES.values(), ids=[*CHANGES])
def test_the_client_is_told_what_is_so(
    change: Change, client: Client, link: Link, services: ClusterServices
) -> None:
    """Each way of losing it: done and told as done, or not done, told so, and done by the next try; never twice."""
    wanted = count(services, change)
    for how in NOT_DONE:
        link.of_statement, link.at_commit = change.statement, how
        refused = change.act(client)
        assert (refused.status, refused.code) == (423, "423041"), refused.body
        assert link.at_commit is AtCommit.PASSES, "the commit that was meant never came by"
        assert count(services, change) == wanted
    link.of_statement, link.at_commit = change.statement, DONE[0]
    assert change.act(client).status == change.status
    assert link.at_commit is AtCommit.PASSES
    assert count(services, change) == wanted + 1


@pytest.mark.parametrize("how", DONE)
def test_a_publication_that_was_made_is_answered_with_its_item(
    client: Client, served: Served, link: Link, how: AtCommit
) -> None:
    """The same way, also for a silent link; replaced and deleted the same way, it leaves nothing."""

    def lose(statement: bytes) -> None:
        link.of_statement, link.at_commit = statement, how

    lose(b"INSERT INTO contents")
    made = client.publish("one")
    assert made.status == 201, made.body
    item = made.find("datasource").get("id", "")
    assert client.download(item).body == HYPER
    lose(b"UPDATE contents")
    again = client.publish("one", HYPER[:5000], query={"overwrite": "true"})
    assert again.status == 201, again.body
    assert link.at_commit is AtCommit.PASSES
    assert client.download(item).body == HYPER[:5000]
    lose(b"DELETE FROM contents")
    assert client.on_site("DELETE", f"/datasources/{item}").status == 204
    assert link.at_commit is AtCommit.PASSES
    assert client.download(item).status == 404
    assert served.nothing_is_left()


def test_what_nobody_can_find_out_is_said_as_such(
    client: Client, served: Served, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 42 by HTTP: the answer says that it is not known, and not that nothing was changed."""
    monkeypatch.setattr(postgres, "RESOLVE_S", 0.5)
    link.of_statement, link.at_commit = b"INSERT INTO contents", AtCommit.GONE
    told = client.publish("one")
    assert (told.status, told.code) == (423, "423042"), told.body
    assert b"not known whether the change was made" in told.body
    link.is_down = False
    assert client.publish("two").status == 201
    served.node.stored_files.recover()
    assert served.nothing_is_left()


def test_a_session_whose_commit_was_lost_is_one(client: Client, link: Link) -> None:
    """Who signs in gets a session that counts, or is told to try again."""
    for how in (*NOT_DONE, *DONE):
        link.of_statement, link.at_commit = b"INSERT INTO sessions", how
        fresh = Client(client.port)
        reply = fresh.sign_in()
        assert link.at_commit is AtCommit.PASSES
        assert reply.status == (200 if how in DONE else 423), reply.body
        if how in DONE:
            assert fresh.send("GET", "/sites").status == 200
