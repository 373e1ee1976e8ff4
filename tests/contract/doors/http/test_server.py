"""The server around the application: loopback, ports, headers, health, logs."""

import http.client
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom.doors.http.server import listen
from strongroom.errors import ConflictError, UsageError
from tests.support.web_client import PASSWORD, Client, Served


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_plain_http_is_for_loopback(host: str) -> None:
    with pytest.raises(UsageError):
        listen(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_taken_port_is_a_conflict(host: str) -> None:
    with listen(host, 0) as first:
        first.listen()
        with pytest.raises(ConflictError, match="cannot listen") as caught:
            listen(host, first.getsockname()[1])
        assert "another --port" in caught.value.hint
        with pytest.raises(ConflictError) as caught:
            listen(host, first.getsockname()[1], "--vault-port")
        assert "another --vault-port" in caught.value.hint


def test_every_answer_has_security_headers(served: Served) -> None:
    for reply in (
        served.client().send("GET", "/sites"),
        Client(served.port).send("GET", "/nosuch"),
    ):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers


def test_health(served: Served) -> None:
    for path, word in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, word)
        connection.close()


def test_the_access_log_has_no_query_and_no_secret(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client = served.client()
        client.send("GET", "/sites", query={"filter": "name:eq:PLANTED"})
        end = time.monotonic() + 60
        while "GET" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)  # the line is written after the answer
    assert "/api/3.26/sites" in caplog.text
    for secret in ("PLANTED", PASSWORD, client.token):
        assert secret not in caplog.text


def test_one_connection_serves_many_requests(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    for _ in range(3):
        connection.request("GET", "/api/3.26/serverInfo")
        assert connection.getresponse().read().startswith(b"<?xml")
    connection.close()


def test_it_stops_cleanly_on_sigterm(node_dir: Path) -> None:
    program = (
        "import sys\nfrom strongroom.node import opening\nfrom strongroom.doors.http import server\n"
        "node = opening.open_node(sys.argv[1])\n"
        "server.run(node, '127.0.0.1', 0, lambda url: print('ready:', url, flush=True))\n"
        "print('ended')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(node_dir)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready: http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "ended\n")
