"""The files with a node's own keys: beside the folder in which it is prepared, then in the node (docs/format/nodes.md 1).

After a crash or a lost answer the preparation is started again, and must repeat the same request with the same keys:
another request would be refused, since the credential is used. The keys therefore lie outside the folder that is thrown
away after a failure, until the node exists. They open nothing yet, and admit nobody without a credential.
"""

import shutil
from pathlib import Path

from strongroom.errors import FormatError, StorageError
from strongroom.joining import node_keys
from strongroom.joining.node_keys import NodeKeys
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk, durable

FOLDER = ".init-request"
_FILE = "node.json"


def ensure(root: Path, installation_id: str, node_id: str) -> NodeKeys:
    """The keys that a directory has for a node to be; new ones are durable on the disk before they are returned.

    Keys of an attempt with another file, for another node, are replaced, as is a damaged file: what was damaged before
    it was whole was never sent.

    Raises:
        StorageError: The disk refuses.
    """
    path = root / FOLDER / _FILE
    try:
        found = node_keys.parse(_read(path))
    except (FileNotFoundError, FormatError):
        found = None
    if found is not None and (found.installation_id, found.node_id) == (installation_id, node_id):
        return found
    made = node_keys.make(installation_id, node_id)
    durable.make_folder(path.parent)
    durable.write_file(path, made.serialize().reveal())
    return made


def forget(root: Path) -> None:
    """Delete the keys beside the folder, since the node exists or was refused; the next request has other ones."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)


def write(paths: DataPaths, keys: NodeKeys) -> None:
    """Write the keys into the node, for its owner alone.

    Raises:
        StorageError: The disk refuses.
    """
    durable.write_file(paths.node_keys, keys.serialize().reveal())


def read(paths: DataPaths) -> NodeKeys:
    """The keys of a node.

    Raises:
        FormatError: The file is damaged.
        StorageError: The file cannot be read, or is not there.
    """
    try:
        return node_keys.parse(_read(paths.node_keys))
    except FileNotFoundError:
        raise StorageError(
            f"{paths.node_keys} is not there", hint="bring the node in anew, by a new file"
        ) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(node_keys.MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error
