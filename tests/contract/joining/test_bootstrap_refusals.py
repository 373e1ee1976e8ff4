"""Bootstrap files that prepare nothing, and requests that admit nobody (S16)."""

import http.client
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import FixedClock, SystemClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import admission
from strongroom.errors import StateError
from strongroom.joining import admission_request, node_keys
from strongroom.joining.bootstrap_file import Credential
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.services.nodes.admit import BootstrapRequest
from strongroom.system.compat import override
from tests.contract.joining.commands import (
    ACTOR,
    Tsm,
    make,
    nothing_there,
    only_a_request_left,
    told,
    url,
)
from tests.support.web_client import Served, serve

# ---- refused (S16) -------------------------------------------------------------------------------


def test_a_replayed_file_is_refused(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    file = make(served, tsm)
    assert tsm("initialize-tsm", tmp_path / "two", "-b", str(file)).code == 0
    said = tsm("initialize-tsm", tmp_path / "three", "-b", str(file))
    assert said.code == 3
    assert "it admits a node once" in said.err
    assert nothing_there(tmp_path / "three")
    (refused,) = told(served.node, "NODE_REFUSED")
    assert "was used at" in refused["reason"]


def test_a_file_from_before_a_regeneration_is_refused(
    served: Served, tsm: Tsm, tmp_path: Path
) -> None:
    """Node configuration files made earlier become invalid."""
    file = make(served, tsm)
    served.node.regenerate.run(ACTOR, lambda _: None)
    said = tsm("initialize-tsm", tmp_path / "two", "-b", str(file))
    assert said.code == 3
    assert "before the internal tokens were regenerated" in said.err
    assert "get-bootstrap-file" in said.err
    assert nothing_there(tmp_path / "two")
    assert tsm("initialize-tsm", tmp_path / "two", "-b", str(make(served, tsm))).code == 0


def test_an_expired_file_is_refused(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """By the new node's own clock, before anybody is asked."""
    earlier = Node(node.paths, FixedClock(SystemClock().now() - timedelta(minutes=120)))
    made = earlier.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    earlier.close()
    Path("file").write_bytes(made.text.reveal())
    said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
    assert said.code == 21
    assert "the bootstrap file of node2 expired at" in said.err
    assert nothing_there(tmp_path / "two")


def test_another_installation_s_file_is_refused(
    served: Served, tsm: Tsm, tmp_path: Path, pristine_node: Path
) -> None:
    create.create_node(str(tmp_path / "other"), "admin", SecretBytes(b"correct horse battery"))
    other = opening.open_node(str(tmp_path / "other"))
    made = other.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", url(served)))
    other.close()
    Path("file").write_bytes(made.text.reveal())
    said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
    assert said.code == 3
    assert "of another installation" in said.err
    assert nothing_there(tmp_path / "two")


def altered(text: bytes, **members: object) -> bytes:
    data = json.loads(text) | members
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_altered_files_are_refused(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """S16: twenty-five ways, none of which writes anything."""
    text = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x")).text.reveal()
    other = json.loads(
        node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("y")).text.reveal()
    )
    ways = [altered(text, **{name: other[name]}) for name in ("credential", "mac", "node_id")]
    ways += [
        altered(text, expires_at="2099-01-01T00:00:00Z"),
        altered(text, server="https://elsewhere.example"),
        altered(text, credential=None),
        altered(text, master_key="master-key-9"),
        altered(text, configuration_key_id=json.loads(text)["installation_id"]),
        altered(text, installation_id=json.loads(text)["configuration_key_id"]),
        altered(text, keystore="AAAA"),
        altered(text, keystore_password="AAAA"),
        altered(text, configuration_keys="AAAA"),
        altered(text, format="strongroom-bootstrap-9"),
        b"",
        text[: len(text) // 2],
        text + b" ",
        b'{"configKeys": {}}',
    ]
    step = len(text) // 8
    ways += [text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :] for at in range(9, len(text), step)]
    assert len(ways) >= 25
    home = tmp_path / "two"
    for way in ways:
        Path("file").write_bytes(way)
        said = tsm("initialize-tsm", home, "-b", "file")
        assert said.code in {20, 21, 33}, said.err
        assert f"{len(way)} bytes read from file" in said.err
        assert "Traceback" not in said.err
        assert nothing_there(home)


def test_a_file_of_two_installations_is_refused(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """S16, §2.2: another keystore opens, under the same alias, but not these records."""
    text = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x")).text.reveal()
    create.create_node(str(tmp_path / "other"), "admin", SecretBytes(b"correct horse battery"))
    other = opening.open_node(str(tmp_path / "other"))
    foreign = json.loads(
        other.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x")).text.reveal()
    )
    other.close()
    parts = {name: foreign[name] for name in ("keystore", "keystore_password")}
    Path("file").write_bytes(altered(text, **parts))
    said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
    assert said.code == 33
    assert "no master key of the keystore authenticates them" in said.err
    assert nothing_there(tmp_path / "two")


def test_a_place_that_is_taken_empties_no_pipe(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """A pipe that nobody writes to would block: it is not even opened."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    said = tsm("initialize-tsm", node.paths.root, "-b", "pipe")
    assert said.code == 6
    assert "there is a node in" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-b", "x", "--admin", "ada"), "--admin is for the first node"),
        (("--identity", "x"), "give it by -b"),
        (("--passphrase-file", "x"), "give it by -b"),
        (("--fingerprint", "x"), "give it by -b"),
        (("-b", "x", "--fingerprint", "x"), "no fingerprint of an installation"),
    ],
    ids=["admin", "identity", "passphrase", "fingerprint", "no fingerprint"],
)
def test_options_that_do_not_go_together(
    tsm: Tsm, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    said = tsm("initialize-tsm", tmp_path / "two", *options)
    assert said.code == 2
    assert words in said.err


@pytest.mark.parametrize("damage", ["{", '{"format": "x"}', "[]"], ids=["cut", "other", "list"])
def test_a_damaged_note(node: Node, tsm: Tsm, tmp_path: Path, damage: str) -> None:
    made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x"))
    Path("file").write_bytes(made.text.reveal())
    home = tmp_path / "two"
    tsm("initialize-tsm", home, "-b", "file")
    (home / "tabsvc/prepared.json").write_text(damage)
    said = tsm("tsm", home, "status")
    assert said.code == 21
    assert "prepared.json is damaged" in said.err
    (home / "tabsvc/prepared.json").unlink()
    (home / "tabsvc/prepared.json").mkdir()
    assert tsm("tsm", home, "status").code == 41


# ---- over the network ----------------------------------------------------------------------------


def ask(port: int, body: bytes, method: str = "POST") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, "/tsm/nodes", body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, json.loads(data) if data.startswith(b"{") else data


BAD = {
    "nothing": b"",
    "list": b"[]",
    "empty": b"{}",
    "deep": b"[" * 4000,
    "no ids": b'{"installation_id":"x","node_id":"node2","credential_id":"y","secret":"AAAA"}',
    "long": b" " * 5000,
}


@pytest.fixture(scope="module")
def asked(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = shutil.copytree(pristine_node, tmp_path_factory.mktemp("asked") / "node")
    with serve(home) as running:
        yield running


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_requests_that_are_none(asked: Served, body: bytes) -> None:
    before = told(asked.node, "NODE_REFUSED")
    status, answer = ask(asked.port, body)
    assert status == 400
    assert re.search("no request of a node|at most 4096 bytes", answer["error"])
    assert told(asked.node, "NODE_REFUSED") == before


def test_a_request_that_does_not_end(asked: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_LATEST_S", 0.1)
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=60)
    connection.putrequest("POST", "/tsm/nodes")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"{")
    response = connection.getresponse()
    assert response.status == 400
    assert b"did not arrive in time" in response.read()
    connection.close()


def test_a_credential_that_nobody_knows(asked: Served) -> None:
    document = asked.node.configuration.document()
    credential = Credential(document.configuration_key_id, rng.new_key())
    keys = node_keys.make(document.installation_id, "node2")
    body = admission_request.serialize(admission_request.make(keys, credential, bytes(32)))
    before = len(told(asked.node, "NODE_REFUSED"))
    status, answer = ask(asked.port, body)
    assert (status, answer["error"]) == (401, "nobody knows this credential")
    (refused,) = told(asked.node, "NODE_REFUSED")[before:]
    assert refused["credential_id"] == document.configuration_key_id


def test_what_is_wrong_inside_stays_inside(served: Served, tsm: Tsm, tmp_path: Path) -> None:
    """A refusal for a reason of the machine names no path."""
    file = make(served, tsm)
    served.node.keystore.primary.chmod(0o666)
    said = tsm("initialize-tsm", tmp_path / "two", "-b", str(file))
    assert said.code == 7
    assert "refuses the node: the installation cannot do this now" in said.err
    assert str(served.node.keystore.primary) not in said.err


def test_a_connection_that_is_not_trusted_is_no_pending_admission(
    node: Node, tsm: Tsm, tmp_path: Path
) -> None:
    """Somebody answers, but proves nothing by TLS: an error, not a node that waits to be let in."""

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", address))
        Path("file").write_bytes(made.text.reveal())
        said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
        thread.join()
    assert said.code == StateError.exit_code
    assert "the TLS connection failed" in said.err
    assert only_a_request_left(tmp_path / "two")


def test_something_else_answers(node: Node, tsm: Tsm, tmp_path: Path) -> None:
    """Another program at that address: refused, and its text is not shown."""

    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>who are you?</html>")

        @override
        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        made = node.topology.make_bootstrap_file(ACTOR, BootstrapRequest("x", address))
        Path("file").write_bytes(made.text.reveal())
        said = tsm("initialize-tsm", tmp_path / "two", "-b", "file")
        server.shutdown()
        thread.join()
    assert said.code == 7
    assert "refuses the node: status 404" in said.err
    assert only_a_request_left(tmp_path / "two")
