"""The short way of a plain request: the same answer as the parser's, and nothing that two parsers could read in two ways.

ADR 51.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.doors.vault import plain
from strongroom.doors.vault.protocol import VaultProtocol
from strongroom.doors.vault.wire import MAX_PATH, Answer
from strongroom.node import opening
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.keys import Settings, own
from tests.support.vault_door import b64
from tests.support.vault_edges import BY, Edge, edge, request

BODY = {"plaintext": b64(b"a value")}


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = Path(copytree(pristine_node, tmp_path_factory.mktemp("short") / "node"))
    with closing(opening.open_node(str(home))) as node:
        for name, kind in (("k", KeyKind.AES256_GCM), ("signs", KeyKind.ED25519)):
            node.service_keys.create(BY, own(name), kind)
        with edge(node) as found:
            yield found


def test_both_ways_say_the_same(door: Edge) -> None:
    """Uses, refusals, a key of a secret's mount, and whoever has no token."""
    text = door.call("transit/encrypt/k", BODY).json["data"]["ciphertext"]
    made = door.call("transit/sign/signs", {"input": b64(b"x")}).json["data"]["signature"]
    nobody = door.token(policies=["nobody"])
    for path, body, token in (
        ("transit/decrypt/k", {"ciphertext": text}, door.root),
        ("transit/decrypt/k", {"ciphertext": text, "associated_data": b64(b"a")}, door.root),
        ("transit/decrypt/k", {"ciphertext": f"{text[:-8]}AAAAAAA="}, door.root),
        ("transit/decrypt/k", {"ciphertext": text}, nobody),
        ("transit/decrypt/k", {"ciphertext": text}, "hvs.wrong"),
        ("transit/decrypt/none", {"ciphertext": text}, door.root),
        ("transit/hmac/k", {"input": b64(b"x")}, door.root),
        ("transit/hmac/k/sha2-512", {"input": b64(b"x")}, door.root),
        ("transit/sign/signs", {"input": b64(b"x")}, door.root),
        ("transit/verify/signs", {"input": b64(b"x"), "signature": made}, door.root),
        ("transit/encrypt/signs", BODY, door.root),
        ("transit/datakey/none/k", {}, door.root),
        ("transit/encrypt/k", b"{", door.root),
        ("secret/encrypt/k", {"data": {}}, door.root),
        ("kv/encrypt/k", {"a": 1}, door.root),
        ("none/encrypt/k", {}, door.root),
    ):
        short = request(path, body, token)
        long = request(path, body, token, more="X-Not-Known: 1\r\n")
        assert plain.Heads().parsed(short, "") is not None, path
        assert plain.Heads().parsed(long, "") is None
        with door.line() as line:
            found = [line.call(short), line.call(long), line.call(short)]
        assert found[0].told == found[1].told == found[2].told, path
        # the framework adds nothing that the short way leaves out
        assert found[0].headers.keys() == found[1].headers.keys(), path


def test_pieces_pipelines_and_closes_end_as_with_the_parser(door: Edge) -> None:
    whole = request("transit/encrypt/k", BODY, door.root)
    with door.line() as line:
        line.send(whole * 3)
        assert [line.call(b"").status, *(line.read().status for _ in range(2))] == [200] * 3  # type: ignore[union-attr]
    with door.line() as line:
        for cut in (1, 4, 30, len(whole) - 3):
            line.send(whole[:cut])
            assert line.call(whole[cut:]).status == 200
        line.send(whole)
        assert line.call(whole).status == 200
        said = line.read()
        assert said is not None
        assert said.status == 200
        closing_call = request("transit/encrypt/k", BODY, door.root, more="Connection: close\r\n")
        assert line.call(closing_call).headers["connection"] == "close"
        assert line.read() is None


def test_a_client_that_never_reads_fills_no_memory(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers waited in a buffer without a bound, since the short way wrote whatever it had."""
    waiting: list[int] = []
    made, answer = VaultProtocol.connection_made, VaultProtocol._answer

    def connection_made(self: VaultProtocol, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(self, transport)

    def noted(self: VaultProtocol, data: bytes, found: Answer | None) -> None:
        answer(self, data, found)
        waiting.append(self.transport.get_write_buffer_size())

    monkeypatch.setattr(VaultProtocol, "connection_made", connection_made)
    monkeypatch.setattr(VaultProtocol, "_answer", noted)
    whole = request("transit/encrypt/k", {"plaintext": b64(bytes(8192))}, door.root)
    with door.line() as line, suppress(OSError):
        line.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.raw.settimeout(2)
        for _ in range(60):
            line.send(whole)
            time.sleep(0.01)  # or the next one is read with it, and goes to the parser
    assert waiting
    assert max(waiting) < 128 * 1024


REFUSED = {
    "two lengths": b"Content-Length: 1\r\n",
    "the same length twice": b"Content-Length: 28\r\n",
    "chunks": b"Transfer-Encoding: chunked\r\n",
    "two tokens": b"X-Vault-Token: hvs.b\r\n",
    "two hosts": b"Host: y\r\n",
    "a folded header": b"Accept: a\r\n b\r\n",
    "a blank before the colon": b"Accept : a\r\n",
    "a bare line feed": b"Accept: a\nX-Vault-Namespace: b\r\n",
    "a bare return": b"Accept: a\rX-Vault-Namespace: b\r\n",
    "a namespace": b"X-Vault-Namespace: a\r\n",
    "a wrapped answer": b"X-Vault-Wrap-TTL: 60\r\n",
    "what is to be asked first": b"Expect: 100-continue\r\n",
    "an upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    "an end": b"Connection: close\r\n",
    "a bearer": b"Authorization: Bearer hvs.b\r\n",
    "a byte beyond ASCII": b"Accept: \xff\r\n",
    "NUL": b"Accept: a\0b\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_plain_goes_to_the_parser(name: str) -> None:
    whole = request("transit/encrypt/k", BODY, "hvs.a")
    assert plain.Heads().parsed(whole, "") is not None
    first, rest = whole.split(b"\r\n", 1)
    assert plain.Heads().parsed(first + b"\r\n" + REFUSED[name] + rest, "") is None


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/transit/encrypt/k HTTP/1.1",
        b"POST /v1/transit/encrypt/k HTTP/1.0",
        b"POST  /v1/transit/encrypt/k HTTP/1.1",
        b"POST /v1/transit/encrypt/k?a=b HTTP/1.1",
        b"POST /v1/transit/encrypt/%6b HTTP/1.1",
        b"POST http://x/v1/transit/encrypt/k HTTP/1.1",
        b"POST /v1/transit//encrypt/k HTTP/1.1",
        b"POST /v1/transit/keys/k HTTP/1.1",
        b"POST /v1/auth/encrypt/k HTTP/1.1",
        b"POST /v1/sys/encrypt/k HTTP/1.1",
        b"POST /v1/a/b/c/encrypt/k HTTP/1.1",
        b"POST /v1/transit/encrypt/" + b"k" * 1005 + b" HTTP/1.1",
    ],
)
def test_other_lines_go_to_the_parser(line: bytes) -> None:
    whole = request("transit/encrypt/k", BODY, "hvs.a")
    assert plain.Heads().parsed(line + b"\r\n" + whole.split(b"\r\n", 1)[1], "") is None


def test_the_longest_path_that_the_usual_way_takes_is_plain_too() -> None:
    path = "transit/encrypt/" + "k" * 1004
    assert len(f"/v1/{path}") == MAX_PATH
    assert plain.Heads().parsed(request(path, BODY, "hvs.a"), "") is not None


def test_names_that_somebody_guesses_are_not_remembered(door: Edge) -> None:
    """They displaced what all other callers needed: some 50,000 names, of up to 16 KiB each."""
    guesses = [f"encrypt/guess{number}" for number in range(5)]
    guesses += ["hmac/k/guess", "datakey/guess/k", "sign/signs/guess", "encrypt/" + "guess" * 300]
    with door.line() as line:
        assert line.call(request("transit/encrypt/k", BODY, door.root)).status == 200
        for path in guesses:
            assert line.call(request(f"transit/{path}", BODY, door.root)).status >= 400
        assert line.call(request("transit/encrypt/k", BODY, door.root)).status == 200
    kept = [str(name) for name in door.node.service_rows._seen.names()]
    assert any("transit/encrypt/k'" in name for name in kept)
    assert not any("guess" in name for name in kept)


def test_a_request_that_is_cut_or_followed_is_not_plain() -> None:
    whole = request("transit/encrypt/k", BODY, "hvs.a")
    assert all(plain.Heads().parsed(whole[:end], "") is None for end in range(len(whole)))
    assert plain.Heads().parsed(whole + b"P", "") is None
    long = request("transit/encrypt/k", b" " * plain.MOST_BYTES, "hvs.a")
    assert plain.Heads().parsed(long, "") is None


def test_a_head_without_its_end_is_not_plain_though_its_body_is_empty() -> None:
    """With `Content-Length: 0` a token that was cut by the network was taken for a whole one, and refused."""
    empty = request("transit/datakey/plaintext/k", b"", "hvs.a")
    heads = plain.Heads()
    assert heads.parsed(empty, "") is not None
    assert all(heads.parsed(empty[:end], "") is None for end in range(len(empty)))


def test_a_head_that_comes_again_says_the_same() -> None:
    heads, other = plain.Heads(), request("transit/encrypt/k", BODY, "hvs.other")
    whole = request("transit/encrypt/k", BODY, "hvs.a", more="Accept: hvs.b\r\n")
    first, second = heads.parsed(whole, "a"), heads.parsed(whole, "b")
    assert first is not None
    assert second is not None
    assert first.digest == b""
    assert len(second.digest) == 32
    assert second._replace(digest=b"", peer="a") == first
    assert (first.token.reveal(), first.path) == (b"hvs.a", "transit/encrypt/k")
    theirs = heads.parsed(other, "a")
    assert theirs is not None
    assert theirs.token.reveal() == b"hvs.other"
    assert theirs.digest == b""
    head, _, body = whole.partition(b"\r\n\r\n")
    for wrong in (body[:-1], body + b" ", b""):
        assert heads.parsed(head + b"\r\n\r\n" + wrong, "a") is None
    same_length = b'"batch_input"'.center(len(body))
    assert heads.parsed(head + b"\r\n\r\n" + same_length, "a") is None


def test_no_token_is_kept_with_a_head_and_heads_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "MOST_HEADS", 4)
    heads = plain.Heads()
    for number in range(7):
        assert (
            heads.parsed(request("transit/encrypt/k", BODY, f"hvs.secret{number}"), "") is not None
        )
        assert 0 < len(heads._known.names()) <= 4
    assert "secret" not in str(vars(heads._known))


def test_a_token_that_ends_is_refused_though_its_head_is_known(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row changes when its time is over."""
    clock = FixedClock(door.node.clock.now())
    monkeypatch.setattr(door.node.service_tokens, "_clock", clock)
    token = door.token(policies=["root"], ttl_s=60)
    with door.line() as line:
        whole = request("transit/datakey/plaintext/k", {"bits": 256}, token)
        assert [line.call(whole).status for _ in range(4)] == [200] * 4
        clock.moment += timedelta(seconds=61)
        assert [line.call(whole).status for _ in range(2)] == [403] * 2


def test_ways_are_known_by_their_heads_while_no_row_changes(door: Edge) -> None:
    """A data key has a form in its path, of which there are two."""
    token = door.token(policies=["root"])
    with door.line() as line:
        found = {
            form: [
                line.call(request(f"transit/datakey/{form}/k", {"bits": 256}, token))
                for _ in range(3)
            ]
            for form in ("plaintext", "wrapped")
        }
        assert {one.status for some in found.values() for one in some} == {200}
        assert ["plaintext" in one.json["data"] for one in found["plaintext"]] == [True] * 3
        assert ["plaintext" in one.json["data"] for one in found["wrapped"]] == [False] * 3
        kept = {name for name in door.node.service_rows._seen.names() if "head" in str(name)}
        assert len(kept) == 2
        door.node.service_keys.configure(BY, own("k"), Settings(exportable=True))
        assert line.call(request("transit/encrypt/k", BODY, door.root)).status == 200
        assert kept.isdisjoint(door.node.service_rows._seen.names())


def test_an_answer_is_spelled_as_the_encoder_does() -> None:
    for data in (
        {"ciphertext": "vault:v1:AAAA", "key_version": 7, "plaintext": 'a"\\\u2028é\n'},
        {"valid": True, "n": 1},
        {"keys": ["a"], "none": None},
        {"half": 0.5},
        {},
    ):
        body = json.loads(Answer(data, warnings=("w",)).body())
        short = Answer(data).body()
        assert json.dumps(data, separators=(",", ":")).encode() in short
        assert json.loads(short)["data"] == body["data"] == data
