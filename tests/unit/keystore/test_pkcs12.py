"""The PKCS#12 codec (C-03, Q-11, format/keystore.md)."""

import hashlib
import hmac
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeystoreError
from strongroom.keystore import der, pkcs12, protection
from strongroom.keystore.pkcs12 import SecretKeyEntry

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
_PASSWORD = SecretBytes(b"a password of the tests")


def _entry(alias: str = "master-key-1", *, key: bytes | None = None) -> SecretKeyEntry:
    return SecretKeyEntry(alias, rng.new_key() if key is None else SecretBytes(key), _NOW)


def _resealed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The file with one part of its contents exchanged and a MAC that fits again."""
    assert len(old) == len(new)
    assert data.count(old) == 1
    pfx = der.Reader(data).inside(der.SEQUENCE)
    pfx.integer()
    content = pfx.inside(der.SEQUENCE)
    content.take(der.OID)
    safe = der.Reader(content.only(der.EXPLICIT_0)).only(der.OCTET_STRING)
    mac_data = pfx.inside(der.SEQUENCE)
    info = mac_data.inside(der.SEQUENCE)
    info.take(der.SEQUENCE)
    mac = info.only(der.OCTET_STRING)
    salt, iterations = mac_data.take(der.OCTET_STRING), mac_data.integer()
    changed = safe.replace(old, new)
    key = pkcs12._mac_key(_PASSWORD, salt, iterations)
    return data.replace(safe, changed).replace(mac, hmac.digest(key, changed, hashlib.sha256))


def test_entries_come_back_in_their_order() -> None:
    """C-03."""
    entries = (_entry("master-key-2"), _entry("master-key-1"), _entry("schlüssel ☃"))
    data = pkcs12.serialize(entries, _PASSWORD, iterations=1)
    assert pkcs12.parse(data, _PASSWORD) == entries


def test_a_keystore_without_entries_is_one() -> None:
    assert pkcs12.parse(pkcs12.serialize((), _PASSWORD, iterations=1), _PASSWORD) == ()


def test_no_key_stands_in_the_clear() -> None:
    """K-04."""
    entry = _entry()
    assert entry.key.reveal() not in pkcs12.serialize([entry], _PASSWORD, iterations=1)


def test_two_writings_of_a_key_share_no_salt_and_no_ciphertext() -> None:
    key = rng.new_key()
    one, two = (pkcs12._encrypt_key(key, _PASSWORD, 1) for _ in range(2))
    assert one[-64:] != two[-64:]
    salt_at = one.index(protection.PBKDF2) + len(protection.PBKDF2) + 4
    assert one[salt_at : salt_at + 20] != two[salt_at : salt_at + 20]


def test_the_wrong_password_is_told_as_such() -> None:
    data = pkcs12.serialize([_entry()], _PASSWORD, iterations=1)
    with pytest.raises(KeystoreError, match="password does not fit, or the file was changed"):
        pkcs12.parse(data, SecretBytes(b"another"))


@pytest.mark.parametrize("password", [b"", b"with\nnewline", "schlüssel".encode()])
def test_a_password_that_java_refuses_is_refused(password: bytes) -> None:
    with pytest.raises(KeystoreError, match="not printable ASCII"):
        pkcs12.serialize([_entry()], SecretBytes(password))
    with pytest.raises(KeystoreError, match="not printable ASCII"):
        pkcs12.parse(b"x", SecretBytes(password))


@pytest.mark.parametrize("alias", ["", "Upper", "tab\t", "x" * 256])
def test_an_alias_that_java_would_change_is_refused(alias: str) -> None:
    with pytest.raises(KeystoreError, match="not an alias"):
        pkcs12.serialize([_entry(alias)], _PASSWORD)


def test_two_entries_under_one_alias_are_refused() -> None:
    with pytest.raises(KeystoreError, match="two entries under one alias"):
        pkcs12.serialize([_entry(), _entry()], _PASSWORD)


def test_a_key_of_another_length_is_not_written() -> None:
    with pytest.raises(KeystoreError, match="has not 32 bytes"):
        pkcs12.serialize([_entry(key=bytes(16))], _PASSWORD)


def test_an_empty_file_and_a_huge_file_are_told() -> None:
    with pytest.raises(KeystoreError, match="is empty"):
        pkcs12.parse(b"", _PASSWORD)
    with pytest.raises(KeystoreError, match="has over"):
        pkcs12.parse(bytes(pkcs12.MAX_BYTES + 1), _PASSWORD)


@pytest.mark.parametrize("iterations", [0, protection.MAX_ITERATIONS + 1])
def test_iterations_out_of_bounds_are_refused(iterations: int) -> None:
    """format/keystore.md §2.2."""
    with pytest.raises(FormatError, match="iterations are not within"):
        protection.read_iterations(der.Reader(der.integer(iterations)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        pytest.param(pkcs12._SECRET_BAG, "1.2.840.113549.1.12.10.1.3", "secret key", id="bag"),
        pytest.param(
            pkcs12._SHROUDED_KEY_BAG, "1.2.840.113549.1.12.10.1.1", "encrypted key", id="secret"
        ),
        pytest.param(protection.PBES2, "1.2.840.113549.1.5.12", "PBES2", id="pbes2"),
        pytest.param(protection.PBKDF2, "1.2.840.113549.1.5.11", "PBKDF2", id="pbkdf2"),
        pytest.param(der.oid("1.2.840.113549.2.9"), "1.2.840.113549.2.6", "HMAC-SHA256", id="prf"),
        pytest.param(pkcs12._AES_256_CBC, "2.16.840.1.101.3.4.1.46", "AES-256-CBC", id="cipher"),
        pytest.param(pkcs12._FRIENDLY_NAME, "1.2.840.113549.1.9.19", "alias and a time", id="name"),
        pytest.param(
            pkcs12._LOCAL_KEY_ID, "1.2.840.113549.1.9.20", "stands twice", id="attribute-twice"
        ),
        pytest.param(b"Time 1", b"Tame 1", "form 'Time", id="time"),
        pytest.param("master-key-1".encode("utf-16-be"), b"\xd8\x00" * 12, "UTF-16", id="alias"),
    ],
)
def test_what_the_format_does_not_name_is_refused_although_the_mac_fits(
    old: bytes, new: str | bytes, why: str
) -> None:
    """format/keystore.md §2.1."""
    data = pkcs12.serialize([_entry()], _PASSWORD, iterations=1)
    other = new if isinstance(new, bytes) else der.oid(new)
    with pytest.raises(KeystoreError, match=why):
        pkcs12.parse(_resealed(data, old, other), _PASSWORD)


@pytest.mark.parametrize(
    ("padded", "why"),
    [
        pytest.param(b"\x00" * 16, "does not open", id="padding-zero"),
        pytest.param(b"\x01" * 14 + b"\x02\x03", "does not open", id="padding-mixed"),
        pytest.param(b"\x11" * 16, "does not open", id="padding-too-long"),
        pytest.param(b"\x10" * 16, "middle of an element", id="nothing-inside"),
    ],
)
def test_a_key_that_does_not_decrypt_well_is_refused(padded: bytes, why: str) -> None:
    salt, iv = bytes(20), bytes(16)
    encryptor = pkcs12._cipher(_PASSWORD, salt, 1, iv).encryptor()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    shrouded = _shrouded(ciphertext, salt, iv)
    with pytest.raises(FormatError, match=why):
        pkcs12._read_key(protection.decrypt(shrouded, _PASSWORD))


def _shrouded(ciphertext: bytes, salt: bytes, iv: bytes) -> bytes:
    details = (der.element(der.OCTET_STRING, salt), der.integer(1), der.integer(32))
    function = der.element(der.SEQUENCE, *details, pkcs12._HMAC_SHA256)
    derivation = der.element(der.SEQUENCE, protection.PBKDF2, function)
    scheme = der.element(der.SEQUENCE, pkcs12._AES_256_CBC, der.element(der.OCTET_STRING, iv))
    parameters = der.element(der.SEQUENCE, derivation, scheme)
    algorithm = der.element(der.SEQUENCE, protection.PBES2, parameters)
    return der.element(der.SEQUENCE, algorithm, der.element(der.OCTET_STRING, ciphertext))


def test_a_key_that_is_not_for_aes_256_is_refused() -> None:
    short = der.element(der.SEQUENCE, pkcs12._KEY_PREFIX, der.element(der.OCTET_STRING, bytes(16)))
    with pytest.raises(FormatError, match="16 bytes instead of 32"):
        pkcs12._read_key(short)


def test_another_version_of_the_format_is_refused() -> None:
    data = pkcs12.serialize([_entry()], _PASSWORD, iterations=1)
    other = data.replace(der.integer(3), der.integer(4), 1)
    with pytest.raises(KeystoreError, match="no PKCS#12 file of version 3"):
        pkcs12.parse(other, _PASSWORD)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_ciphertext_that_is_no_whole_block_is_refused(length: int) -> None:
    cut = _shrouded(bytes(length), bytes(20), bytes(16))
    with pytest.raises(FormatError, match="wrong length"):
        protection.decrypt(cut, _PASSWORD)


def test_an_initial_vector_of_another_length_is_refused() -> None:
    with pytest.raises(FormatError, match="wrong length"):
        protection.decrypt(_shrouded(bytes(16), bytes(20), bytes(8)), _PASSWORD)


@pytest.mark.parametrize("size", [0, 15, 1 << 40], ids=str)
def test_a_derived_key_of_another_length_is_refused_before_it_is_derived(size: int) -> None:
    details = b"".join(
        (der.element(der.OCTET_STRING, bytes(20)), der.integer(1), der.integer(size))
    )
    reader = der.Reader(
        der.element(
            der.SEQUENCE,
            protection.PBKDF2,
            der.element(der.SEQUENCE, details, pkcs12._HMAC_SHA256),
        )
    ).inside(der.SEQUENCE)
    with pytest.raises(FormatError, match="a derived key has"):
        protection._pbkdf2(reader, _PASSWORD)


@pytest.mark.parametrize("salt", [bytes(7), bytes(65)])
def test_a_salt_of_another_length_is_refused(salt: bytes) -> None:
    with pytest.raises(FormatError, match="a salt has"):
        protection.read_salt(der.Reader(der.element(der.OCTET_STRING, salt)))


def test_the_password_derivation_is_the_one_of_rfc_7292(tmp_path: Path) -> None:
    """RFC 7292 appendix B: openssl checks our MAC and finds the contents well formed."""
    path = tmp_path / "k.p12"
    path.write_bytes(pkcs12.serialize([_entry()], _PASSWORD))
    ran = subprocess.run(
        ["openssl", "pkcs12", "-info", "-in", path, "-passin", "stdin", "-nokeys"],
        input=_PASSWORD.reveal() + b"\n",
        capture_output=True,
        check=False,
    )
    assert f"MAC: sha256, Iteration {pkcs12.MAC_ITERATIONS}\n".encode() in ran.stderr
    assert b"Mac verify error" not in ran.stderr
