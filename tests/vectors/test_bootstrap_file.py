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
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.joining import bootstrap_file
from strongroom.joining.bootstrap_file import BootstrapFile

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("bootstrap_file.json").read_text())
KEY = bytes.fromhex(VECTORS["configuration_key"])


def proved(text: str) -> BootstrapFile:
    return bootstrap_file.parse(text.encode()).proved(SecretBytes(KEY))


@pytest.mark.parametrize("text", VECTORS["good"], ids=["full", "bare"])
def test_a_good_vector_is_read_and_written(text: str) -> None:
    assert bootstrap_file.serialize(proved(text), SecretBytes(KEY)).reveal().decode() == text


@pytest.mark.parametrize("text", VECTORS["good"], ids=["full", "bare"])
def test_the_mac_by_other_hands(text: str) -> None:
    """§2.1"""
    members = json.loads(text)
    mac = members.pop("mac")
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


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["why"])
def test_a_bad_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        proved(vector["file"])
