"""Uploads that any node continues, and publishers of one name on two nodes (issue 12 C; matrix 18, 24; E10; moto)."""

import os
import random
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.node.opening import Node
from strongroom.repository.rows import SiteMode
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, joined
from tests.contract.cluster.takeover_lab import HEAD, wait_for
from tests.contract.doors.tableau.test_uploads import finish, put, start
from tests.support import object_stores, servers, web_client
from tests.support.emulators import Aws
from tests.support.web_client import BOUNDARY, Client, Reply, Served, multipart


@pytest.fixture
def first(
    cluster_home: Path, run: Run, tmp_path: Path, second: Path, server: Aws
) -> Iterator[Served]:
    """The first node, served; the second has joined, and both have their extracts in one store."""
    address = object_stores.bucket(server.url, tmp_path.name.replace("_", "-")).address.text
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
        yield served


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return tmp_path / "two"


def at_once(*calls: Callable[[], Reply]) -> list[Reply]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


def nothing_else_is_left(node: Node) -> bool:
    with node.repository.reading() as tx:
        named = tx.contents.storage_keys() | tx.uploads.storage_keys()
        intents = tx.intents.list()
    return set(node.files.list()) == named and not intents


def test_parts_and_publications_at_two_nodes(first: Served, second: Path, torture: Torture) -> None:
    chance = random.Random(torture.seed)
    content = HEAD + os.urandom(1_500_000)
    one = first.site("Sales", SiteMode.ENFORCED)
    with web_client.serve(second) as other:
        two = replace(one, port=other.port)
        # by turns, the end on either of them
        for last, reader in ((two, one), (one, two)):
            upload, left, clients = start(one), content, (one, two)
            while left:
                size = chance.randrange(1, 400_000)
                assert put(clients[0], upload, left[:size]).status == 200
                left, clients = left[size:], clients[::-1]
            made = finish(last, upload)
            assert made.status == 201, made.body
            item = made.find("datasource").attrib["id"]
            assert reader.download(item).body == content
            assert last.on_site("DELETE", f"/datasources/{item}").status == 204
            assert finish(reader, upload).status == 404
        # parts that come at once get a number each, and all are there
        upload, rounds = start(two), 20 if torture.whole else 4
        for number in range(rounds):
            parts = [HEAD + bytes([number, node]) * 50_000 for node in (1, 2)]
            taken = at_once(
                lambda mine=parts[0]: put(one, upload, mine),  # type: ignore[misc]
                lambda mine=parts[1]: put(two, upload, mine),  # type: ignore[misc]
            )
            assert [reply.status for reply in taken] == [200, 200]
        with first.node.repository.reading() as tx:
            numbers = [part.number for part in tx.uploads.parts(upload)]
        assert numbers == list(range(1, 2 * rounds + 1))
        made = finish(one, upload)
        assert len(two.download(made.find("datasource").attrib["id"]).body) == 2 * rounds * (
            len(HEAD) + 100_000
        )
        # publishers of one name: one is first, the other is told; nobody's file is left over
        for number in range(rounds):
            check_publishers(first.node, one, two, f"name {number}")
        assert nothing_else_is_left(first.node)


def check_publishers(node: Node, one: Client, two: Client, name: str) -> None:
    contents = {client.port: HEAD + os.urandom(60_000) for client in (one, two)}

    def publish(client: Client, query: dict[str, str]) -> Callable[[], Reply]:
        return lambda: client.publish(name, contents[client.port], query=query)

    for query, allowed in (
        ({"createnew": "true"}, {(201, 409)}),
        ({"overwrite": "true"}, {(201, 201), (201, 409)}),
    ):
        said = at_once(publish(one, query), publish(two, query))
        assert tuple(sorted(reply.status for reply in said)) in allowed, [
            reply.body for reply in said
        ]
        with node.repository.reading() as tx:
            (row,) = [row for row in tx.contents.list_for_site(one.site_id) if row.name == name]
        winners = [
            contents[c.port] for c, r in zip((one, two), said, strict=True) if r.status == 201
        ]
        assert one.download(row.id).body == two.download(row.id).body
        assert two.download(row.id).body in winners


def test_an_upload_goes_on_when_a_node_is_killed(first: Served, second: Path) -> None:
    """In the midst of a part: the part is sent again, to another node, and nothing of the first attempt is left."""
    parts = [HEAD + os.urandom(300_000), os.urandom(300_000), os.urandom(400_000)]
    one, node = first.site("Sales", SiteMode.ENFORCED), first.node
    upload = start(one)
    assert put(one, upload, parts[0]).status == 200
    command = [str(servers.BIN / "strongroom"), "serve", "--port", "0", "--data-dir", str(second)]
    with servers.ready(command, second.parent / "serve.err", second.parent, dict(os.environ)) as (
        process,
        url,
    ):
        two = replace(one, port=int(url.rpartition(":")[2].strip("/")))
        assert put(two, upload, parts[1]).status == 200
        body = multipart(("request_payload", "", b""), ("tableau_file", "file", parts[2]))
        with socket.create_connection(("127.0.0.1", two.port), timeout=60) as raw:
            raw.sendall(
                f"PUT /api/3.26/sites/{one.site_id}/fileUploads/{upload} HTTP/1.1\r\nHost: x\r\n"
                f"x-tableau-auth: {one.token}\r\nContent-Length: {len(body)}\r\n"
                f"Content-Type: multipart/mixed; boundary={BOUNDARY}\r\n\r\n".encode()
                + body[:250_000]
            )
            wait_for(lambda: intents_of(node, "node2"), "the part does not begin")
            process.kill()
            process.wait()
    assert put(one, upload, parts[2]).status == 200
    made = finish(one, upload)
    assert made.status == 201, made.body
    assert one.download(made.find("datasource").attrib["id"]).body == b"".join(parts)
    assert intents_of(node, "node2"), "nobody has looked after node2 as yet"
    # an agent stands for controller, which removes what a node that is gone has left
    with at_work(node.paths.root):
        wait_for(lambda: nothing_else_is_left(node), "something of node2 is left")


def intents_of(node: Node, node_id: str) -> list[str]:
    with node.repository.reading() as tx:
        return [intent.storage_key for intent in tx.intents.list_of(node_id)]
