"""The Vault door of a served node: every route by every identity, one event a call, and nothing of a value anywhere (S11).

docs/format/service-keys.md 4, 5.
"""

import base64
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from strongroom.doors.vault.app import TABLE
from strongroom.doors.vault.routing import Route
from tests.support.vault_door import Reply, VaultDoor, b64, vault_door

METHODS = {"read": "GET", "list": "LIST", "write": "POST", "patch": "PATCH", "delete": "DELETE"}
MOUNTS = {
    "sys": "",
    "transit": "transit/",
    "kv-v1": "kv/",
    "kv-v2": "secret/",
    "approle": "auth/approle/",
}
#: What makes a route do its work; others may be refused for want of a body, which is an event as well.
BODIES: dict[str, object] = {
    "transit write encrypt/{name}": {"plaintext": b64(b"x")},
    "transit write hmac/{name}": {"input": b64(b"x")},
    "transit write hmac/{name}/{algorithm}": {"input": b64(b"x")},
    "transit write hash": {"input": b64(b"x")},
    "kv-v2 write data/{path*}": {"data": {"a": 1}},
    "kv-v2 patch data/{path*}": {"data": {"a": 2}},
    "kv-v2 write delete/{path*}": {"versions": [1]},
    "kv-v2 write undelete/{path*}": {"versions": [1]},
    "kv-v1 write {path*}": {"a": 1},
    "sys write sys/policies/acl/{name}": {"policy": 'path "a" { capabilities = ["read"] }'},
    "sys write auth/token/roles/{name}": {"allowed_policies": ["own"]},
    "sys write sys/capabilities-self": {"paths": ["a"]},
    "sys write sys/mounts/{path*}": {"type": "kv"},
}
PARTS = {
    "algorithm": "sha2-256",
    "form": "wrapped",
    "kind": "public-key",
    "version": "1",
    "bytes": "8",
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("vault")) as found:
        allowed = {"exportable": True, "allow_plaintext_backup": True}
        for name in ("own", "other"):
            found.call("POST", f"transit/keys/{name}", allowed)
            found.call("POST", f"secret/data/{name}", {"data": {"a": f"canary-of-{name}"}})
            found.call("POST", f"kv/{name}", {"a": f"canary-of-{name}"})
            found.call("POST", f"auth/approle/role/{name}", {"token_policies": "own"})
        yield found


def path_of(route: Route, name: str) -> str:
    segments = []
    for segment in route.pattern.split("/"):
        part = segment.strip("{}").rstrip("*")
        segments.append(PARTS.get(part, name) if segment.startswith("{") else segment)
    return MOUNTS[route.engine] + "/".join(segments)


def send(door: VaultDoor, route: Route, name: str, token: str) -> Reply:
    return door.call(
        METHODS[route.operation], path_of(route, name), BODIES.get(route.name), token=token
    )


def names_something(route: Route) -> bool:
    return any(f"{{{one}" in route.pattern for one in ("name", "path"))


ROUTES = [route for route in TABLE.routes if not route.is_open]


def test_every_route_by_every_identity_leaves_one_event_and_does_nothing_for_strangers(
    door: VaultDoor,
) -> None:
    """S11: operation × identity × own or other; A4 11: one event a call."""
    rules = "\n".join(
        f'path "{path_of(route, "own")}{"/" if route.operation == "list" else ""}" {{ capabilities ='
        ' ["create", "read", "update", "patch", "delete", "list", "sudo"] }'
        for route in ROUTES
    )
    door.policy("matrix", rules)
    assert len(ROUTES) > 90
    nobody = door.token("nobody")
    wrong: list[str] = []

    def check(route: Route, name: str, token: str, *, is_let_in: bool, count: int) -> None:
        before = len(door.events())
        reply = send(door, route, name, token)
        made = door.events()[before:]
        told = [one for one in made if one["id"] != "SERVICE_STRANGER_REFUSED"]
        if (reply.status != 403) is not is_let_in or len(told) != count or reply.status >= 500:
            wrong.append(f"{route.name} {name}: {reply.status} {reply.raw!r} {made}")
        if b"canary-of-other" in reply.raw or (not is_let_in and b"canary" in reply.raw):
            wrong.append(f"{route.name} {name}: {reply.raw!r}")
        if not is_let_in and any(one["id"] != "SERVICE_CALL_REFUSED" for one in told):
            wrong.append(f"{route.name} {name}: {made}")

    for route in ROUTES:
        check(route, "own", "", is_let_in=False, count=0)
        check(route, "own", "hvs.wrong", is_let_in=False, count=0)
        check(route, "own", nobody, is_let_in=False, count=1)
        if "lookup" in route.pattern or "revoke" in route.pattern or "renew" in route.pattern:
            continue  # of another token than the caller's: 403 has two meanings there
        if names_something(route):
            check(route, "other", door.token("matrix"), is_let_in=False, count=1)
        check(route, "own", door.token("matrix"), is_let_in=True, count=1)
        check(route, "own", door.token("root"), is_let_in=True, count=1)
    assert wrong == []
    others = door.call("GET", "secret/data/other").data["data"]
    assert others == {"a": "canary-of-other"}


def test_ciphertexts_open_by_their_key_version_and_data_alone(door: VaultDoor) -> None:
    door.call("POST", "transit/keys/a")
    door.call("POST", "transit/keys/b")
    secret = b64(b"a value")
    made = door.call(
        "POST", "transit/encrypt/a", {"plaintext": secret, "associated_data": b64(b"1")}
    )
    text = made.data["ciphertext"]
    given = {"ciphertext": text, "associated_data": b64(b"1")}
    assert door.call("PUT", "transit/decrypt/a", given).data == {"plaintext": secret}
    assert door.call("POST", "transit/decrypt/a", {"ciphertext": text}).status == 400
    assert door.call("POST", "transit/decrypt/b", given).status == 400
    door.call("POST", "transit/keys/a/rotate")
    later = text.replace("vault:v1:", "vault:v2:")
    assert door.call("POST", "transit/decrypt/a", {**given, "ciphertext": later}).status == 400
    anew = door.call("POST", "transit/rewrap/a", given).data["ciphertext"]
    assert anew.startswith("vault:v2:")
    door.call("POST", "transit/keys/a/config", {"min_decryption_version": 2})
    assert door.call("POST", "transit/decrypt/a", given).status == 400
    assert (
        door.call("POST", "transit/decrypt/a", {**given, "ciphertext": anew}).data["plaintext"]
        == secret
    )
    raw = bytearray(base64.b64decode(anew.removeprefix("vault:v2:")))
    for place in (0, 40, len(raw) - 1):
        raw[place] ^= 1
        changed = f"vault:v2:{b64(bytes(raw))}"
        assert (
            door.call("POST", "transit/decrypt/a", {**given, "ciphertext": changed}).status == 400
        )
        raw[place] ^= 1


def test_a_batch_says_of_each_item_what_came_of_it_and_is_one_event(door: VaultDoor) -> None:
    door.call("POST", "transit/keys/batch")
    items = [{"plaintext": b64(bytes([n])), "reference": str(n)} for n in range(3)]
    made = door.call("POST", "transit/encrypt/batch", {"batch_input": items}).data["batch_results"]
    assert [one["reference"] for one in made] == ["0", "1", "2"]
    texts = [{"ciphertext": one["ciphertext"]} for one in made]
    before = len(door.events())
    found = door.call(
        "POST", "transit/decrypt/batch", {"batch_input": [*texts, {"ciphertext": "no"}]}
    )
    assert found.status == 400
    results = found.data["batch_results"]
    assert [one.get("plaintext") for one in results] == [*(one["plaintext"] for one in items), None]
    assert "error" in results[3]
    (event,) = door.events()[before:]
    assert event["details"]["count"] == 3


def test_forms_are_understood_and_what_is_not_kept_is_refused_by_name(door: VaultDoor) -> None:
    """Arrow's sample client posts forms."""
    door.call("POST", "transit/keys/form")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    made = door.call("POST", "transit/encrypt/form", f"plaintext={b64(b'x')}", headers=form)
    assert made.data["ciphertext"].startswith("vault:v1:")
    for path, body, word in (
        ("transit/encrypt/form", {"plaintext": "", "context": "YQ=="}, "derived"),
        ("transit/keys/derived", {"convergent_encryption": True}, "derivation"),
        ("transit/keys/k", {"type": "rsa-4096"}, "rsa-4096"),
        ("auth/token/create", {"id": "chosen"}, "id"),
        (
            "sys/policies/acl/p",
            {"policy": 'path "a" { allowed_parameters = { } }'},
            "allowed_parameters",
        ),
    ):
        reply = door.call("POST", path, body)
        assert (reply.status, word in reply.json["errors"][0]) == (400, True), reply.raw
    for strange in (b"[]", b"1", b'"a"', b"nul", b"[null]"):
        assert door.call("POST", "transit/keys/k", strange).status == 400
    assert door.call("POST", "transit/keys/nothing", b"null").status == 200
    deep = json.dumps({"a": 1}).replace("1", "[" * 50 + "]" * 50)
    assert door.call("POST", "transit/keys/k", deep).status == 400
    assert door.call("POST", "transit/keys/k", b"x" * (5 << 20)).status == 400


def test_older_paths_of_the_system_say_everything_beside_data_as_well(door: VaultDoor) -> None:
    """MariaDB's plugin reads the options of a mount there, and takes nothing for no version."""
    door.policy("own", 'path "own" { capabilities = ["read"] }')
    for method, path, body in (
        ("GET", "sys/mounts", None),
        ("GET", "sys/mounts/secret", None),
        ("GET", "sys/mounts/secret/tune", None),
        ("GET", "sys/auth", None),
        ("GET", "sys/policy", None),
        ("GET", "sys/policy/own", None),
        ("POST", "sys/capabilities-self", {"paths": ["own"]}),
    ):
        whole = door.call(method, path, body).json
        assert whole["data"]
        assert {name: whole.get(name) for name in whole["data"]} == whole["data"], path
    assert door.call("GET", "sys/mounts/secret/tune").json["options"] == {"version": "2"}


def test_a_token_is_told_what_its_calls_then_do(door: VaultDoor) -> None:
    """service-keys.md 4.8: capitals, doubled slashes, dots and slashes at the ends, as the door takes them."""
    rules = """path "sys/policies/acl/+" { capabilities = ["read", "delete"] }
path "sys/policies/acl/kept" { capabilities = ["deny"] }
path "secret/data/a" { capabilities = ["read"] }
path "secret/metadata/a/" { capabilities = ["list"] }
path "sys/capabilities-self" { capabilities = ["update"] }"""
    door.policy("spelled", rules)
    token = door.token("spelled")
    methods = {"read": "GET", "list": "LIST", "delete": "DELETE"}
    for path in (
        *("sys/policies/acl/other", "sys/policies/acl/Other", "sys/policies/acl/KEPT"),
        *("sys/policies/acl/kept/", "sys/policies/acl//kept", "sys/policies//acl/kept"),
        *("secret/data/a", "secret/data/A", "secret/data//a", "secret/data/./a", "/secret/data/a/"),
        *("secret/metadata/a", "secret/metadata/a/", "secret/metadata/A"),
    ):
        asked = door.call("POST", "sys/capabilities-self", {"paths": [path]}, token=token)
        for capability, method in methods.items():
            said = door.call(method, path, token=token)
            if said.status != 405 and "unsupported path" not in said.raw.decode():
                assert (said.status != 403) == (capability in asked.data[path]), (method, path)


def test_a_disabled_key_and_a_key_that_waits_are_of_no_use_on_the_next_call(
    door: VaultDoor,
) -> None:
    """A4 10; commands work beside the server, in a process of their own."""
    door.call("POST", "transit/keys/halted")
    text = door.call("POST", "transit/encrypt/halted", {"plaintext": b64(b"x")}).data["ciphertext"]
    for verb, undo in (
        (["disable"], ["enable"]),
        (["schedule-deletion", "-y", "--days", "1"], ["cancel-deletion"]),
    ):
        door.node.run("strongroom", "keys", verb[0], "halted", *verb[1:])
        reply = door.call("POST", "transit/decrypt/halted", {"ciphertext": text})
        assert (reply.status, "halted" in reply.json["errors"][0]) == (400, True)
        door.node.run("strongroom", "keys", undo[0], "halted")
    door.node.run("strongroom", "keys", "enable", "halted")
    assert door.call("POST", "transit/decrypt/halted", {"ciphertext": text}).status == 200


def test_a_token_ends_with_its_maker_its_time_and_its_uses(door: VaultDoor) -> None:
    maker = door.token("root")
    made = door.call("POST", "auth/token/create", {"policies": ["root"]}, token=maker)
    child = made.json["auth"]["client_token"]
    twice = door.call("POST", "auth/token/create", {"num_uses": 2, "policies": ["default"]})
    few = twice.json["auth"]["client_token"]
    statuses = [door.call("GET", "auth/token/lookup-self", token=few).status for _ in range(3)]
    assert statuses == [200, 200, 403]
    assert door.call("GET", "sys/mounts", token=child).status == 200
    door.call("POST", "auth/token/revoke-self", token=maker)
    assert door.call("GET", "sys/mounts", token=child).status == 403
    weak = door.token("default", "own")
    refused = door.call("POST", "auth/token/create", {"policies": ["root"]}, token=weak)
    assert refused.status == 403


def test_a_token_with_a_period_lives_for_it_after_each_renewal(door: VaultDoor) -> None:
    """Programs that run for years: an OpenBao that is unsealed by a key renews the token that it has."""
    line = ["strongroom", "access", "token", "create", "--policy", "own"]
    token = door.node.run(*line, "--period", "90d").last_word
    for _ in range(2):
        known = door.call("GET", "auth/token/lookup-self", token=token).data
        assert (known["period"], known["renewable"]) == (90 * 86_400, True)
        assert known["ttl"] > 89 * 86_400
        renewed = door.call("POST", "auth/token/renew-self", token=token)
        assert renewed.json["auth"]["lease_duration"] == 90 * 86_400
    assert door.node.run(*line, "--period", "90d", "--ttl", "1d", check=False).code == 2


def test_a_role_signs_in_by_both_ids_and_a_wrapped_answer_is_read_once(door: VaultDoor) -> None:
    door.call("POST", "auth/approle/role/web", {"token_policies": "own", "secret_id_num_uses": 1})
    role_id = door.call("GET", "auth/approle/role/web/role-id").data["role_id"]
    wrapped = door.call(
        "POST", "auth/approle/role/web/secret-id", headers={"X-Vault-Wrap-TTL": "60"}
    )
    once = wrapped.json["wrap_info"]["token"]
    assert wrapped.json["data"] is None
    # the clients of Go say `null` where they say nothing
    secret = door.call("POST", "sys/wrapping/unwrap", b"null", token=once).data["secret_id"]
    assert door.call("POST", "sys/wrapping/unwrap", token=once).status == 400
    assert door.call("GET", "sys/mounts", token=once).status == 403
    ids = {"role_id": role_id, "secret_id": secret}
    wrong = {**ids, "secret_id": "x" * 43}
    assert door.call("POST", "auth/approle/login", wrong, token="").status == 403
    signed_in = door.call("POST", "auth/approle/login", ids, token="").json["auth"]
    assert "own" in signed_in["policies"]
    assert door.call("POST", "auth/approle/login", ids, token="").status == 403


def test_many_calls_at_once_have_one_event_each(door: VaultDoor) -> None:
    """A4 11: the events of calls that wait share a sync, and none is lost."""
    door.call("POST", "transit/keys/many")
    before = len(door.events())

    def one(number: int) -> int:
        return door.call("POST", "transit/encrypt/many", {"plaintext": b64(bytes([number]))}).status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(200))) == {200}
    made = [one for one in door.events()[before:] if one["details"]["key"] == "transit/many"]
    assert len(made) == 200


def test_list_in_pieces_and_twice_on_one_connection(door: VaultDoor) -> None:
    """The parser of the server does not know LIST (ADR 46)."""
    to = urlsplit(door.url)
    with socket.create_connection((to.hostname or "", to.port or 0), timeout=60) as raw:
        head = f"LIST /v1/transit/keys HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {door.root}\r\n\r\n".encode()
        for pieces in ((head[:2], head[2:]), (head,)):
            for piece in pieces:
                raw.sendall(piece)
            answer = b""
            while not answer.endswith(b"}\n"):
                part = raw.recv(65536)
                assert part, answer
                answer += part
            assert answer.startswith(b"HTTP/1.1 200"), answer
    assert door.call("GET", "transit/keys?list=true").status == 200
    assert door.call("PROPFIND", "transit/keys").status == 404


def test_no_value_is_in_the_log_the_files_or_the_rows(door: VaultDoor) -> None:
    """S1: canaries of every kind of secret, in every spelling that the door sends."""
    canary = b"canary-7c1d2e-of-a-secret-value"
    door.call("POST", "secret/data/canary", {"data": {"password": canary.decode()}})
    door.call("POST", "transit/keys/canary", {"exportable": True})
    made = door.call("POST", "transit/encrypt/canary", {"plaintext": b64(canary)})
    material = door.call("GET", "transit/export/encryption-key/canary").data["keys"]["1"]
    token = door.token("own")
    door.call("GET", f"secret/data/{token}")  # whoever puts a token into a path tells it to the log
    planted = [canary, b64(canary).encode(), material.encode(), base64.b64decode(material)]
    planted += [door.root.encode(), made.data["ciphertext"].encode()]
    assert door.holders(*planted) == []
