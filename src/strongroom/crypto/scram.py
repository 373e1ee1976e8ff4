"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677).

With the verifier made here, the server never sees a password, and no statement can show one. Pure: no file, no
network; salts come in as arguments. A verifier is no password, but whoever has it can try passwords against it
and pose as the server: it is kept out of logs like one.
"""

import base64
import hashlib
import hmac
import stringprep
import unicodedata

from strongroom.crypto.secret import SecretBytes

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 15_000
"""RFC 7677 §4 asks for 15,000 and more; a login costs 5 ms by it."""
SALT_BYTES = 16
_MIN_ITERATIONS = 4096  # RFC 7677 §4
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,  # unassigned: a stored string has none (RFC 3454 §7)
)


def verifier(password: SecretBytes, *, salt: bytes, iterations: int = ITERATIONS) -> SecretBytes:
    """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, ASCII, as `ALTER ROLE … PASSWORD` takes it.

    Args:
        password: UTF-8; prepared as PostgreSQL's client library does.
        salt: Fresh random bytes.
        iterations: At least 4096.
    """
    if iterations < _MIN_ITERATIONS or not salt:
        message = f"SCRAM wants a salt, and at least {_MIN_ITERATIONS} iterations"
        raise ValueError(message)
    stored, server = keys(password, salt=salt, iterations=iterations)
    parts = [base64.b64encode(part).decode("ascii") for part in (salt, stored, server)]
    text = f"{MECHANISM}${iterations}:{parts[0]}${parts[1]}:{parts[2]}"
    return SecretBytes(text.encode("ascii"))


def keys(password: SecretBytes, *, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey (RFC 5802 §3)."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password.reveal()), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")


def prepared(password: bytes) -> bytes:
    """SASLprep (RFC 4013) of a password; where that refuses, the bytes as they are, as PostgreSQL does."""
    if password.isascii():
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(map(_mapped, text))
    if _is_refused(mapped):  # before normalisation, unlike RFC 4013 §2.3: what counts is PostgreSQL
        return password
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")  # RFC 4013 §2.2


def _mapped(one: str) -> str:
    """RFC 4013 §2.1; U+200B is in both tables, and is a space to PostgreSQL."""
    if stringprep.in_table_c12(one):
        return " "
    return "" if stringprep.in_table_b1(one) else one


def _is_refused(text: str) -> bool:
    """Empty, with a prohibited character (RFC 4013 §2.3), or of mixed direction (RFC 3454 §6)."""
    if not text or any(table(one) for one in text for table in _PROHIBITED):
        return True
    rightward = [stringprep.in_table_d1(one) for one in text]
    if not any(rightward):
        return False
    leftward = any(stringprep.in_table_d2(one) for one in text)
    return leftward or not (rightward[0] and rightward[-1])
