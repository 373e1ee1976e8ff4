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
_ASKED = "certificate-request.json"


def ensure(root: Path, installation_id: str, node_id: str, *, asks: bool = False) -> NodeKeys:
    """The keys that a directory has for a node to be; new ones are durable on the disk before they are returned.

    Args:
        root: The directory.
        installation_id: The installation.
        node_id: The node.
        asks: Whether the node asks for a certificate, so that there is a key for it and a request as well.

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
    if found is None or (found.installation_id, found.node_id) != (installation_id, node_id):
        # first: a request beside keys of another node is another one's
        (path.parent / _ASKED).unlink(missing_ok=True)
        found = node_keys.make(installation_id, node_id)
        durable.make_folder(path.parent)
        durable.write_file(path, found.serialize().reveal())
    return _asking(path.parent / _ASKED, found) if asks else found


def forget(root: Path) -> None:
    """Delete the keys beside the folder, since the node exists or was refused; the next request has other ones."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)


def write(paths: DataPaths, keys: NodeKeys) -> None:
    """Write the keys into the node, for its owner alone.

    Raises:
        StorageError: The disk refuses.
    """
    durable.write_file(paths.node_keys, keys.serialize().reveal())
    if keys.asked is not None:
        durable.write_file(paths.certificate_request, keys.asked.serialize().reveal())


def forget_asked(paths: DataPaths) -> None:
    """Delete the request for a certificate: the installation has answered it.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        paths.certificate_request.unlink(missing_ok=True)
    except OSError as error:
        raise disk.problem(f"cannot remove {paths.certificate_request}", error) from error


def read(paths: DataPaths) -> NodeKeys:
    """The keys of a node.

    Raises:
        FormatError: The file is damaged.
        StorageError: The file cannot be read, or is not there.
    """
    try:
        found = node_keys.parse(_read(paths.node_keys))
    except FileNotFoundError:
        raise StorageError(
            f"{paths.node_keys} is not there", hint="bring the node in anew, by a new file"
        ) from None
    if not paths.certificate_request.exists():
        return found
    # not imported for every command of a node that has its certificate
    from strongroom.joining import certificate_request

    return found.asking(certificate_request.parse(_read(paths.certificate_request)))


def _asking(path: Path, keys: NodeKeys) -> NodeKeys:
    """The keys with the request that lies beside them; a new one is durable before it is returned."""
    from strongroom.crypto.node_certificates import NodeName
    from strongroom.joining import certificate_request

    try:
        return keys.asking(certificate_request.parse(_read(path)))
    except (FileNotFoundError, FormatError):
        made = certificate_request.make(NodeName(keys.installation_id, keys.node_id))
        durable.write_file(path, made.serialize().reveal())
        return keys.asking(made)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(node_keys.MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error
