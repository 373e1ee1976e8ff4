"""The published vectors of docs/format/bootstrap-file.md, and its cryptography done again in a few lines."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StrongroomError
from strongroom.joining import bootstrap_file
from strongroom.joining.bootstrap_file import BootstrapFile
from tests.vectors import make_bootstrap_file

_HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((_HERE / "bootstrap_file_4.json").read_text())
THIRD: dict[str, Any] = json.loads((_HERE / "bootstrap_file_3.json").read_text())
SECOND: dict[str, Any] = json.loads((_HERE / "bootstrap_file_2.json").read_text())
FIRST: dict[str, Any] = json.loads((_HERE / "bootstrap_file.json").read_text())
KEY = bytes.fromhex(VECTORS["configuration_key"])
IDENTITY = make_bootstrap_file.IDENTITY


def proved(text: str) -> BootstrapFile:
    return bootstrap_file.parse(text.encode()).proved(SecretBytes(KEY))


@pytest.mark.parametrize("text", [*VECTORS["good"], *THIRD["good"]])
def test_a_good_vector_is_read_and_written(text: str) -> None:
    found = proved(text)
    assert found.fingerprint == VECTORS["fingerprint"]
    assert bootstrap_file.serialize(found, SecretBytes(KEY), IDENTITY).reveal().decode() == text


def test_an_earlier_vector_without_credential_is_read() -> None:
    """§7: of the first form, which nobody signed, and of the second."""
    found = proved(FIRST["good"][1])
    assert (found.identity, found.fingerprint, found.signer) == (b"", "", None)
    assert proved(SECOND["good"][1]).fingerprint == VECTORS["fingerprint"]


@pytest.mark.parametrize("text", [FIRST["good"][0], SECOND["good"][0]], ids=["first", "second"])
def test_an_earlier_vector_with_a_credential_is_refused(text: str) -> None:
    """§7.1"""
    with pytest.raises(FormatError, match="earlier version: its credential is a secret"):
        proved(text)


@pytest.mark.parametrize("text", [*VECTORS["good"], *THIRD["good"], *SECOND["good"]])
def test_the_signature_by_other_hands(text: str) -> None:
    """§2.2"""
    members = json.loads(text)
    signature = base64.b64decode(members.pop("signature"))
    body = json.dumps(members, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    installation = UUID(members["installation_id"]).bytes
    told = b"bootstrap\0" + installation + bytes(16) + len(body).to_bytes(4, "big") + body
    seed = bytes.fromhex(VECTORS["identity_seed"])
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert key.sign(b"strongroom/v2/signed/" + told) == signature
    assert key.public_key().public_bytes_raw() == base64.b64decode(members["identity"])


@pytest.mark.parametrize(
    "text", [*VECTORS["good"], *THIRD["good"], *SECOND["good"], *FIRST["good"]]
)
def test_the_mac_by_other_hands(text: str) -> None:
    """§2.1"""
    members = json.loads(text)
    mac = members.pop("mac")
    members.pop("signature", None)
    info = b"strongroom/v1/bootstrap" + UUID(members["installation_id"]).bytes
    key = HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(KEY)
    body = json.dumps(members, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert hmac.new(key, body, hashlib.sha256).hexdigest() == mac


def test_the_keys_of_a_node_by_other_hands() -> None:
    """§4.1, nodes.md §1"""
    keys, request = json.loads(VECTORS["node_keys"]), json.loads(VECTORS["request"])
    signing = Ed25519PrivateKey.from_private_bytes(base64.b64decode(keys["signing_seed"]))
    sealing = X25519PrivateKey.from_private_bytes(base64.b64decode(keys["sealing_key"]))
    public = [one.public_key().public_bytes_raw() for one in (signing, sealing)]
    assert [base64.b64decode(request[name]) for name in ("signing_key", "sealing_key")] == public
    digest = hashlib.sha256(b"strongroom/v2/node-keys" + b"".join(public)).digest()
    letters = base64.b32encode(digest).decode().lower()[:20]
    assert "-".join(letters[at : at + 4] for at in range(0, 20, 4)) == VECTORS["node_fingerprint"]


def test_the_pins_by_other_hands() -> None:
    """§1.5"""
    found = json.loads(VECTORS["good"][0])["authorities"]
    assert sorted(found) == ["nodes", "postgres", "web", "zookeeper"]
    for one in (each for each_link in found.values() for each in each_link):
        assert hashlib.sha256(base64.b64decode(one["certificate"])).hexdigest() == one["sha256"]


@pytest.mark.parametrize("vectors", [VECTORS, THIRD], ids=["4", "3"])
def test_a_request_by_other_hands(vectors: dict[str, Any]) -> None:
    """§4.1, §4.2: both signatures, and the digest that is kept; of the third form, without a request for a certificate."""
    file, request = json.loads(vectors["good"][0]), json.loads(vectors["request"])
    asked_for = request.get("certificate_request")
    asks = [hashlib.sha256(base64.b64decode(asked_for)).digest()] if asked_for else []
    assert bool(asks) == (vectors is VECTORS)
    credential = file["credential"]
    names = ("signing_key", "sealing_key", "request_key", "signature", "proof")
    signing, sealing, key, signature, proof = (base64.b64decode(request[name]) for name in names)
    asked = UUID(credential["id"]).bytes + base64.b64decode(file["identity"])
    asked = b"".join((b"node2\0", asked, signing, sealing, key, *asks))
    seeds = (credential["seed"], json.loads(vectors["node_keys"])["signing_seed"])
    for purpose, made, seed in zip(
        (b"admission", b"node-keys"), (signature, proof), seeds, strict=True
    ):
        told = purpose + b"\0" + UUID(file["installation_id"]).bytes + bytes(16)
        told += len(asked).to_bytes(4, "big") + asked
        by = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed))
        assert by.sign(b"strongroom/v2/signed/" + told) == made
    public = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seeds[0])).public_key()
    assert public.public_bytes_raw().hex() == vectors["credential_public"]
    raw = b"".join((UUID(credential["id"]).bytes, signing, sealing, key, *asks))
    digest = hashlib.sha256(b"strongroom/v2/admission-request" + raw).hexdigest()
    assert digest == vectors["request_digest"]


FORMS = (("4", VECTORS), ("3", THIRD), ("2", SECOND), ("1", FIRST))
BAD = [(form, one) for form, vectors in FORMS for one in vectors["bad"]]


@pytest.mark.parametrize(
    "vector", [pytest.param(one, id=f"{form}-{one['why']}") for form, one in BAD]
)
def test_a_bad_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        proved(vector["file"])
