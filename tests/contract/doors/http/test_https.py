"""Our own HTTPS listener: the administrator's certificate, exchanged while serving (C-20)."""

import asyncio
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from strongroom.doors.http import https, server
from strongroom.doors.http.settings import WebSettings
from strongroom.errors import ConflictError, StateError, UsageError
from strongroom.node import opening
from strongroom.node.opening import Node
from tests.support.emulators import free_port
from tests.support.tls import Authority

ACTOR = "os:test"
PASSPHRASE = "opens the key"


def apply(node: Node, values: dict[str, str]) -> None:
    for key, value in values.items():
        node.configuration.set(key, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def certificate(folder: Path, *, passphrase: str = "") -> tuple[Path, dict[str, str]]:
    """What a client must trust, and the parameters."""
    authority = Authority(folder)
    both = (folder / "server.pem").read_text()
    key, mark, leaf = both.partition("-----BEGIN CERTIFICATE-----")
    values = {"ssl.key.file_bytes": key, "ssl.cert.file_bytes": mark + leaf}
    if passphrase:
        values["ssl.key.file_bytes"] = encrypted(key, passphrase)
        values["ssl.key.passphrase"] = passphrase
    return authority.ca_file, values


def encrypted(key: str, passphrase: str) -> str:
    loaded = serialization.load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    ).decode()


@contextmanager
def served(node: Node, settings: WebSettings | None = None) -> Iterator[None]:
    ready = threading.Event()
    with server.listen("127.0.0.1", 0) as plain, https.listening(node) as tls:
        running = server.build(node, lambda _: ready.set(), settings, tls)
        thread = threading.Thread(target=running.run, args=([plain],))
        thread.start()
        try:
            assert ready.wait(60)
            yield
        finally:
            running.should_exit = True
            thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def node(node_dir: Path) -> Iterator[Node]:
    opened = opening.open_node(str(node_dir))
    yield opened
    opened.close()


@pytest.fixture
def port(node: Node) -> int:
    chosen = free_port()
    apply(node, {"gateway.https.port": str(chosen)})
    return chosen


def health(port: int, ca_file: Path) -> int:
    context = ssl.create_default_context(cafile=str(ca_file))
    client = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
    try:
        client.request("GET", "/healthz")
        return client.getresponse().status
    finally:
        client.close()


def becomes(true: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if true():
            return True
        time.sleep(0.02)
    return False


def trusts(port: int, ca_file: Path) -> bool:
    try:
        return health(port, ca_file) == 200
    except (ssl.SSLCertVerificationError, ConnectionRefusedError):
        return False


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_it_serves_with_the_certificate_that_was_applied(
    node: Node, port: int, tmp_path: Path, passphrase: str
) -> None:
    ca_file, values = certificate(tmp_path / "one", passphrase=passphrase)
    apply(node, values)
    with served(node):
        assert health(port, ca_file) == 200


def test_a_new_certificate_is_shown_without_a_restart_and_open_connections_go_on(
    node: Node, port: int, tmp_path: Path
) -> None:
    first, values = certificate(tmp_path / "one")
    second, later = certificate(tmp_path / "two", passphrase=PASSPHRASE)
    apply(node, values)
    with served(node):
        context = ssl.create_default_context(cafile=str(first))
        client = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        client.request("GET", "/healthz")
        assert client.getresponse().read() == b"ok\n"
        apply(node, later)
        assert becomes(lambda: trusts(port, second))
        assert not trusts(port, first)
        client.request("GET", "/healthz")
        assert client.getresponse().read() == b"ok\n"
        client.close()


@pytest.mark.parametrize(
    "spoil",
    [
        {"ssl.key.file_bytes": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        {"ssl.key.passphrase": "another one"},
    ],
)
def test_a_certificate_that_does_not_work_leaves_the_old_one(
    node: Node,
    port: int,
    tmp_path: Path,
    spoil: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong change is told and not taken over; nobody is asked for a passphrase on a terminal."""
    ca_file, values = certificate(tmp_path / "one", passphrase=PASSPHRASE)
    apply(node, values)
    with pytest.raises(UsageError, match="HTTPS cannot be served"):
        apply(node, spoil)
    node.configuration.discard()
    node.configuration.checks.clear()  # as a node of the version before, which took it
    with served(node):
        apply(node, spoil)
        assert becomes(lambda: "cannot be used" in caplog.text)
        assert health(port, ca_file) == 200
    assert PASSPHRASE not in caplog.text


def test_without_a_certificate_it_listens_when_one_is_applied(
    node: Node, port: int, tmp_path: Path
) -> None:
    ca_file, values = certificate(tmp_path / "one")
    with served(node):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=60)
        apply(node, values)
        assert becomes(lambda: trusts(port, ca_file))


def test_a_change_while_it_stops_is_told_and_harms_nothing(
    node: Node, port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, values = certificate(tmp_path / "one")
    apply(node, values)
    with https.listening(node) as tls:
        assert tls is not None
        loop = asyncio.new_event_loop()
        loop.close()
        tls._loop = loop
        tls.reload()
    assert "is not shown" in caplog.text


def test_old_versions_of_tls_are_refused(node: Node, port: int, tmp_path: Path) -> None:
    ca_file, values = certificate(tmp_path / "one")
    apply(node, values)
    with served(node):
        context = ssl.create_default_context(cafile=str(ca_file))
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as line,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(line, server_hostname="127.0.0.1")


def test_no_key_is_in_a_file_of_ours(node: Node, port: int, tmp_path: Path) -> None:
    """C-02: chain and key are shown from memory."""
    _, values = certificate(tmp_path / "one")
    apply(node, values)
    secret = values["ssl.key.file_bytes"].splitlines()[1].encode()
    with served(node):
        found = [path for path in node.paths.root.rglob("*") if path.is_file()]
        assert not [path for path in found if secret in path.read_bytes()]


def test_without_a_port_there_is_no_https(node: Node) -> None:
    with https.listening(node) as tls:
        assert tls is None


def test_a_wrong_address_or_a_taken_port_is_told(node: Node, port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConflictError),
        https.listening(node),
    ):
        pass
    with pytest.raises(UsageError, match="cannot be"):
        apply(node, {"gateway.https.host": "example.org"})
    held = {"gateway.https.host": "example.org"}  # as an older version took it
    node.configuration.compare_and_put(lambda document: document.with_values(held))
    with pytest.raises(StateError, match="holds a value"), https.listening(node):
        pass


@pytest.mark.parametrize(
    "ciphers", ["AES128-SHA:AES256-SHA", "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384"]
)
def test_weak_suites_are_not_offered(node: Node, port: int, tmp_path: Path, ciphers: str) -> None:
    """findings S15: two suites of TLS 1.2 in CBC mode were."""
    _, values = certificate(tmp_path)
    apply(node, values)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers + ":@SECLEVEL=0")
    with (
        served(node),
        socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw)


def test_browsers_are_told_to_come_back_by_https(node: Node, port: int, tmp_path: Path) -> None:
    """findings S15: HSTS, and by HTTPS alone."""
    ca_file, values = certificate(tmp_path)
    apply(node, values)
    with served(node):
        context = ssl.create_default_context(cafile=str(ca_file))
        client = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        client.request("GET", "/healthz")
        assert client.getresponse().headers["strict-transport-security"] == "max-age=31536000"
        client.close()


def test_every_suite_has_forward_secrecy_and_authenticates() -> None:
    """findings S15."""
    for one in https.new_context().get_ciphers():
        assert one["name"].startswith(("TLS_", "ECDHE-"))
        assert "GCM" in one["name"] or "CHACHA20" in one["name"]


def test_a_chain_can_be_printed() -> None:
    """findings S17: it holds the private key and its passphrase."""
    assert "SECRET" not in repr(https.Chain(b"SECRET-1", b"SECRET-2"))
