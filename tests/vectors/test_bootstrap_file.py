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
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.joining import bootstrap_file
from strongroom.joining.bootstrap_file import BootstrapFile
from tests.vectors import make_bootstrap_file

_HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((_HERE / "bootstrap_file_2.json").read_text())
FIRST: dict[str, Any] = json.loads((_HERE / "bootstrap_file.json").read_text())
KEY = bytes.fromhex(VECTORS["configuration_key"])
IDENTITY = make_bootstrap_file.IDENTITY


def proved(text: str) -> BootstrapFile:
    return bootstrap_file.parse(text.encode()).proved(SecretBytes(KEY))


@pytest.mark.parametrize("text", VECTORS["good"], ids=["full", "bare"])
def test_a_good_vector_is_read_and_written(text: str) -> None:
    found = proved(text)
    assert found.fingerprint == VECTORS["fingerprint"]
    assert bootstrap_file.serialize(found, SecretBytes(KEY), IDENTITY).reveal().decode() == text


@pytest.mark.parametrize("text", FIRST["good"], ids=["full", "bare"])
def test_a_good_vector_of_the_first_form_is_read(text: str) -> None:
    """§7: signed by nobody."""
    found = proved(text)
    assert (found.identity, found.fingerprint, found.signer) == (b"", "", None)


@pytest.mark.parametrize("text", VECTORS["good"], ids=["full", "bare"])
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


@pytest.mark.parametrize("text", [*VECTORS["good"], *FIRST["good"]])
def test_the_mac_by_other_hands(text: str) -> None:
    """§2.1"""
    members = json.loads(text)
    mac = members.pop("mac")
    members.pop("signature", None)
    info = b"strongroom/v1/bootstrap" + UUID(members["installation_id"]).bytes
    key = HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(KEY)
    body = json.dumps(members, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert hmac.new(key, body, hashlib.sha256).hexdigest() == mac


def test_the_digest_of_a_credential_by_other_hands() -> None:
    """§3.2"""
    credential = json.loads(VECTORS["good"][0])["credential"]
    raw = UUID(credential["id"]).bytes + base64.b64decode(credential["secret"])
    digest = hashlib.sha256(b"strongroom/v1/bootstrap-credential" + raw).hexdigest()
    assert digest == VECTORS["credential_digest"]


def test_the_digest_of_a_request_by_other_hands() -> None:
    """§4.2"""
    credential = json.loads(VECTORS["good"][0])["credential"]
    raw = UUID(credential["id"]).bytes + bytes.fromhex(VECTORS["request_key"])
    digest = hashlib.sha256(b"strongroom/v1/admission-request" + raw).hexdigest()
    assert digest == VECTORS["request_digest"]


BAD = [(form, one) for form, vectors in (("2", VECTORS), ("1", FIRST)) for one in vectors["bad"]]


@pytest.mark.parametrize(
    "vector", [pytest.param(one, id=f"{form}-{one['why']}") for form, one in BAD]
)
def test_a_bad_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        proved(vector["file"])
