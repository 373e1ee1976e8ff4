"""The key of a new node's request to be let in: made once for a data directory, there until the node is (bootstrap-file.md §4.2).

It lies outside of what is built aside and thrown away, so that whoever starts again, after a kill or a lost answer,
repeats the request and does not make another. It opens nothing, and admits nobody without a credential.
"""

import shutil
from pathlib import Path

from strongroom import durable
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError

FOLDER = ".init-request"
_FILE = "request.key"


def ensure(root: Path) -> SecretBytes:
    """The key of this data directory; a new one is on the disk before it is given.

    Raises:
        StorageError: The disk refuses.
    """
    path = root / FOLDER / _FILE
    try:
        with path.open("rb") as file:
            found = file.read(rng.KEY_BYTES + 1)
    except FileNotFoundError:
        found = b""
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(found) == rng.KEY_BYTES:
        return SecretBytes(found)
    key = rng.new_key()
    durable.make_folder(path.parent)
    durable.write_file(path, key.reveal())
    return key


def forget(root: Path) -> None:
    """The node is there, or it was refused: the next request is another one."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)
