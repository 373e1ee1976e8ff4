"""pyrage, the Rust implementation of age behind Python: X25519; the key file holds the identity."""

import sys
from pathlib import Path

from pyrage import decrypt_file, encrypt_file
from pyrage.x25519 import Identity


def main() -> None:
    """The same command line as the other drivers."""
    verb, key_file, source, target = sys.argv[1:5]
    lines = Path(key_file).read_text(encoding="ascii").splitlines()
    secret = next(line for line in lines if line.startswith("AGE-SECRET-KEY-"))
    identity = Identity.from_str(secret)
    if verb == "encrypt":
        encrypt_file(source, target, [identity.to_public()])
    else:
        decrypt_file(source, target, [identity])


if __name__ == "__main__":
    main()
