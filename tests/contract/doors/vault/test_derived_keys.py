"""Keys that want a context with each value, and those that give one value one ciphertext (service-keys.md 2.6)."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.node import opening
from strongroom.services.service_keys.keys import own
from tests.support.vault_door import b64
from tests.support.vault_edges import Edge, Said, edge

VALUE = {"plaintext": b64(b"a value")}
CONTEXT = {"context": b64(b"tenant 5")}


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = Path(copytree(pristine_node, tmp_path_factory.mktemp("derived") / "node"))
    with closing(opening.open_node(str(home))) as node, edge(node) as found:
        for name, made in (
            ("plain", {}),
            ("derived", {"derived": True, "exportable": True}),
            (
                "same",
                {"derived": True, "convergent_encryption": "true", "exportable": True},
            ),
        ):
            assert found.call(f"transit/keys/{name}", made).status == 200
        yield found


def encrypted(door: Edge, key: str, **more: Any) -> str:
    said = door.call(f"transit/encrypt/{key}", {**VALUE, **CONTEXT, **more})
    assert said.status == 200, said
    return str(said.json["data"]["ciphertext"])


def opened(door: Edge, key: str, text: str, **more: Any) -> Said:
    return door.call(f"transit/decrypt/{key}", {"ciphertext": text, **CONTEXT, **more})


@pytest.mark.parametrize("key", ["derived", "same"])
def test_a_value_opens_with_its_context_alone(door: Edge, key: str) -> None:
    text = encrypted(door, key)
    assert opened(door, key, text).json["data"] == VALUE
    for other in (b64(b"tenant 6"), b64(b"tenant 5 ")):
        assert opened(door, key, text, context=other).status == 400
    assert opened(door, key, text, associated_data=b64(b"tenant 5")).status == 400
    assert opened(door, "plain", text, context="").status == 400
    bound = encrypted(door, key, associated_data=b64(b"7"))
    assert opened(door, key, bound).status == 400
    assert opened(door, key, bound, associated_data=b64(b"7")).json["data"] == VALUE
    anew = door.call(f"transit/rewrap/{key}", {"ciphertext": text, **CONTEXT})
    assert opened(door, key, anew.json["data"]["ciphertext"]).json["data"] == VALUE
    made = door.call(f"transit/datakey/plaintext/{key}", CONTEXT).json["data"]
    assert opened(door, key, made["ciphertext"]).json["data"]["plaintext"] == made["plaintext"]
    batch = {"batch_input": [{**VALUE, **CONTEXT}, VALUE]}
    results = door.call(f"transit/encrypt/{key}", batch).json["data"]["batch_results"]
    assert [sorted(one) for one in results] == [["ciphertext", "key_version"], ["error"]]


def test_a_context_is_asked_for_where_it_counts_and_refused_where_it_does_not(door: Edge) -> None:
    for path, body, words in (
        ("encrypt/derived", VALUE, "missing 'context'"),
        ("decrypt/derived", {"ciphertext": encrypted(door, "derived")}, "missing 'context'"),
        ("datakey/wrapped/derived", {}, "missing 'context'"),
        ("encrypt/plain", {**VALUE, **CONTEXT}, "not derived"),
        ("encrypt/derived", {**VALUE, **CONTEXT, "nonce": b64(bytes(12))}, "nonce is not taken"),
        ("datakey/wrapped/plain", {"nonce": b64(bytes(12))}, "nonce is not taken"),
        ("hmac/derived", {"input": b64(b"x"), **CONTEXT}, "context is not taken"),
        ("encrypt/derived", {**VALUE, "context": "no base64!"}, "context"),
        ("keys/a", {"convergent_encryption": True}, "requires derivation"),
        ("keys/a", {"derived": True, "type": "ed25519"}, "not supported for ed25519"),
    ):
        said = door.call(f"transit/{path}", body)
        assert said.status == 400, (path, said)
        assert words in str(said.json["errors"]), (path, said)


def test_one_value_has_one_ciphertext_under_a_convergent_key_alone(door: Edge) -> None:
    assert encrypted(door, "derived") != encrypted(door, "derived")
    first = encrypted(door, "same")
    assert encrypted(door, "same") == first
    others = {
        encrypted(door, "same", context=b64(b"tenant 6")),
        encrypted(door, "same", associated_data=b64(b"1")),
        encrypted(door, "same", plaintext=b64(b"another")),
    }
    assert len({one.partition(":v1:")[2][:44] for one in (first, *others)}) == 4, "salts"
    assert door.call("transit/keys/same/rotate", {}).status == 200
    later = encrypted(door, "same")
    assert later.startswith("vault:v2:")
    assert later != encrypted(door, "same", key_version=1) == first


@pytest.mark.parametrize("key", ["derived", "same"])
def test_the_page_alone_gives_what_the_key_made(door: Edge, key: str) -> None:
    """An exported key, and no code of the product."""
    text = encrypted(door, key, associated_data=b64(b"order"), key_version=1)
    raw = base64.b64decode(text.removeprefix("vault:v1:"))
    exported = door.call(f"transit/export/encryption-key/{key}/1", method="GET").json["data"]
    material = base64.b64decode(exported["keys"]["1"])
    row = door.node.service_keys.show(own(key)).key
    key_id, version = bytes.fromhex(row.id.replace("-", "")), (1).to_bytes(4, "big")
    context = hashlib.sha256(b"tenant 5").digest()
    label = b"strongroom/v2/seal/by-derived-key"
    info = _framed(label, key_id, version, context, b"order")
    okm = HKDF(SHA256(), 76, raw[:32], info).derive(material)
    assert okm[44:] == raw[32:64]
    assert AESGCM(okm[:32]).decrypt(okm[32:44], raw[64:], b"") == b"a value"
    subkey = HKDF(
        SHA256(), 32, None, _framed(b"strongroom/v2/service-convergent", key_id, version)
    ).derive(material)
    salt = hmac.digest(subkey, hashlib.sha256(info).digest() + b"a value", "sha256")
    assert (salt == raw[:32]) is (key == "same")


def test_a_key_says_that_it_is_derived(door: Edge) -> None:
    for name, derived, convergent in (
        ("plain", False, None),
        ("derived", True, False),
        ("same", True, True),
    ):
        data = door.call(f"transit/keys/{name}", method="GET").json["data"]
        assert (data["type"], data["derived"]) == ("aes256-gcm96", derived)
        assert data.get("convergent_encryption") is convergent


def _framed(label: bytes, *fields: bytes) -> bytes:
    parts = [len(field).to_bytes(4, "big") + field for field in fields]
    return label + bytes([0, len(fields)]) + b"".join(parts)
