"""Values that no client means, in every member of every route: each is refused, and none is an error of ours (S11, K5).

Also what a caller may choose of an answer, and how much of a body is read for whom (S1, S2).
"""

import inspect
import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path

import pytest

from strongroom.doors.vault.app import TABLE
from strongroom.doors.vault.routing import Route
from strongroom.doors.vault.wire import MAX_FIELDS, MAX_STRANGERS_BYTES
from strongroom.node import opening
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.keys import own
from tests.support.vault_edges import BY, Edge, Said, edge, request

HALF = r'"\ud800"'
STRANGE = (
    HALF,
    '"²"',
    '"' + "9" * 5000 + '"',
    "9" * 4200,
    "-1",
    "1e400",
    "1.5",
    "true",
    "[]",
    '["a", 1, {}]',
    '"\\u0000"',
    json.dumps('{"a":' * 900 + "1" + "}" * 900),
    json.dumps('{"a": "\\ud800"}'),
    '{"a": {"b": [null]}}',
    '""',
)
PARTS = {"{name}": "k", "{path*}": "a/b", "{kind}": "signing-key", "{form}": "plaintext"}
MOUNTS = {"sys": "", "transit": "transit/", "kv-v2": "secret/", "kv-v1": "kv/"} | {
    "approle": "auth/approle/"
}
WRITES = [one for one in TABLE.routes if one.operation in {"write", "patch"}]


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = Path(shutil.copytree(pristine_node, tmp_path_factory.mktemp("hostile") / "node"))
    with closing(opening.open_node(str(home))) as node:
        node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
        with edge(node) as found:
            yield found


def said(door: Edge, data: bytes) -> Said:
    with door.line() as line:
        return line.call(data)


def path_of(pattern: str) -> str:
    parts = [PARTS.get(one, "1" if one.startswith("{") else one) for one in pattern.split("/")]
    return "/".join(parts)


@pytest.mark.table
@pytest.mark.parametrize("route", WRITES, ids=lambda one: one.name)
def test_no_value_of_a_member_is_an_error_of_ours(
    door: Edge, route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    method = "PATCH" if route.operation == "patch" else "POST"
    path = MOUNTS[route.engine] + path_of(route.pattern)
    start = sum(route.name.encode())
    values = cycle(STRANGE[start % len(STRANGE) :] + STRANGE[: start % len(STRANGE)])
    token = door.token()
    with caplog.at_level(logging.ERROR, "strongroom.web.vault"), door.line() as line:
        for member in members_of(route):
            body = f'{{"{member}": {next(values)}}}'.encode()
            found = line.call(request(path, body, token, method=method))
            assert found.status < 500, (member, body, found)
            if "revoke" in route.pattern:
                token = door.token()
    assert "unexpected error" not in caplog.text


def members_of(route: Route) -> list[str]:
    """Every word of the module of a route that may be the name of a member."""
    source = inspect.getsource(sys.modules[route.handle.__module__])
    return sorted(set(re.findall(r'"([a-z_]{2,40})"', source)))


OPEN = [
    (path, member)
    for path, members in (
        ("auth/approle/login", ("role_id", "secret_id")),
        ("sys/wrapping/unwrap", ("token",)),
        ("sys/wrapping/lookup", ("token",)),
    )
    for member in members
]


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(("path", "member"), OPEN)
def test_a_stranger_writes_no_traceback_into_the_log(
    door: Edge, path: str, member: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S8: whoever has no token could fill the log, 2 KB with each call."""
    with caplog.at_level(logging.ERROR, "strongroom.web.vault"):
        found = said(door, request(path, f'{{"{member}": {value}}}'.encode()))
    assert found.status in {400, 403}, found
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize("value", [b"\xb2", b"9" * 5000, b"1e400", b"-1", b"1h" * 2000])
def test_a_time_that_is_none_is_refused(door: Edge, value: bytes) -> None:
    head = b"POST /v1/auth/approle/login HTTP/1.1\r\nHost: x\r\nX-Vault-Wrap-TTL: %b\r\n" % value
    found = said(door, head + b"Content-Length: 2\r\n\r\n{}")
    assert found.status == 400, found


@pytest.mark.parametrize(
    "value", ["%C2%B2", "9" * 900, "199", "600", "", "0200", "%D9%A3%D9%A3%D9%A3"]
)
def test_a_probe_that_wants_no_status_gets_the_usual_one(door: Edge, value: str) -> None:
    found = said(door, request(f"sys/health?activecode={value}", method="GET"))
    assert found.status == 200, found


@pytest.mark.parametrize("status", [204, 304])
def test_behind_a_status_without_a_body_comes_no_body(door: Edge, status: int) -> None:
    """What followed would be the next answer for whoever shares the connection, a proxy for instance."""
    first = request(f"sys/health?activecode={status}", method="GET")
    with door.line() as line:
        for _ in range(3):
            found = line.call(first)
            assert (found.status, found.raw) == (status, b"")
            assert "content-length" not in found.headers
            again = line.call(request("sys/init", method="GET"))
            assert again.json == {"initialized": True}


@pytest.mark.parametrize("status", [204, 304])
def test_a_batch_that_fails_in_part_may_want_such_a_status(door: Edge, status: int) -> None:
    body = {
        "batch_input": [{"ciphertext": "vault:v1:AAAA"}, {"ciphertext": "vault:v1:AAAA"}],
        "partial_failure_response_code": status,
    }
    with door.line() as line:
        asked = line.call(request("transit/decrypt/k", body, door.root))
        assert (asked.status, asked.raw) == (status, b"")
        assert line.call(request("sys/init", method="GET")).json == {"initialized": True}


@pytest.mark.parametrize("version", ["%C2%B2", "%D9%A3", "9" * 900, "-1", "1.0"])
def test_a_version_that_is_no_number_is_refused(door: Edge, version: str) -> None:
    door.call("transit/keys/ed", {"type": "ed25519"})
    path = f"transit/export/public-key/ed/{version}"
    assert door.call(path, method="GET").status == 400


def test_a_list_has_an_end(door: Edge) -> None:
    """Each path is held against each rule: a hundred thousand of them took the interpreter for half a minute."""
    for paths in (["a"] * (MAX_FIELDS + 1), ",".join("a" * (MAX_FIELDS + 1)), ["a"] * MAX_FIELDS):
        found = door.call("sys/capabilities-self", {"paths": paths})
        assert found.status == (200 if len(paths) == MAX_FIELDS else 400), found


def test_of_a_stranger_little_is_read(door: Edge) -> None:
    """Each connection holds its body until the rest is there: a thousand of them could take all memory."""
    body = json.dumps({"role_id": "a", "secret_id": "b" * MAX_STRANGERS_BYTES}).encode()
    assert said(door, request("auth/approle/login", body)).status == 400
    assert said(door, request("secret/data/x", body)).status == 400
    assert said(door, request("secret/data/x", body, "hvs.unknown")).status == 400
    inside = json.dumps({"data": {"a": "b" * MAX_STRANGERS_BYTES}}).encode()
    assert said(door, request("secret/data/x", inside, door.root)).status == 200
    parts = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inside), inside)
    head = b"POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    assert said(door, head + b"\r\n" + parts).status == 400
    known = head + f"X-Vault-Token: {door.root}\r\n\r\n".encode() + parts
    assert said(door, known).status == 200
    few = b"2\r\n{}\r\n0\r\n\r\n"
    assert said(door, head + b"\r\n" + few).status == 403


def test_a_form_of_a_signature_that_is_not_made_is_refused(door: Edge) -> None:
    """T3: answered with success and not done."""
    door.call("transit/keys/e", {"type": "ecdsa-p256"})
    for operation in ("sign", "verify"):
        for more in ({"marshaling_algorithm": "jws"}, {"signature_context": "YQ=="}):
            found = door.call(f"transit/{operation}/e", {"input": "YQ==", **more})
            assert found.status == 400, found
    plain = {"input": "YQ==", "marshaling_algorithm": "asn1"}
    assert door.call("transit/sign/e", plain).status == 200


def test_settings_of_a_mount_are_kept_or_refused(door: Edge) -> None:
    """T3: `vault kv enable-versioning` was answered with success, and no version was kept."""
    assert door.call("sys/mounts/old", {"type": "kv", "description": "ours"}).status == 204
    for refused in (
        {"options": {"version": "2"}},
        {"max_lease_ttl": "1h"},
        {"default_lease_ttl": 60},
        {"description": "theirs"},
    ):
        assert door.call("sys/mounts/old/tune", refused).status == 400, refused
    same = {"options": {"version": "1"}, "max_lease_ttl": 0, "description": "ours"}
    assert door.call("sys/mounts/old/tune", same).status == 204
