"""The control service for other machines: who is refused, in which words, and what a connection may cost (issue 11 C, D)."""

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from strongroom.cli.node import places
from strongroom.clock import FixedClock, SystemClock
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Issuing, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.control import remote_server, remote_tls
from strongroom.doors.control.remote_client import CALL_PATH, Called
from strongroom.errors import (
    AuthenticationError,
    LinkError,
    PermissionDeniedError,
    StateError,
    StrongroomError,
)
from strongroom.node import certificates
from strongroom.services.nodes.links import Material
from strongroom.system.compat import override
from strongroom.system.hosts import Endpoint
from tests.support.control_service import Controlled, controlled
from tests.support.tls import Authority
from tests.support.web_client import ADMIN, LOCAL, PASSWORD

NOW = SystemClock().now()
WHO = {"name": ADMIN, "password": PASSWORD}


@pytest.fixture
def one(node_dir: Path) -> Iterator[Controlled]:
    with controlled(node_dir) as found:
        yield found


def called(one: Controlled, context: ssl.SSLContext | None = None) -> Called:
    believed = certificates.links(one.node).authority()
    return Called("node1", one.endpoint, context or remote_tls.trusting_context(believed))


def hello(
    one: Controlled, who: Mapping[str, str] = WHO, context: ssl.SSLContext | None = None
) -> object:
    """How the node names itself to an administrator, or to whoever else says who."""
    return called(one, context).ask({"verb": "hello", "arguments": {}, **who})["result"]


def shown(one: Controlled, context: ssl.SSLContext) -> object:
    """The same to a caller with a certificate."""
    return hello(one, {}, context)


def until(true: Callable[[], bool]) -> None:
    """Wait for what a thread of the service does after its answer."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def raw(one: Controlled, data: bytes) -> bytes:
    """What is answered to bytes in a TLS connection."""
    context = remote_tls.trusting_context(None)
    with (
        socket.create_connection(one.endpoint, 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        secured.sendall(data)
        found = b""
        while piece := secured.recv(65536):
            found += piece
        return found


def post(body: bytes, length: str | None = None) -> bytes:
    size = str(len(body)) if length is None else length
    return f"POST {CALL_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body


def caller(one: Controlled, signing: Issuing, node_id: str = "node2") -> ssl.SSLContext:
    """The context of somebody with a certificate of an authority, for a key of his own."""
    key = node_certificates.new_key()
    name = NodeName(one.node.configuration.document().installation_id, node_id)
    made = signing.certify(node_certificates.request(key, name), name)
    shown = node_certificates.pem((made,)).encode() + node_certificates.key_pem(key).reveal()
    believed = certificates.links(one.node).authority()
    return remote_tls.client_context(Material(SecretBytes(shown), believed))


def issuing(one: Controlled) -> Issuing:
    """The installation's own authority, whose key every node has, and a removed one had."""
    found = certificates.service(one.node).find_authorities()
    assert found is not None
    return Issuing(found.present, NOW)


def test_an_administrator_is_answered(one: Controlled) -> None:
    found = hello(one)
    assert isinstance(found, dict)
    assert found["node"] == "node1"
    with pytest.raises(AuthenticationError):
        hello(one, {"name": ADMIN, "password": "wrong"})
    with pytest.raises(AuthenticationError, match="takes a node's certificate, or the name"):
        hello(one, {})


def test_who_administrates_nothing_is_refused(one: Controlled) -> None:
    one.node.ensure_schema()
    one.node.users.create(LOCAL, "viewer", password=SecretBytes(b"a viewer's password"))
    with pytest.raises((PermissionDeniedError, AuthenticationError)):
        hello(one, {"name": "viewer", "password": "a viewer's password"})


@pytest.mark.parametrize("verb", ["data-keys.unwrap", "kms.set-mode", "no verb"])
def test_what_is_never_remote_says_so(one: Controlled, verb: str) -> None:
    with pytest.raises(PermissionDeniedError, match=f"'{verb}' is never remote"):
        called(one).ask({"verb": verb, "arguments": {}, **WHO})


def test_a_verb_is_carried_out_and_a_wrong_call_is_refused(one: Controlled) -> None:
    found = called(one).ask({"verb": "kms.status", "arguments": {}, **WHO})["result"]
    assert isinstance(found, dict)
    assert found["json"]["status"] == "OK"
    with pytest.raises(StrongroomError, match="cannot be carried out as it is"):
        called(one).ask({"verb": "users.unlock", "arguments": {}, **WHO})
    with pytest.raises(StrongroomError, match="a verb and its arguments"):
        called(one).ask({"verb": "kms.status", "arguments": 1, **WHO})


def test_a_certificate_of_the_authority_alone_opens_nothing(one: Controlled) -> None:
    """Design (f) 2: a removed node has the key of the authority, and makes itself any certificate."""
    for node_id in ("node1", "node2"):
        with pytest.raises(
            PermissionDeniedError, match=f"{node_id} is no node of this installation"
        ):
            shown(one, caller(one, issuing(one), node_id))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (NOW - timedelta(days=91), "it has ended, or is not valid as yet, by the clock"),
        (NOW + timedelta(days=1), "not valid as yet"),
    ],
)
def test_a_caller_whose_certificate_does_not_hold_is_told(
    one: Controlled, moment: datetime, words: str
) -> None:
    """Clocks that differ by a day, and certificates that ended: the sentence names node and cause."""
    signing = issuing(one)._replace(moment=moment)
    with pytest.raises(PermissionDeniedError, match=words) as caught:
        shown(one, caller(one, signing))
    assert "node1 at 127.0.0.1" in caught.value.message
    assert "compare the clocks" in caught.value.hint


def test_a_caller_of_another_installation_is_told(one: Controlled) -> None:
    other = node_certificates.new_authority("another", NOW)
    with pytest.raises(PermissionDeniedError, match="of an authority that it does not believe"):
        shown(one, caller(one, Issuing(other, NOW)))


def test_a_node_of_another_authority_is_not_believed(one: Controlled) -> None:
    other = node_certificates.pem((node_certificates.new_authority("x", NOW).certificate,))
    with pytest.raises(PermissionDeniedError, match="shows a certificate of another authority"):
        hello(one, WHO, remote_tls.trusting_context(other))
    with pytest.raises(StateError, match="the authority cannot be used"):
        remote_tls.trusting_context("no certificate")


@pytest.mark.parametrize(
    ("days", "words"), [(-100, "a certificate that has ended"), (1, "not valid as yet")]
)
def test_a_node_whose_clock_is_wrong_is_named(node_dir: Path, days: int, words: str) -> None:
    with controlled(node_dir, FixedClock(NOW + timedelta(days=days))) as one:
        with pytest.raises(PermissionDeniedError, match=words) as caught:
            hello(one)
        assert "node1 at 127.0.0.1" in caught.value.message


def test_nothing_but_tls_1_3_is_spoken(one: Controlled, caplog: pytest.LogCaptureFixture) -> None:
    old = remote_tls.trusting_context(None)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(LinkError, match=r"does not speak TLS 1\.3"):
        hello(one, WHO, old)
    # the caller has the alert before the thread of the service writes the line
    until(lambda: "127.0.0.1 is refused: it does not speak TLS 1.3" in caplog.text)
    with socket.create_connection(one.endpoint, 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"this port speaks HTTPS" in plain.recv(4096)


def test_openssl_judges_the_same(one: Controlled, tmp_path: Path) -> None:
    """TLS 1.3 with the chain of the authority, verified by another program; TLS 1.2 is refused."""
    ca = tmp_path / "ca.pem"
    ca.write_text(certificates.links(one.node).authority())
    line = ["openssl", "s_client", "-connect", one.endpoint.text, "-CAfile", str(ca)]
    good = subprocess.run(
        [*line, "-verify_return_error", "-verify_hostname", "node1"],
        input=b"",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Verify return code: 0 (ok)" in good.stdout
    assert b"TLSv1.3" in good.stdout
    bad = subprocess.run(
        [*line, "-tls1_2"], input=b"", capture_output=True, timeout=60, check=False
    )
    assert bad.returncode != 0
    assert b"alert protocol version" in bad.stderr


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (post(b"[1]"), 422, "a call is one JSON object"),
        (post(b"{"), 422, "a call is one JSON object"),
        (post(b"", "99999999"), 422, "a call has at most 1048576 bytes"),
        (post(b"", "-1"), 422, "says its length"),
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404, "there is no '/other' here"),
        (b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404, "there is no"),
    ],
)
def test_a_strange_request_is_answered_in_words(
    one: Controlled, data: bytes, status: int, words: str
) -> None:
    found = raw(one, data)
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert words in json.loads(body)["error"]["message"]


def test_huge_and_broken_requests_cost_little(one: Controlled) -> None:
    assert raw(one, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n").split()[1] == b"414"
    many = b"".join(b"X-%d: y\r\n" % number for number in range(200))
    assert raw(one, b"GET / HTTP/1.1\r\n" + many + b"\r\n").split()[1] == b"431"
    assert hello(one)


def test_a_slow_caller_is_cut(
    one: Controlled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the handshake, and in its request; others are served meanwhile."""
    monkeypatch.setattr(remote_server, "HANDSHAKE_S", 0.5)
    monkeypatch.setattr(remote_server, "REQUEST_S", 0.5)
    with socket.create_connection(one.endpoint, 10) as plain:
        plain.sendall(b"\x16\x03\x01")
        assert hello(one)
        assert plain.recv(1) == b""
    until(lambda: "127.0.0.1 is refused" in caplog.text)
    assert raw(one, b"GET /") == b""


def test_one_address_has_a_bounded_number_of_connections(one: Controlled) -> None:
    waiting = [socket.create_connection(one.endpoint, 10) for _ in range(remote_server.MOST_OF_ONE)]
    try:
        with socket.create_connection(one.endpoint, 10) as more:
            assert more.recv(1) == b""
    finally:
        for each in waiting:
            each.close()


def test_a_place_is_free_again_although_the_system_gave_no_thread(
    one: Controlled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17: each such connection kept its place, and soon nobody was let in until the node was started anew."""

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    refusals: list[object] = []
    monkeypatch.setattr(remote_server._Server, "handle_error", lambda *_: refusals.append(None))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(remote_server.MOST_OF_ONE):
            socket.create_connection(one.endpoint, 10).close()
        until(lambda: len(refusals) == remote_server.MOST_OF_ONE)
    assert hello(one) is not None


def test_what_answers_nothing_of_use_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    context = remote_tls.trusting_context(authority.ca_file.read_text())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        silent.close()
        with pytest.raises(LinkError, match=f"node9 at 127.0.0.1:{port} cannot be reached"):
            Called("node9", Endpoint("127.0.0.1", port), context).ask({})
    with pytest.raises(LinkError, match="the name has no address"):
        Called("node9", Endpoint("nowhere.invalid", 1), context).ask({})


def test_a_connection_to_a_node_that_is_refused_is_closed(one: Controlled) -> None:
    """Not by the collector, some time: a caller that tries again and again would have no descriptor left."""
    closed: list[ssl.SSLSocket] = []

    class Watched(ssl.SSLSocket):
        @override
        def close(self) -> None:
            super().close()
            closed.append(self)

    def refuse(certificate: bytes) -> None:
        assert certificate
        raise PermissionDeniedError("node1 is not spoken with")

    right = called(one)
    right.context.sslsocket_class = Watched
    with pytest.raises(PermissionDeniedError, match="node1 is not spoken with"):
        Called(right.who, right.endpoint, right.context, refuse).ask({})
    assert [each.fileno() for each in closed] == [-1]


def test_a_port_that_is_taken_is_told(one: Controlled) -> None:
    links = certificates.links(one.node)
    ports = remote_server.RemotePorts(one.node, links, lambda _: 0, "node1", "0")
    with (
        pytest.raises(StrongroomError, match=r"cannot listen on 127\.0\.0\.1"),
        remote_server.serving(ports, *one.endpoint),
    ):
        pass
    assert places.place(one.node.configuration, places.CONTROL) == ("127.0.0.1", None)


def test_a_node_without_a_certificate_opens_no_control_service(one: Controlled) -> None:
    one.node.paths.certificate.unlink()
    with pytest.raises(StateError, match="no certificate as yet"):
        certificates.links(one.node).material()


def test_the_certificate_is_shown_anew_without_a_new_start(one: Controlled) -> None:
    before = certificates.links(one.node).material()
    certificates.service(one.node).follow("os:tests", renew=True)
    assert certificates.links(one.node).material() != before
    assert hello(one)
