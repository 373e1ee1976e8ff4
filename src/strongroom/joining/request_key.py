"""The key of a new node's admission request, made once for a data directory and kept until the node exists (§4.2).

After a crash or a lost answer the preparation is started again, and must repeat the same request: another request would
be refused, since the credential is used. The key therefore lies outside the folder that is thrown away after a failure
(format/bootstrap-file.md). It opens nothing, and admits nobody without a credential.
"""

import shutil
from pathlib import Path

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.system import disk, durable

FOLDER = ".init-request"
_FILE = "request.key"


def ensure(root: Path) -> SecretBytes:
    """The key of this data directory; a new key is durable on the disk before it is returned.

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
        raise disk.problem(f"cannot read {path}", error) from error
    if len(found) == rng.KEY_BYTES:
        return SecretBytes(found)
    key = rng.new_key()
    durable.make_folder(path.parent)
    durable.write_file(path, key.reveal())
    return key


def forget(root: Path) -> None:
    """Delete the key, since the node exists or was refused; the next request is another one."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)
