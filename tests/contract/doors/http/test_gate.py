"""The gate of a node in a maintenance: 503 for who comes, an end for who is inside, and the truth for probes (b14; 12 D)."""

import http.client
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.doors.http.gate import RETRY_AFTER_S, Gate
from strongroom.repository.rows import SiteMode
from tests.support.web_client import BOUNDARY, HYPER, Client, Served, multipart, serve

LIMIT_S = 60.0


@dataclass
class Door:
    """A served node, its gate, and a client on a site that encrypts."""

    served: Served
    gate: Gate
    client: Client

    def get(self, path: str) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("retry-after"), answer.read()
        finally:
            connection.close()

    def until(self, under_way: int) -> None:
        end = time.monotonic() + LIMIT_S
        while self.gate.under_way != under_way:
            assert time.monotonic() < end, self.gate.under_way
            time.sleep(0.01)

    def begun(self, name: str) -> tuple[http.client.HTTPConnection, bytes]:
        """A publication half of whose bytes are there, and the other half."""
        payload = f'<tsRequest><datasource name="{name}"/></tsRequest>'.encode()
        body = multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", HYPER))
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        target = f"/api/3.26/sites/{self.client.site_id}/datasources?datasourceType=hyper"
        connection.putrequest("POST", target)
        headers = {
            "x-tableau-auth": self.client.token,
            "content-type": f"multipart/mixed; boundary={BOUNDARY}",
            "content-length": str(len(body)),
        }
        for header, value in headers.items():
            connection.putheader(header, value)
        half = len(body) // 2
        connection.endheaders(body[:half])
        return connection, body[half:]


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    gate, home = Gate(), tmp_path_factory.mktemp("gate") / "node"
    shutil.copytree(pristine_node, home)
    with serve(home, gate=gate) as served:
        yield Door(served, gate, served.site("Sealed", SiteMode.ENFORCED))


@pytest.fixture(autouse=True)
def opened_again(door: Door) -> Iterator[None]:
    yield
    door.gate.open()
    door.until(0)


def test_who_comes_is_turned_away_and_probes_tell_the_truth(door: Door) -> None:
    assert door.get("/readyz")[::2] == (200, b"ready\n")
    door.gate.close()
    again = str(RETRY_AFTER_S)
    for path in ("/", "/api/3.26/serverInfo", "/nothing"):
        assert door.get(path) == (
            503,
            again,
            b"this server is out of service for maintenance; try again later\n",
        )
    # whoever restarts what is not alive must leave it alone
    assert door.get("/healthz") == (200, None, b"ok, in maintenance\n")
    assert door.get("/readyz") == (503, again, b"in maintenance\n")
    reply = door.client.publish("refused")
    assert (reply.status, reply.headers["retry-after"]) == (503, again)
    door.gate.open()
    assert door.client.publish("taken").status == 201
    assert door.get("/healthz") == (200, None, b"ok\n")


def test_what_is_under_way_ends_as_ever(door: Door) -> None:
    connection, rest = door.begun("begun before")
    door.until(1)
    door.gate.close()
    assert door.client.publish("too late").status == 503
    connection.send(rest)
    assert connection.getresponse().status == 201
    connection.close()
    door.until(0)


def test_what_does_not_end_is_cut_off_and_leaves_nothing(door: Door) -> None:
    connection, _ = door.begun("never whole")
    door.until(1)
    door.gate.close()
    assert door.gate.cut() == 1
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("retry-after")) == (503, "10")
    assert b"out of service" in answer.read(), "the server does not stop"
    connection.close()
    # its thread has let go as well
    door.until(0)
    door.gate.open()
    names = door.client.on_site("GET", "/datasources").all("datasource")
    assert "never whole" not in {one.get("name") for one in names}
    end = time.monotonic() + LIMIT_S
    while not door.served.nothing_is_left():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_thread_counts_until_it_has_ended() -> None:
    """A request that was cut off may be writing still."""
    gate, begun, over = Gate(), threading.Event(), threading.Event()

    def work() -> None:
        with gate.working():
            begun.set()
            over.wait(LIMIT_S)

    cut = threading.Event()
    token = gate.enter(cut.set)
    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(LIMIT_S)
    assert gate.under_way == 1
    gate.close()
    assert gate.enter(lambda: None) is None
    assert (gate.cut(), cut.is_set()) == (1, True)
    gate.leave(token)
    assert gate.under_way == 1
    over.set()
    thread.join()
    assert gate.under_way == 0
