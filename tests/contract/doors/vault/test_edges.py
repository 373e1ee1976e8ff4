"""The Vault door at its edges: certificates, tokens that ended, slow clients, a log that cannot be written (S7, S11, C-20).

docs/format/service-keys.md 4, 5; ADR 51.
"""

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.clock import FixedClock
from strongroom.doors.http.feed import BodyLimits
from strongroom.doors.http.protocol import Patience
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.vault import server
from strongroom.errors import UsageError
from strongroom.eventlog import logfile
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.keys import own
from tests.contract.doors.http.test_https import apply, certificate
from tests.support.vault_door import b64
from tests.support.vault_edges import BY, Edge, Line, at_once, edge, new_token, request

VALUE = {"plaintext": b64(b"a value")}


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    import shutil

    home = Path(shutil.copytree(pristine_node, tmp_path_factory.mktemp("edge") / "node"))
    with closing(opening.open_node(str(home))) as node:
        node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
        with edge(node) as found:
            yield found


# ---- certificates --------------------------------------------------------------------------------


def test_plain_only_on_loopback_and_https_with_the_certificate_that_is_configured_now(
    node: Node, tmp_path: Path
) -> None:
    """C-20: a certificate is exchanged while the door serves; open connections go on."""
    with (
        pytest.raises(UsageError, match=r"on loopback only, not on 0\.0\.0\.0"),
        server.serving(node, "0.0.0.0", 0),
    ):
        pass
    first, values = certificate(tmp_path / "first")
    apply(node, values)
    node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
    with server.serving(node, "0.0.0.0", 0):
        pass
    with edge(node) as door:
        assert door.url.startswith("https://127.0.0.1:")
        call = request("transit/encrypt/k", VALUE, door.root)
        with door.line(str(first)) as line:
            said = line.call(call)
            assert said.status == 200, said
            assert "max-age" in said.headers["strict-transport-security"]
            second, values = certificate(tmp_path / "second")
            apply(node, values)
            limit = time.monotonic() + 60
            while True:
                try:
                    with door.line(str(second)) as other:
                        assert other.call(call).status == 200
                    break
                except OSError:  # not yet: the old certificate is still shown
                    assert time.monotonic() < limit
                    time.sleep(0.05)
            assert line.call(call).status == 200
        with pytest.raises(OSError, match="CERTIFICATE"), door.line(str(first)):
            pass


# ---- tokens --------------------------------------------------------------------------------------


def test_a_token_is_of_no_use_the_moment_it_ends(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired, revoked, of a maker that ended: on a connection that used it a moment before."""
    maker = door.token()
    child = door.call("auth/token/create", {"policies": ["root"]}, token=maker)
    revoked = child.json["auth"]["client_token"]
    expiring = door.token(ttl_s=60)
    clock = FixedClock(door.node.clock.now())
    with door.line() as line:
        for token in (revoked, expiring):
            assert line.call(request("transit/encrypt/k", VALUE, token)).status == 200
        door.call("auth/token/revoke-self", {}, token=maker)
        assert line.call(request("transit/encrypt/k", VALUE, revoked)).status == 403
        monkeypatch.setattr(door.node.service_tokens, "_clock", clock)
        clock.moment += timedelta(seconds=59)
        assert line.call(request("transit/encrypt/k", VALUE, expiring)).status == 200
        clock.moment += timedelta(seconds=1)
        assert line.call(request("transit/encrypt/k", VALUE, expiring)).status == 403


def test_a_policy_that_was_written_anew_decides_the_next_call(door: Edge) -> None:
    rule = 'path "transit/encrypt/k" { capabilities = ["%s"] }'
    token = door.token(policies=["turn"])
    with door.line() as line:
        for capability, status in (("update", 200), ("read", 403), ("update", 200), ("deny", 403)):
            door.node.service_policies.write(BY, "turn", rule % capability)
            said = line.call(request("transit/encrypt/k", VALUE, token))
            assert said.status == status, (capability, said)


def test_a_token_of_some_uses_and_a_wrapped_answer_are_used_so_often_in_a_race(door: Edge) -> None:
    """Ten threads, three uses; ten threads, one answer, which was wrapped twice."""
    token = door.token(uses=3)

    def use(number: int) -> int:
        return door.call("transit/encrypt/k", VALUE, token=token).status

    assert Counter(at_once(10, use)) == {200: 3, 403: 7}
    wrapped = "X-Vault-Wrap-TTL: 60\r\n"
    with door.line() as line:
        made = line.call(request("transit/encrypt/k", VALUE, door.root, more=wrapped))
        once = made.json["wrap_info"]["token"]
        again = line.call(request("sys/wrapping/unwrap", {"token": once}, door.root, more=wrapped))
        twice = again.json["wrap_info"]["token"]

    def unwrap(number: int) -> int:
        return door.call("sys/wrapping/unwrap", token=twice).status

    assert Counter(at_once(10, unwrap)) == {200: 1, 400: 9}
    for ttl in ("a", "33d"):
        more = f"X-Vault-Wrap-TTL: {ttl}\r\n"
        with door.line() as line:
            said = line.call(request("auth/token/create", {}, door.root, more=more))
        assert said.status == 400
        assert [one["id"] for one in door.events()[-1:]] == ["SERVICE_CALL_REFUSED"]


def test_two_rotations_at_once_make_two_versions_and_every_value_opens(door: Edge) -> None:
    door.node.service_keys.create(BY, own("turned"), KeyKind.AES256_GCM)

    def work(number: int) -> object:
        if number % 4 == 0:
            return door.call("transit/keys/turned/rotate", {}).status
        return door.call("transit/encrypt/turned", VALUE).json["data"]["ciphertext"]

    found = at_once(16, work)
    assert [one for one in found if one == 200] == [200] * 4
    assert [row.latest for row in door.node.service_keys.all() if row.name == "turned"] == [5]
    for text in (one for one in found if isinstance(one, str)):
        opened = door.call("transit/decrypt/turned", {"ciphertext": text})
        assert opened.json["data"] == VALUE


# ---- slow and large ------------------------------------------------------------------------------


SHORT_S = 0.4
SHORT = WebSettings(
    patience=Patience(SHORT_S, SHORT_S, SHORT_S), small_body=BodyLimits(whole_s=SHORT_S)
)


def is_ended(line: Line, drip: bytes) -> bool:
    """Whether the door ends a connection, on which a byte comes now and then."""
    line.raw.settimeout(SHORT_S / 4)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            line.raw.sendall(drip)
            if not line.raw.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_whoever_is_silent_or_drips_is_ended_and_others_are_served_meanwhile(node: Node) -> None:
    """S7: in silence or byte by byte, in the head or the body, on a fresh and on a used connection."""
    node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
    whole = request("transit/encrypt/k", VALUE, new_token(node))
    parts = [b"", whole[:2], whole[:40], whole[:-30], whole.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\n")]
    with edge(node, SHORT) as door:

        def slow(number: int) -> bool:
            part, used, drips = parts[number // 4], number % 2, number % 4 > 1
            with door.line() as line:
                if used:
                    assert line.call(whole).status == 200
                line.send(part)
                return is_ended(line, b"P" if drips else b"")

        ended = threading.Event()
        served = []

        def serve() -> None:
            while not ended.is_set():
                served.append(door.call("transit/encrypt/k", VALUE).status)

        other = threading.Thread(target=serve)
        other.start()
        assert at_once(4 * len(parts), slow) == [True] * 4 * len(parts)
        ended.set()
        other.join()
    assert set(served) == {200}


def test_what_is_too_large_or_too_deep_is_refused_and_leaves_one_event(door: Edge) -> None:
    deep = b'{"plaintext":' + b"[" * 40 + b"]" * 40 + b"}"
    wide = b'{"batch_input":[' + b",".join([b"{}"] * 1001) + b"]}"
    bodies = [deep, b"[" * 10_000, b'{"a":NaN}', b"\xff\xfe", b"[]", b"{", wide, b"\0" * 20_000]
    for body in bodies:
        before = len(door.events())
        said = door.call("transit/encrypt/k", body)
        assert said.status == 400, (body[:30], said)
        assert [one["id"] for one in door.events()[before:]] == ["SERVICE_CALL_REFUSED"]
    before = len(door.events())
    assert door.call("transit/encrypt/k", b"x" * (5 << 20)).status == 400
    assert len(door.events()) == before


# ---- the log -------------------------------------------------------------------------------------


def test_no_answer_without_its_event_when_the_disk_under_the_log_is_full(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Must show 4: each second write of the log finds the disk full, on both ways of a call."""
    present, refusals = logfile.write_at, iter(range(10**6))

    def write(*given: object) -> None:
        if next(refusals) % 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        present(*given)  # type: ignore[arg-type]

    before = len(door.events("SERVICE_KEY_USED"))
    batch = {"batch_input": [VALUE]}
    with monkeypatch.context() as patched:
        patched.setattr(logfile, "write_at", write)
        statuses = Counter(
            status
            for found in at_once(
                8,
                lambda number: [
                    door.call("transit/encrypt/k", VALUE if number % 2 else batch).status
                    for _ in range(10)
                ],
            )
            for status in found
        )
    assert set(statuses) == {200, 503}, statuses
    assert len(door.events("SERVICE_KEY_USED")) - before == statuses[200]
    assert door.call("transit/encrypt/k", VALUE).status == 200


def test_every_call_of_a_mixed_crowd_has_its_event(door: Edge) -> None:
    """Must show 4, the sample without kills; `tests/torture/test_vault_calls.py` kills the door."""
    before = len(door.events())
    text = door.call("transit/encrypt/k", VALUE).json["data"]["ciphertext"]
    calls = [
        ("transit/encrypt/k", VALUE),
        ("transit/decrypt/k", {"ciphertext": text}),
        ("transit/decrypt/k", {"ciphertext": "vault:v1:AAAA"}),
        ("transit/datakey/plaintext/k", {}),
        ("transit/encrypt/none", VALUE),
        ("transit/hmac/k", {"input": VALUE["plaintext"]}),
        ("transit/encrypt/k", {"batch_input": [VALUE, {"plaintext": "?"}]}),
        ("secret/data/a", {"data": {"a": 1}}),
    ]

    def work(number: int) -> int:
        with door.line() as line:
            for turn in range(25):
                path, body = calls[(number + turn) % len(calls)]
                line.call(request(path, body, door.root))
        return 25

    assert sum(at_once(8, work)) == 200
    assert len(door.events()) - before == 201
