"""What the drivers share: `python -m benchmarks.drivers.DRIVER encrypt|decrypt KEYFILE IN OUT [OPTION]`."""

import sys
from collections.abc import Callable

CHUNK_BYTES = 256 * 1024  # larger writes are served at random speeds on a ballooned host
KEY_BYTES = 32

Work = Callable[[bytes, str, str, str], None]


def main(encrypt: Work, decrypt: Work) -> None:
    """Read the key, then do what the first word says."""
    verb, key_file, source, target = sys.argv[1:5]
    option = sys.argv[5] if len(sys.argv) > 5 else ""
    with open(key_file, "rb") as file:  # noqa: PTH123 pathlib costs a start-up that no driver needs
        key = file.read(KEY_BYTES)
    {"encrypt": encrypt, "decrypt": decrypt}[verb](key, source, target, option)
