"""Every input at its maximum costs the server a bounded amount of work (findings S1, ST).

What is bounded is CPU time, as multiples of a piece of work that is measured on the same machine at the same time: of the
event loop, since all others wait meanwhile, and of the whole process, since a thread that holds the interpreter's lock is as bad.
Each input is one that some parser takes more than its length for, or once took.
"""

import contextlib
import http.client
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http.feed import BodyLimits
from strongroom.doors.http.outer import Drain
from strongroom.doors.http.protocol import Patience
from strongroom.doors.http.settings import WebSettings
from strongroom.node import create
from tests.support.web_client import ADMIN, BOUNDARY, PASSWORD, Client, Served, multipart, serve

pytestmark = pytest.mark.table

HEAD = 63 * 1024  # what a head may have, with some room for its other lines
OPEN_BODY = 32 * 1024
BODY = 255 * 1024
LOOP_UNITS, PROCESS_UNITS, TRIES = 4, 16, 3
MARKS = "\u0301\u0316"  # of two classes: each of the second kind moves before all of the first
CAPSULE = "<tsRequest>%s</tsRequest>"
T = TypeVar("T")


def unit_s() -> float:
    """CPU time of a fixed piece of work."""
    begun = time.thread_time()
    total = 0
    for number in range(400_000):
        total += number * number % 7
    return time.thread_time() - begun


def head(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1")


def filled(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[: size - size % len(unit)]


def chunked(target: str, chunks: Sequence[str], end: str = "0\r\n\r\n") -> bytes:
    return head(target, "Transfer-Encoding: chunked", method="POST") + "".join(
        (*chunks, end)
    ).encode("latin-1")


INFO, SIGN_IN, LIST = "/api/3.26/serverInfo", "/api/3.26/auth/signin", "/api/3.26/sites"
HEADS = {
    "headers of one byte": head(INFO, *["a:"] * (HEAD // 4)),
    "a hundred headers": head(INFO, *["a: " + "b" * 620] * 95),
    "one long header": head(INFO, "a: " + "b" * HEAD),
    "a long name of a header": head(INFO, "b" * HEAD + ": a"),
    "folded lines": head(INFO, "a: b", *[" c"] * (HEAD // 4)),
    "hosts": head(INFO, *["Host: x"] * 90),
    "a long host": head(INFO).replace(b"Host: x", b"Host: " + b"x" * HEAD),
    "a long path": head("/" + "a" * HEAD),
    "a long path of the API": head("/api/3.26/sites/" + "a" * HEAD + "/users"),
    "many slashes": head("/api/3.26/sites" + "/" * HEAD),
    "many dots": head(filled("/..", HEAD)),
    "escapes": head("/api/3.26/sites/" + filled("%61", HEAD)),
    "broken escapes": head("/" + "%" * HEAD),
    "escapes of marks": head("/api/3.26/sites/a" + filled(quote(MARKS), HEAD)),
    "a long version": head("/api/" + "9" * HEAD + "/sites"),
    "parameters": head(INFO + "?" + filled("a=1&", HEAD)),
    "empty parameters": head(INFO + "?" + "&" * HEAD),
    "plus signs": head(INFO + "?a=" + "+" * HEAD),
    "cookies": head(INFO, "Cookie: " + filled("a=1; ", HEAD)),
    "quotes in cookies": head(INFO, 'Cookie: a="' + filled('\\"', HEAD)),
    "ranges": head(INFO, "Range: bytes=" + filled("0-0,", HEAD)),
    "a long range": head(INFO, "Range: bytes=" + "9" * HEAD),
    "spaces in a range": head(INFO, "Range: bytes=" + " " * HEAD),
    "types that are accepted": head(INFO, "Accept: " + filled("a/b;q=0.1,", HEAD)),
    "tags": head(INFO, "If-None-Match: " + filled('"a",', HEAD)),
    "a long token": head(LIST, "x-tableau-auth: " + "a" * HEAD),
    "options of a type": head(
        INFO, "Content-Length: 0", "Content-Type: a/b" + ";" * HEAD, method="POST"
    ),
    "tokens of a connection": head(INFO, "Connection: " + filled("a,", HEAD)),
    "an upgrade": head(INFO, "Connection: upgrade", "Upgrade: " + "w" * HEAD),
    "pipelined": head(INFO) * (HEAD // len(head(INFO))),
    "empty lines": b"\r\n" * (HEAD // 2),
}
BODIES = {
    "chunks of one byte": chunked(SIGN_IN, ["1\r\nx\r\n"] * 40_000),
    "chunks that nobody reads": chunked("/nosuch", ["1\r\nx\r\n"] * 40_000),
    "extensions of chunks": chunked(SIGN_IN, ["1;" + "a" * HEAD + "\r\nx\r\n"] * 4),
    "leading zeros of a chunk": chunked(SIGN_IN, ["0" * HEAD + "1\r\nx\r\n"]),
    "trailers": chunked(SIGN_IN, [], "0\r\n" + "a:b\r\n" * (HEAD // 5) + "\r\n"),
    "nested for an admission": head(
        "/tsm/nodes", "Content-Length: 4096", "Content-Type: application/json", method="POST"
    )
    + b"[" * 4096,
    "digits for an admission": head("/tsm/nodes", "Content-Length: 4096", method="POST")
    + b"9" * 4096,
}


def in_xml(size: int, tag: str = "credentials") -> dict[str, str]:
    """Texts that an XML parser, or whoever gets its strings, could take long for; of about so many bytes."""
    return {
        "elements": CAPSULE % filled("<a/>", size),
        "attributes": CAPSULE % ("<a{}/>".format("".join(f' b{n}=""' for n in range(size // 9)))),
        "namespaces": CAPSULE
        % ("<a{}/>".format("".join(f' xmlns:b{n}="c"' for n in range(size // 18)))),
        "depth": "<a>" * (size // 3),
        "references": CAPSULE % f'<a b="{filled("&#65;", size)}"/>',
        "comments": CAPSULE % filled("<!---->", size),
        "instructions": CAPSULE % filled("<?a?>", size),
        "sections": CAPSULE % filled("<![CDATA[]]>", size),
        "text": CAPSULE % ("a" * size),
        "an attribute without an end": '<tsRequest a="' + "a" * size,
        "brackets": CAPSULE % ("]" * size),
        "marks": CAPSULE % named(tag, "a" + filled(MARKS, size // 2)),
        "marks of a site": CAPSULE
        % (
            '<credentials name="a" password="b">'
            f'<site contentUrl="a{filled(MARKS, size // 2)}"/></credentials>'
        ),
        "ligatures": CAPSULE % named(tag, filled("\ufdfa", size // 3)),
        "a long password": CAPSULE % f'<credentials name="admin" password="{"p" * size}"/>',
        "a long token": CAPSULE % f'<credentials personalAccessTokenName="{"t" * size}"/>',
    }


def named(tag: str, name: str) -> str:
    return f'<{tag} name="{name}" password="b" siteRole="Viewer"/>'


def in_json(size: int) -> dict[str, str]:
    """The same for a JSON parser."""
    return {
        "nested lists": "[" * size,
        "nested objects": '{"a":' * (size // 5),
        "digits": '{"credentials":{"name":' + "9" * size + "}}",
        "digits of a fraction": '{"credentials":{"name":0.' + "9" * size + "}}",
        "an exponent": '{"credentials":{"name":1e' + "9" * (size // 2) + "}}",
        "members": "{" + ",".join(f'"a{n}":1' for n in range(size // 9)) + "}",
        "items": '{"credentials":[' + filled("1,", size) + "1]}",
        "escapes": '{"credentials":{"name":"' + filled("\\u0301\\u0316", size) + '"}}',
    }


QUERIES = {
    "conditions": "filter=" + filled("name:eq:a,", HEAD),
    "values": "filter=name:in:[" + filled("a,", HEAD) + "]",
    "escaped values": "filter=name:in:[" + filled(quote("\\,"), HEAD) + "]",
    "commas": "filter=name:eq:a" + "," * HEAD,
    "colons": "filter=" + ":" * HEAD,
    "a long field": "filter=" + "a" * HEAD + ":eq:a",
    "humps": "sort=" + "A" * HEAD + ":asc",
    "sorts": "sort=" + filled("name:asc,", HEAD),
    "marks": "filter=name:eq:a" + filled(quote(MARKS), HEAD),
    "digits": "pageSize=" + "9" * HEAD,
    "a pattern": "filter=name:has:" + filled("%25_", HEAD),
}
PUBLISHED = {
    "parts": multipart(*[("a", "b", b"")] * 2000),
    "headers of a part": f"--{BOUNDARY}\r\n".encode() + b"a:b\r\n" * 50_000,
    "one header of a part": f"--{BOUNDARY}\r\na: ".encode() + b"b" * BODY,
    "options of a part": f'--{BOUNDARY}\r\nContent-Disposition: a; b="'.encode() + b";" * BODY,
    "almost boundaries": multipart(
        ("request_payload", "", f"\r\n--{BOUNDARY[:-1]}x".encode() * 16_000)
    ),
    "carriage returns": multipart(("request_payload", "", b"\r" * BODY)),
    "before the first": b"\r\n" * (BODY // 2),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("budget") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    settings = WebSettings(
        patience=Patience(head_s=1), small_body=BodyLimits(whole_s=1), drain=Drain(seconds=1)
    )
    with serve(root, settings) as running:  # what is never whole is not waited for
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    return served.client()


@dataclass(frozen=True)
class Budget:
    """Judges by CPU time what one request costs the server."""

    served: Served

    def of(self, send: Callable[[], T]) -> T:
        """Send, and take the answer; the server answers others afterwards.

        What an input costs, it costs each time: the least of some tries counts. One try alone may meet what the process
        of the tests has to do for itself (it once took two seconds more, in eighteen thousand tests).

        Raises:
            AssertionError: Each try cost more than the budget.
        """
        over = ""
        for _ in range(TRIES):
            unit, loop, process = unit_s(), self.served.loop_cpu_s(), time.process_time()
            answer = send()
            self._still_answers()
            loop, process = self.served.loop_cpu_s() - loop, time.process_time() - process
            unit = max(unit, unit_s())  # the machine may have become slower meanwhile
            if loop < LOOP_UNITS * unit and process < PROCESS_UNITS * unit:
                return answer
            over += (
                f"\nthe event loop took {loop / unit:.1f} units, the process {process / unit:.1f}"
            )
        raise AssertionError(f"each of {TRIES} tries cost more than the budget:{over}")

    def _still_answers(self) -> None:
        after = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=60)
        with contextlib.closing(after):
            after.request("GET", INFO)
            assert after.getresponse().status == 200


@pytest.fixture
def budget(served: Served) -> Budget:
    return Budget(served)


def statuses(served: Served, raw: bytes) -> list[int]:
    """Send it, however far that goes, and take the first answer; none if the connection was cut."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(raw)
        with contextlib.suppress(ConnectionError), connection.makefile("rb") as answer:
            line = answer.readline().split()
            return [int(line[1])] if line else []
    return []


@pytest.mark.parametrize("raw", [*HEADS.values(), *BODIES.values()], ids=[*HEADS, *BODIES])
def test_of_strangers(served: Served, budget: Budget, raw: bytes) -> None:
    """findings S1: sixteen thousand headers took eight seconds of the event loop."""
    assert all(status < 500 for status in budget.of(lambda: statuses(served, raw)))


@pytest.mark.parametrize("kind", in_xml(1))
def test_of_sign_ins(served: Served, budget: Budget, kind: str) -> None:
    """findings S1: a name of combining marks took seconds, with the interpreter's lock held."""
    body = in_xml(OPEN_BODY - 200)[kind].encode()
    reply = budget.of(lambda: Client(served.port).send("POST", "/auth/signin", body))
    assert reply.status in {400, 401}


@pytest.mark.parametrize("kind", in_json(1))
@pytest.mark.parametrize("size", [OPEN_BODY - 200, BODY])
def test_of_json(served: Served, client: Client, budget: Budget, kind: str, size: int) -> None:
    """The same in the other form, from a stranger and from a user."""
    body, headers = in_json(size)[kind], {"content-type": "application/json"}
    asks, path = (client, "/sites") if size == BODY else (Client(served.port), "/auth/signin")
    reply = budget.of(lambda: asks.send("POST", path, body, None, headers))
    assert reply.status in {400, 401}


@pytest.mark.crossed
@pytest.mark.parametrize("kind", in_xml(1))
@pytest.mark.parametrize("tag", ["site", "user", "group", "project"])
def test_of_users(client: Client, budget: Budget, tag: str, kind: str) -> None:
    """The same at the length that users may send."""
    path = "/sites" if tag == "site" else f"/sites/{client.site_id}/{tag}s"
    body = in_xml(BODY - 4000, tag)[kind].encode()
    reply = budget.of(lambda: client.send("POST", path, body))
    assert 400 <= reply.status < 500


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_of_lists(client: Client, budget: Budget, query: str) -> None:
    """Filters, orders and windows."""
    listing = f"/sites/{client.site_id}/users?{query}"
    assert budget.of(lambda: client.send("GET", listing)).status < 500


@pytest.mark.parametrize("body", PUBLISHED.values(), ids=PUBLISHED)
def test_of_uploads(client: Client, budget: Budget, body: bytes) -> None:
    """Parts and their headers."""
    headers = {"content-type": f"multipart/mixed; boundary={BOUNDARY}"}
    query = {"datasourceType": "hyper"}
    reply = budget.of(lambda: client.on_site("POST", "/datasources", body, query, headers))
    assert reply.status == 400


def test_the_budget_is_one() -> None:
    """That what the findings saw is not within it: each header summed anew.

    Bringing marks into their order is not tried here: newer Pythons do it in linear time.
    """
    unit, begun = unit_s(), time.thread_time()
    headers = [(b"a", b"")] * 3000
    for at in range(len(headers)):
        sum(len(name) + len(value) for name, value in headers[:at])
    assert time.thread_time() - begun > LOOP_UNITS * unit
