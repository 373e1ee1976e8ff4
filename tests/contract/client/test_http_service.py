"""The keys of a node over HTTP(S): who may, what is verified, and what becomes of a session (docs/format/data-keys.md 2)."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import client
from strongroom.client import AccessToken, HttpKeyService, Password, SecretBytes
from strongroom.errors import (
    AuthenticationError,
    KeyServiceError,
    PermissionDeniedError,
)
from strongroom.repository.rows import SiteMode
from tests.contract.client.conftest import CREDENTIALS
from tests.support import fault_server
from tests.support.fault_server import Fault, FaultServer, Request, Response
from tests.support.tls import Authority
from tests.support.web_client import LOCAL, PASSWORD, Client, Served


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def front(served: Served, authority: Authority) -> Iterator[FaultServer]:
    """HTTPS before the node, which can be broken."""
    backend = fault_server.forward_to(f"http://127.0.0.1:{served.port}")
    with fault_server.running(backend, authority) as server:
        yield server


def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


def test_the_setting_is_off_and_a_running_server_notices_it(served: Served) -> None:
    """data-keys.md 1.3: nobody gets keys over the network who was not told that this is possible."""
    node = served.node
    with HttpKeyService(url(served), CREDENTIALS) as keys:
        header, dek = keys.generate()
        node.configuration.reset("gateway.data_keys", actor=LOCAL.actor)
        node.configuration.apply(actor=LOCAL.actor)
        for ask in (keys.generate, lambda: keys.unwrap(header)):
            with pytest.raises(PermissionDeniedError, match="over the network"):
                ask()
        assert node.data_key_desk.unwrap(LOCAL, _page(header)) == dek


def _page(header: client.Header) -> bytes:
    from strongroom.envelope.pages import serialize

    return serialize(header)


@pytest.mark.parametrize("role", ["SiteAdministratorCreator", "Creator", "Viewer", "Unlicensed"])
def test_nobody_but_server_administrators(served: Served, role: str) -> None:
    served.site("Sales", SiteMode.ENABLED)
    served.node.users.create(LOCAL, "ann", password=SecretBytes(PASSWORD.encode()))
    served.node.users.add_to_site(LOCAL, served.node.sites.find("Sales").id, "ann", role)
    ann = Password("ann", SecretBytes(PASSWORD.encode()))
    with (
        HttpKeyService(url(served), ann, site="Sales") as keys,
        pytest.raises((PermissionDeniedError, AuthenticationError)),
    ):
        keys.generate()


def test_an_access_token_opens(served: Served) -> None:
    admin = served.node.users.find("admin")
    _, secret = served.node.tokens.create(LOCAL, admin.id, "nightly")
    with HttpKeyService(url(served), AccessToken("nightly", secret)) as keys:
        header, dek = keys.generate()
        assert keys.unwrap(header) == dek


def test_wrong_credentials(served: Served) -> None:
    wrong = Password("admin", SecretBytes(b"wrong horse"))
    with (
        HttpKeyService(url(served), wrong) as keys,
        pytest.raises(AuthenticationError),
    ):
        keys.generate()


def test_a_session_that_has_ended_is_begun_anew(served: Served) -> None:
    keys = HttpKeyService(url(served), CREDENTIALS)
    keys.generate()
    token = keys._token
    assert token is not None
    Client(served.port, token=token.reveal().decode()).send("POST", "/auth/signout")
    keys.generate()
    assert keys._token != token
    keys.close()
    keys.generate()  # it signs in again
    keys.close()


def test_close_ends_the_session(served: Served) -> None:
    with HttpKeyService(url(served), CREDENTIALS) as keys:
        keys.generate()
        token = keys._token
    assert token is not None
    reply = Client(served.port, token=token.reveal().decode()).send("GET", "/sites")
    assert reply.status == 401


def test_a_certificate_is_verified(
    front: FaultServer, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """data-keys.md 1.7: neither a certificate of a stranger nor one that the system does not know."""
    log = tmp_path / "session-keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with HttpKeyService(front.url, CREDENTIALS, ca_file=authority.ca_file) as keys:
        keys.generate()
    assert not log.exists()
    asked = len(front.calls)
    with (
        HttpKeyService(front.url, CREDENTIALS) as keys,
        pytest.raises(KeyServiceError, match="not trusted") as caught,
    ):
        keys.generate()
    assert "ca_file" in caught.value.hint
    with (
        front.broken(Fault.BAD_TLS),
        HttpKeyService(front.url, CREDENTIALS, ca_file=authority.ca_file) as keys,
        pytest.raises(KeyServiceError, match="not trusted"),
    ):
        keys.generate()
    assert len(front.calls) == asked  # no credential was sent


def test_the_name_is_verified(front: FaultServer, authority: Authority) -> None:
    other = front.url.replace("127.0.0.1", "127.0.0.2")
    with (
        HttpKeyService(other, CREDENTIALS, ca_file=authority.ca_file, timeout_s=20) as keys,
        pytest.raises(KeyServiceError),
    ):
        keys.generate()


def test_a_node_that_went_away(front: FaultServer, authority: Authority) -> None:
    with HttpKeyService(front.url, CREDENTIALS, ca_file=authority.ca_file) as keys:
        keys.generate()
        for fault in (Fault.UNREACHABLE, Fault.RESET):
            with front.broken(fault), pytest.raises(KeyServiceError, match="cannot be asked"):
                keys.generate()
        keys.generate()


def test_a_kept_connection_that_the_server_closed(served: Served) -> None:
    with HttpKeyService(url(served), CREDENTIALS) as keys:
        keys.generate()
        sock = keys._connection._connection.sock
        assert sock is not None
        sock.shutdown(2)
        keys.generate()


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"<html>a gate</html>"),
        Response(200, b"[]"),
        Response(200, b"[" * 100_000),
        Response(200, b'{"credentials": {"token": "t"}, "dataKey": "x"}'),
        Response(
            200, b'{"credentials": {"token": "t"}, "dataKey": {"key": "QQ==", "header": "QQ=="}}'
        ),
        Response(200, b'{"credentials": {"token": "t"}, "dataKey": {"key": "\xff", "header": 1}}'),
        Response(200, b'{"credentials": {"token": 1}}'),
        Response(200, json.dumps({"credentials": {"token": "\u2028"}}).encode()),
        Response(302, b"", {"location": "http://127.0.0.1:1/"}),
        Response(500, b"oops"),
        Response(429, b'{"error": {"code": "429000", "detail": "too many"}}', {"retry-after": "5"}),
        Response(404, b'{"error": {"code": "404003", "detail": "no such route"}}'),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body[-40:]!r}",
)
def test_answers_that_make_no_sense(answer: Response) -> None:
    asked: list[Request] = []

    def backend(request: Request) -> Response:
        asked.append(request)
        return answer

    with (
        fault_server.running(backend) as server,
        HttpKeyService(server.url, CREDENTIALS) as keys,
        pytest.raises(KeyServiceError),
    ):
        keys.generate()
    assert all(request.path.startswith("/api/") for request in asked)


def test_a_server_that_says_nothing_is_left() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        HttpKeyService(
            f"http://127.0.0.1:{silent.getsockname()[1]}", CREDENTIALS, timeout_s=0.2
        ) as keys,
        pytest.raises(KeyServiceError, match="timed out"),
    ):
        keys.generate()


def test_what_the_routes_take(served: Served) -> None:
    admin = served.client()
    for body, code in (
        ('{"dataKey": {"header": "***"}}', "400011"),
        ('{"dataKey": {"header": "QUJD"}}', "400011"),
        ('{"dataKey": {}}', "400011"),
        ("", "400003"),
    ):
        reply = admin.send("POST", "/strongroom/data-keys/unwrap", body)
        assert (reply.status, reply.code) == (400, code), reply.body
    for size in ("x", "-1", "9" * 400, "٣"):
        sent = json.dumps({"dataKey": {"segmentBytes": size}})
        reply = admin.send("POST", "/strongroom/data-keys/generate", sent)
        assert (reply.status, reply.code) == (400, "400011"), reply.body
    reply = admin.send("POST", "/strongroom/data-keys/generate")
    found = reply.find("dataKey")
    assert set(found.attrib) == {"header", "key"}  # data-keys.md 1.5
