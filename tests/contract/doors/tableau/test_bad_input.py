"""What nobody should send: answered clearly, never with a 5xx, and nothing is left (issue: bad input and faults)."""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.extracts.stored import VaultReader
from strongroom.repository.rows import SiteMode
from tests.support.web_client import BOUNDARY, HYPER, Client, Served, multipart, serve

BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><tsRequest><site name="&c;"/></tsRequest>'
HEADERS = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}


def gone(served: Served, seconds: float = 60) -> bool:
    """Whether in the end nothing is left; cleaning up may take a moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if served.stored == [] and served.nothing_is_left():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("path", ["/auth/signin", "/sites"])
@pytest.mark.parametrize(
    "body",
    [BOMB, b"<tsRequest>", b"\xff\xff", b"{", b"<a/>"],
    ids=["bomb", "open", "bytes", "json", "root"],
)
def test_bad_xml(served: Served, path: str, body: bytes) -> None:
    reply = served.client().send("POST", path, body)
    assert (reply.status, reply.code) == (400, "400011")


def test_a_bomb_in_a_publish_request(served: Served) -> None:
    client = served.client()
    body = multipart(("request_payload", "", BOMB), ("tableau_datasource", "f.hyper", HYPER))
    reply = client.on_site("POST", "/datasources", body, {"datasourceType": "hyper"}, HEADERS)
    assert reply.status == 400
    assert gone(served)


def test_large_xml_is_refused(served: Served) -> None:
    body = b"<tsRequest>" + b" " * (1024 * 1024) + b"</tsRequest>"
    assert served.client().send("POST", "/sites", body).status == 400


@pytest.mark.parametrize(
    "parts",
    [
        [("tableau_datasource", "f.hyper", HYPER)],
        [("tableau_datasource", "f.hyper", HYPER), ("request_payload", "", b"<tsRequest/>")],
        [("request_payload", "", b'<tsRequest><datasource name="a"/></tsRequest>')],
        [("request_payload", "", b"<tsRequest/>"), ("tableau_datasource", "f.hyper", HYPER)],
        [
            ("request_payload", "", b'<tsRequest><datasource name="a"/></tsRequest>'),
            ("tableau_datasource", "f.hyper", HYPER),
            ("tableau_datasource", "f.hyper", HYPER),
        ],
        [
            ("request_payload", "", b'<tsRequest><datasource name="a"/></tsRequest>'),
            ("other", "f", HYPER),
        ],
    ],
    ids=["no xml", "xml last", "no file", "no datasource", "two files", "other part"],
)
def test_parts_that_do_not_fit(served: Served, parts: list[tuple[str, str, bytes]]) -> None:
    client = served.client()
    reply = client.on_site(
        "POST", "/datasources", multipart(*parts), {"datasourceType": "hyper"}, HEADERS
    )
    assert reply.status == 400
    assert gone(served)


@pytest.mark.parametrize("content_type", ["", "text/xml", "multipart/mixed", "application/json"])
def test_publishing_is_multipart(served: Served, content_type: str) -> None:
    client = served.client()
    reply = client.on_site("POST", "/datasources", b"x", None, {"content-type": content_type})
    assert reply.status == 400


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_uploads_say_how_long_they_are(served: Served, method: str) -> None:
    client = served.client()
    path = "/datasources" if method == "POST" else "/fileUploads/x"
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)

    def chunks() -> Iterator[bytes]:
        yield b"abc"

    target = f"/api/3.26/sites/{client.site_id}{path}"
    connection.request(
        method, target, chunks(), {"x-tableau-auth": client.token}, encode_chunked=True
    )
    assert connection.getresponse().status == 411
    connection.close()


def begin(
    client: Client, declared: int, sent: bytes, path: str = "/datasources?datasourceType=hyper"
) -> socket.socket:
    """Begin a publish request that declares more than it sends."""
    method = "PUT" if "fileUploads" in path else "POST"
    raw = socket.create_connection(("127.0.0.1", client.port), timeout=60)
    raw.sendall(
        f"{method} /api/3.26/sites/{client.site_id}{path} HTTP/1.1\r\nHost: x\r\nx-tableau-auth: {client.token}\r\n"
        f"Content-Type: multipart/mixed; boundary={BOUNDARY}\r\nContent-Length: {declared}\r\n\r\n".encode()
        + sent
    )
    return raw


def publish_body() -> bytes:
    payload = b'<tsRequest><datasource name="cut"/></tsRequest>'
    return multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", HYPER))


@pytest.mark.parametrize("mode", [SiteMode.DISABLED, SiteMode.ENFORCED], ids=lambda mode: mode.word)
@pytest.mark.parametrize("at", [1, 150, 600, 300_000, -5])
def test_an_upload_that_is_cut_leaves_nothing(served: Served, mode: SiteMode, at: int) -> None:
    client = served.site("Site", mode)
    whole = publish_body()
    raw = begin(client, len(whole), whole[:at])
    time.sleep(0.1)
    raw.close()
    assert gone(served)
    listed = client.on_site("GET", "/datasources")
    assert listed.find("pagination").get("totalAvailable") == "0"


def test_a_chunk_that_is_cut_is_not_counted(served: Served) -> None:
    client = served.site("Site", SiteMode.ENFORCED)
    upload = client.on_site("POST", "/fileUploads").find("fileUpload").get("uploadSessionId")
    whole = multipart(("request_payload", "", b""), ("tableau_file", "file", HYPER))
    begin(client, len(whole), whole[:400_000], f"/fileUploads/{upload}").close()
    assert gone(served)
    with served.node.repository.reading() as tx:
        assert tx.uploads.get(str(upload)).bytes == 0


@pytest.mark.parametrize("sent", [1, 400])
def test_ten_gibibytes_declared_and_next_to_nothing_sent(impatient: Served, sent: int) -> None:
    """The connection does not hang, the answer says why, and nothing is left."""
    client = impatient.inside(SiteMode.ENFORCED)
    raw = begin(client, 10 * 1024**3, publish_body()[:sent])
    answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    raw.close()
    assert gone(impatient)


def test_a_body_that_trickles_is_given_up(impatient: Served) -> None:
    """security test S18: a byte now and then is no sign of life; there are few threads for uploads."""
    client = impatient.inside(SiteMode.ENFORCED)
    raw = begin(client, 10**6, publish_body()[:400])
    raw.settimeout(0.1)
    answer, end = b"", time.monotonic() + 60
    while not answer and time.monotonic() < end:
        with suppress(TimeoutError):
            raw.sendall(b"x")
            answer = raw.recv(65536)
    raw.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert gone(impatient)


def test_a_small_body_that_does_not_come(impatient: Served) -> None:
    raw = socket.create_connection(("127.0.0.1", impatient.port), timeout=60)
    raw.sendall(b"POST /api/3.26/auth/signin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<")
    assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")
    raw.close()


def test_an_early_refusal_reaches_a_client_that_is_still_sending(served: Served) -> None:
    """tabcmd sends everything before it reads: the server takes the rest and drops it."""
    client = served.client()
    client.publish("data")
    reply = client.publish("data", HYPER + b"\0" * (48 * 1024 * 1024))
    assert (reply.status, reply.code) == (409, "409004")


@pytest.mark.parametrize("path", ["/nosuch", "/sites/x/nosuch", "/../healthz"])
def test_unknown_paths(served: Served, path: str) -> None:
    reply = served.client().send("GET", path)
    assert (reply.status, reply.code) == (404, "404003")


def test_unknown_methods(served: Served) -> None:
    reply = served.client().send("PATCH", "/sites")
    assert (reply.status, reply.code) == (405, "405000")


@pytest.mark.parametrize(
    "head", [b"X: " + b"a" * 100_000, b"a" * 200_000, b"\r\n".join([b"X: " + b"a" * 1000] * 100)]
)
def test_large_heads_are_refused(served: Served, head: bytes) -> None:
    raw = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    try:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")
    except ConnectionError:
        pass  # closed while we were still sending: refused as well
    finally:
        raw.close()
    assert served.client().send("GET", "/sites").status == 200


def test_no_token_no_upload(served: Served) -> None:
    client = served.client()
    client.token = "x" * 43
    assert client.publish("data").code == "401002"
    assert gone(served)


def test_keys_that_cannot_be_opened_are_no_server_error(node_dir: Path) -> None:
    """clients.md 1.1: of a 5xx the clients show raw bytes, and 409 would be a success for `--continue-if-exists`."""
    with serve(node_dir) as served:
        client = served.site("Site", SiteMode.ENFORCED)
        item = client.publish("data").find("datasource").get("id", "")
        password = served.node.paths.keystore_password
    password.write_text("another password")
    with serve(node_dir) as served:
        client = served.client("Site")
        assert client.send("GET", "/serverInfo").status == 200
        for reply in (client.download(item), client.publish("more")):
            assert (reply.status, reply.code[:3]) == (423, "423")
        assert served.nothing_is_left()
        assert raw_status(served.port, "/healthz") == 200
        assert raw_status(served.port, "/readyz") == 503


def raw_status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_client_that_leaves_during_a_download_stops_it(served: Served) -> None:
    """Nobody decrypts for nobody."""
    client = served.site("Site", SiteMode.ENFORCED)
    item = client.publish("data", HYPER * 60).find("datasource").get("id", "")
    read: list[int] = []
    original = VaultReader.read_into_at

    def counted(self: VaultReader, offset: int, target: memoryview) -> int:
        read.append(len(target))
        return original(self, offset, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VaultReader, "read_into_at", counted)
        raw = socket.create_connection(("127.0.0.1", served.port), timeout=60)
        raw.sendall(
            f"GET /api/3.26/sites/{client.site_id}/datasources/{item}/content HTTP/1.1\r\n"
            f"Host: x\r\nx-tableau-auth: {client.token}\r\n\r\n".encode()
        )
        raw.recv(1000)
        raw.close()
        time.sleep(1)
    assert 0 < sum(read) < len(HYPER) * 60


def test_a_cut_body_closes_the_connection(impatient: Served) -> None:
    """What comes later on it would be taken for a request."""
    raw = begin(impatient.inside(SiteMode.DISABLED), 10**6, b"--")
    answer = b""
    while chunk := raw.recv(65536):
        answer += chunk
    assert b"connection: close" in answer.lower()
    raw.close()


def test_a_small_body_that_is_cut(served: Served) -> None:
    raw = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    raw.sendall(b"POST /api/3.26/auth/signin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<")
    raw.close()
    assert served.client().send("GET", "/sites").status == 200


def test_an_unexpected_error_is_500_and_tells_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("SECRET-DETAIL")

    client = served.client()
    monkeypatch.setattr(served.node.sites, "page", broken)
    reply = client.send("GET", "/sites")
    assert (reply.status, reply.code) == (500, "500000")
    assert b"SECRET-DETAIL" not in reply.body
