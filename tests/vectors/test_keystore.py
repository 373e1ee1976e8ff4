"""Keystores as the keytools of JDK 8 to 28 wrote them (findings P3, T7): read, or refused with what to do."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError
from strongroom.keystore import pkcs12, protection
from strongroom.keystore.protection import WeakProtectionError

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("keystore.json").read_text())
PASSWORD = SecretBytes(VECTORS["password"].encode())
#: Not read: each by the word in its message.
REFUSED = ("RC2_40", "RC2_128", "RC4_128", "MD5AndDES", "NONE")


def _title(vector: dict[str, Any]) -> str:
    asked = (f"{name.rsplit('.', 1)[-1]}={value}" for name, value in vector["properties"].items())
    return " ".join((f"jdk{vector['jdk']}", *asked))


def _is_refused(vector: dict[str, Any]) -> bool:
    return any(value.endswith(REFUSED) for value in vector["properties"].values())


def _data(vector: dict[str, Any]) -> bytes:
    return base64.b64decode(vector["file"])


READ = [vector for vector in VECTORS["files"] if not _is_refused(vector)]
WEAK = [vector for vector in VECTORS["files"] if _is_refused(vector)]


def test_each_jdk_of_the_promise_is_among_them() -> None:
    assert [vector["jdk"] for vector in READ if not vector["properties"]] == (
        ["8", "11", "17", "21", "25", "28"]
    )
    assert len(WEAK) == len(REFUSED)


@pytest.mark.parametrize("vector", READ, ids=_title)
def test_what_a_jdk_wrote_is_read(vector: dict[str, Any]) -> None:
    """findings P3"""
    found = pkcs12.parse(_data(vector), PASSWORD)
    assert {entry.alias: entry.key.reveal().hex() for entry in found} == VECTORS["keys"]


@pytest.mark.parametrize("vector", READ, ids=_title)
def test_another_password_and_a_change_of_any_part_are_noticed(vector: dict[str, Any]) -> None:
    """K-05: whatever the MAC is, it is checked before anything is decrypted."""
    data = _data(vector)
    with pytest.raises(KeystoreError, match="password does not fit"):
        pkcs12.parse(data, SecretBytes(b"another password"))
    for at in range(0, len(data), 41):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        if _is_unused(data, at):
            continue
        with pytest.raises(KeystoreError):
            pkcs12.parse(changed, PASSWORD)


def _is_unused(data: bytes, at: int) -> bool:
    """The salt and the count behind a PBMAC1, which nothing uses (RFC 9579)."""
    return b"NOT USED" in data and at >= data.index(b"NOT USED")


@pytest.mark.parametrize("vector", WEAK, ids=_title)
def test_what_is_not_read_is_named_and_the_message_says_what_to_do(vector: dict[str, Any]) -> None:
    """findings T7: the keytool command that writes it anew."""
    with pytest.raises(WeakProtectionError, match="which is not read here") as refused:
        pkcs12.parse(_data(vector), PASSWORD)
    (asked,) = vector["properties"].values()
    assert (asked if asked != "NONE" else "no MAC at all") in refused.value.message
    assert "keytool -importkeystore" in refused.value.hint


@pytest.mark.interop
@pytest.mark.parametrize("vector", WEAK, ids=_title)
def test_what_the_message_says_to_do_is_done_and_the_file_is_read(
    vector: dict[str, Any], tmp_path: Path
) -> None:
    """findings T7: the command of the hint, run by a shell as it stands there."""
    assert shutil.which("keytool"), "this test needs keytool of a JDK: 'make dev' installs it"
    path, password = tmp_path / "k.jks", tmp_path / "password"
    path.write_bytes(_data(vector))
    password.write_bytes(PASSWORD.reveal())
    said = protection.rewriting(path, password).split("'")[1::2]
    assert len(said) == 3
    for command in said:
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)
    found = pkcs12.parse(path.read_bytes(), PASSWORD)
    assert {entry.alias: entry.key.reveal().hex() for entry in found} == VECTORS["keys"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("digest", "size"), [("sha1", 24), ("sha1", 41), ("sha512", 130)])
def test_a_derivation_of_several_blocks_begins_with_that_of_one(digest: str, size: int) -> None:
    """RFC 7292 appendix B.2, step 6"""
    salt, one = b"a salt of 20 bytes !", hashlib.new(digest).digest_size
    long = protection.derive(PASSWORD, salt, 3, digest, 1, size)
    assert len(long) == size
    assert long[:one] == protection.derive(PASSWORD, salt, 3, digest, 1, one)
    assert long[one : 2 * one] != long[: len(long[one : 2 * one])]
