"""PKCS#12 with secret-key entries, as the JDK writes and reads them (C-03, C-05, Q-11).

Bytes in, entries out: no file is touched here. Files are written in one way, and read in the ways of JDK 8 to 28
(`protection`). Every object identifier is checked, and a file that deviates from format/keystore.md is refused. All
errors are `KeystoreError`.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeystoreError
from strongroom.keystore import der, protection
from strongroom.keystore.protection import WeakProtectionError

ITERATIONS = 10_000  # the JDK's default; a password of 256 random bits would need no stretching
MAC_ITERATIONS = 1_000  # this derivation is a loop of our own: 10,000 cost each command 4 ms
MAX_BYTES = 1 << 20  # a file of one entry has half a kibibyte
KEY_BYTES = 32
_SALT_BYTES = 20
_BLOCK_BYTES = 16
_MAC_PURPOSE = 3  # RFC 7292 appendix B.3: id 3 derives the key of the MAC
_MAX_ALIAS = 255
_TIME_PREFIX = b"Time "

_SHA256 = der.element(der.SEQUENCE, der.oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")
_DATA = der.oid("1.2.840.113549.1.7.1")
_SECRET_BAG = der.oid("1.2.840.113549.1.12.10.1.5")
_SHROUDED_KEY_BAG = der.oid("1.2.840.113549.1.12.10.1.2")
_FRIENDLY_NAME = der.oid("1.2.840.113549.1.9.20")
_LOCAL_KEY_ID = der.oid("1.2.840.113549.1.9.21")
_HMAC_SHA256 = der.element(der.SEQUENCE, der.oid("1.2.840.113549.2.9"), b"\x05\x00")
_AES_256_CBC = der.oid("2.16.840.1.101.3.4.1.42")
_AES = der.oid("2.16.840.1.101.3.4.1")
_NULL = b"\x05\x00"
_KEY_PREFIX = der.integer(0) + der.element(der.SEQUENCE, _AES, _NULL)

WRONG_PASSWORD = "its password does not fit, or the file was changed"  # noqa: S105 a sentence


class SecretKeyEntry(NamedTuple):
    """An AES-256 key with its alias."""

    alias: str
    key: SecretBytes
    created_at: datetime


def serialize(
    entries: Sequence[SecretKeyEntry], password: SecretBytes, *, iterations: int = ITERATIONS
) -> bytes:
    """A keystore file with these entries, in this order.

    Raises:
        KeystoreError: An alias, a key or the password cannot be used in a keystore.
    """
    _check_password(password)
    _check_aliases([entry.alias for entry in entries])
    bags = b"".join(_bag(entry, password, iterations) for entry in entries)
    safe = der.element(der.SEQUENCE, _content(der.element(der.SEQUENCE, bags)))
    salt = rng.random_bytes(_SALT_BYTES)
    rounds = min(iterations, MAC_ITERATIONS)
    mac = _mac(safe, password, salt, rounds)
    mac_data = der.element(
        der.SEQUENCE,
        der.element(der.SEQUENCE, _SHA256, der.element(der.OCTET_STRING, mac)),
        der.element(der.OCTET_STRING, salt),
        der.integer(rounds),
    )
    return der.element(der.SEQUENCE, der.integer(3), _content(safe), mac_data)


def parse(data: bytes, password: SecretBytes) -> tuple[SecretKeyEntry, ...]:
    """The entries of a keystore file, in its order.

    Raises:
        KeystoreError: The file is damaged, cut, of another kind, or not protected by this password.
    """
    _check_password(password)
    if not data:
        raise KeystoreError("the keystore is empty")
    if len(data) > MAX_BYTES:
        raise KeystoreError(f"the keystore has over {MAX_BYTES} bytes")
    try:
        bags = _authenticated(data, password)
        entries = []
        while bags.more:
            entries.append(_entry(bags.inside(der.SEQUENCE), password))
        _check_aliases([entry.alias for entry in entries])
    except FormatError as error:
        raise KeystoreError(
            f"the keystore is damaged or of another kind: {error.message}"
        ) from error
    return tuple(entries)


def _check_password(password: SecretBytes) -> None:
    material = password.reveal()
    if not material or not all(0x20 <= byte < 0x7F for byte in material):
        raise KeystoreError("the keystore's password is empty or not printable ASCII")


def _check_aliases(aliases: list[str]) -> None:
    """Check that the entries have the right form, and that none stands twice (format/keystore.md §2.4)."""
    for alias in aliases:
        if not 0 < len(alias) <= _MAX_ALIAS or not alias.isprintable() or alias != alias.lower():
            raise KeystoreError(f"not an alias of a keystore: {alias!r}")
    if len(set(aliases)) != len(aliases):
        raise KeystoreError("the keystore has two entries under one alias")


# ---- reading -----------------------------------------------------------------------------------


def _authenticated(data: bytes, password: SecretBytes) -> der.Reader:
    """The bags, after the MAC was found right (format/keystore.md §2.3)."""
    outer = der.Reader(data)
    pfx = outer.inside(der.SEQUENCE)
    outer.end()
    if pfx.integer() != 3:
        raise FormatError("it is no PKCS#12 file of version 3")
    safe = _read_content(pfx)
    if not pfx.more:
        raise WeakProtectionError("no MAC at all")
    mac_data = pfx.inside(der.SEQUENCE)
    pfx.end()
    if not protection.mac_fits(mac_data, safe, password):
        raise KeystoreError(f"the keystore cannot be opened: {WRONG_PASSWORD}")
    contents = der.Reader(der.Reader(safe).only(der.SEQUENCE))
    bags = der.Reader(_read_content(contents)).only(der.SEQUENCE)
    if contents.more:
        raise FormatError("it holds certificates or other contents beside secret keys")
    return der.Reader(bags)


def _read_content(reader: der.Reader) -> bytes:
    content = reader.inside(der.SEQUENCE)
    content.expect(_DATA, "that it holds data in the clear form (has it certificates?)")
    return der.Reader(content.only(der.EXPLICIT_0)).only(der.OCTET_STRING)


def _entry(bag: der.Reader, password: SecretBytes) -> SecretKeyEntry:
    bag.expect(_SECRET_BAG, "that the entry is a secret key")
    secret_bag = der.Reader(bag.take(der.EXPLICIT_0)).inside(der.SEQUENCE)
    secret_bag.expect(_SHROUDED_KEY_BAG, "that the secret is an encrypted key")
    shrouded = der.Reader(secret_bag.only(der.EXPLICIT_0)).only(der.OCTET_STRING)
    alias, created_at = _read_attributes(der.Reader(bag.only(der.SET)))
    return SecretKeyEntry(alias, _read_key(protection.decrypt(shrouded, password)), created_at)


def _read_attributes(attributes: der.Reader) -> tuple[str, datetime]:
    values: dict[bytes, bytes] = {}
    while attributes.more:
        attribute = attributes.inside(der.SEQUENCE)
        kind = der.element(der.OID, attribute.take(der.OID))
        if kind in values:
            raise FormatError("an attribute stands twice")
        values[kind] = attribute.only(der.SET)
    if values.keys() != {_FRIENDLY_NAME, _LOCAL_KEY_ID}:
        raise FormatError("an entry has not exactly an alias and a time")
    alias = der.Reader(values[_FRIENDLY_NAME]).only(der.BMP_STRING)
    time = der.Reader(values[_LOCAL_KEY_ID]).only(der.OCTET_STRING)
    return _read_alias(alias), _read_time(time)


def _read_alias(raw: bytes) -> str:
    try:
        return raw.decode("utf-16-be")
    except UnicodeDecodeError as error:
        raise FormatError("an alias is not in UTF-16") from error


def _read_time(raw: bytes) -> datetime:
    digits = raw.removeprefix(_TIME_PREFIX)
    if digits == raw or not digits.isdigit() or len(digits) > 14:
        raise FormatError("the time of an entry is not of the form 'Time <milliseconds>'")
    return datetime.fromtimestamp(int(digits) // 1000, UTC)


def _read_key(plaintext: bytes) -> SecretBytes:
    info = der.Reader(der.Reader(plaintext).only(der.SEQUENCE))
    info.expect(der.integer(0), "version 0 of a key")
    algorithm = info.inside(der.SEQUENCE)
    algorithm.expect(_AES, "that the key is for AES")
    algorithm.optional(_NULL)  # JDK 8 to 20 write this element, 21 and later do not
    algorithm.end()
    key = info.only(der.OCTET_STRING)
    if len(key) != KEY_BYTES:
        raise FormatError(f"a key has {len(key)} bytes instead of {KEY_BYTES}")
    return SecretBytes(key)


# ---- writing -----------------------------------------------------------------------------------


def _content(data: bytes) -> bytes:
    octets = der.element(der.OCTET_STRING, data)
    return der.element(der.SEQUENCE, _DATA, der.element(der.EXPLICIT_0, octets))


def _bag(entry: SecretKeyEntry, password: SecretBytes, iterations: int) -> bytes:
    if len(entry.key) != KEY_BYTES:
        raise KeystoreError(f"the key of {entry.alias!r} has not {KEY_BYTES} bytes")
    shrouded = der.element(der.OCTET_STRING, _encrypt_key(entry.key, password, iterations))
    secret = der.element(der.SEQUENCE, _SHROUDED_KEY_BAG, der.element(der.EXPLICIT_0, shrouded))
    time = _TIME_PREFIX + str(int(entry.created_at.timestamp()) * 1000).encode()
    attributes = der.element(
        der.SET,
        _attribute(_FRIENDLY_NAME, der.element(der.BMP_STRING, entry.alias.encode("utf-16-be"))),
        _attribute(_LOCAL_KEY_ID, der.element(der.OCTET_STRING, time)),
    )
    return der.element(der.SEQUENCE, _SECRET_BAG, der.element(der.EXPLICIT_0, secret), attributes)


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.element(der.SEQUENCE, kind, der.element(der.SET, value))


def _encrypt_key(key: SecretBytes, password: SecretBytes, iterations: int) -> bytes:
    salt, iv = rng.random_bytes(_SALT_BYTES), rng.random_bytes(_BLOCK_BYTES)
    plaintext = der.element(der.SEQUENCE, _KEY_PREFIX, der.element(der.OCTET_STRING, key.reveal()))
    padding = _BLOCK_BYTES - len(plaintext) % _BLOCK_BYTES
    cipher = _cipher(password, salt, iterations, iv).encryptor()
    ciphertext = cipher.update(plaintext + bytes([padding]) * padding) + cipher.finalize()
    details = der.element(
        der.SEQUENCE,
        der.element(der.OCTET_STRING, salt),
        der.integer(iterations),
        der.integer(KEY_BYTES),
        _HMAC_SHA256,
    )
    parameters = der.element(
        der.SEQUENCE,
        der.element(der.SEQUENCE, protection.PBKDF2, details),
        der.element(der.SEQUENCE, _AES_256_CBC, der.element(der.OCTET_STRING, iv)),
    )
    algorithm = der.element(der.SEQUENCE, protection.PBES2, parameters)
    return der.element(der.SEQUENCE, algorithm, der.element(der.OCTET_STRING, ciphertext))


# ---- derivations -------------------------------------------------------------------------------


def _cipher(password: SecretBytes, salt: bytes, iterations: int, iv: bytes) -> "Cipher[modes.CBC]":
    key = hashlib.pbkdf2_hmac("sha256", password.reveal(), salt, iterations, KEY_BYTES)
    return Cipher(algorithms.AES256(key), modes.CBC(iv))


def _mac(safe: bytes, password: SecretBytes, salt: bytes, iterations: int) -> bytes:
    return hmac.digest(_mac_key(password, salt, iterations), safe, hashlib.sha256)


def _mac_key(password: SecretBytes, salt: bytes, iterations: int) -> bytes:
    return protection.derive(password, salt, iterations, "sha256", _MAC_PURPOSE, KEY_BYTES)
