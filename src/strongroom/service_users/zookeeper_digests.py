"""Computes the name of a digest user in an ACL of ZooKeeper: `user:` and a hash of `user:password`; pure.

The server chooses the hash algorithm: with `-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-256` a user has
another name than without. A znode whose ACL has a name by the wrong algorithm is locked for good (findings K6). So the
caller looks at a name that the server has computed, before it writes one of its own.
"""

import base64
import hashlib
from collections.abc import Collection, Iterable

from strongroom.crypto.secret import SecretBytes

ALGORITHMS = (
    *("sha1", "sha256", "sha512", "sha384", "sha224", "md5"),
    *("sha3_256", "sha3_512", "sha3_384", "sha3_224"),
)
"""The hash algorithms of a Java runtime, the likely ones first."""


def name_of(algorithm: str, user: str, password: SecretBytes) -> str:
    """The id by which an entry of an ACL names the user."""
    text = user.encode() + b":" + password.reveal()
    digest = hashlib.new(algorithm, text, usedforsecurity=False).digest()
    return f"{user}:{base64.b64encode(digest).decode('ascii')}"


def algorithm_of(names: Collection[str], user: str, passwords: Iterable[SecretBytes]) -> str | None:
    """The algorithm by which an ACL names the user with one of these passwords; None if no algorithm fits."""
    for password in passwords:
        for algorithm in ALGORITHMS:
            if name_of(algorithm, user, password) in names:
                return algorithm
    return None
