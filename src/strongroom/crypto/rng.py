"""Randomness: the operating system's generator, nothing else."""

import base64
import os

from strongroom.crypto.secret import SecretBytes

KEY_BYTES = 32
PASSWORD_BYTES = 32


def random_bytes(count: int) -> bytes:
    """`count` random bytes, for salts, nonces and ids."""
    return os.urandom(count)


def new_key() -> SecretBytes:
    """A fresh AES-256 key."""
    return SecretBytes(os.urandom(KEY_BYTES))


def new_password() -> SecretBytes:
    """256 random bits as 43 characters of unpadded base64url: printable ASCII, which keytool and every component accept."""
    return SecretBytes(base64.urlsafe_b64encode(os.urandom(PASSWORD_BYTES)).rstrip(b"="))
