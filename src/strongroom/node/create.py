"""Creates a node: built aside, and there by one rename, whole or not at all (C-03).

Beside the composition root, which opens nodes that are there; what a new one consists of is
`services.nodes.create`'s business.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, ConflictError
from strongroom.ids import new_id
from strongroom.joining import own_keys
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.prepared import PreparedNode
from strongroom.node.environment import data_dir, installation_file_modes, local_actor
from strongroom.node.opening import Node, entering
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes import create, prepare
from strongroom.services.nodes.create import NewNode
from strongroom.services.nodes.prepare import Admit
from strongroom.system import disk, durable

_STAGING = ".init-"
Made = TypeVar("Made")


def check_new(option: str | None) -> Path:
    """The data directory for a new node.

    Raises:
        ConflictError: There is a node in it, or something else.
        PermissionDeniedError: The data directory may not be entered.
    """
    root = data_dir(option)
    with entering(root):
        is_there = DataPaths(root).is_made()
    if is_there:
        raise ConflictError(
            f"there is a node in {root} already", hint="it is never replaced; name another place"
        )
    try:
        strange = [path.name for path in root.iterdir() if not path.name.startswith(_STAGING)]
    except FileNotFoundError:
        return root
    except OSError as error:
        raise disk.problem(f"cannot look into {root}", error) from error
    if strange:
        raise ConflictError(
            f"{root} is not empty: {strange[0]!r} is in it", hint="name an empty directory"
        )
    return root


def create_node(option: str | None, admin: str, password: SecretBytes) -> NewNode:
    """Create a node: it is built aside and appears by one rename, whole or not at all.

    Raises:
        ConflictError: There is a node already, or another command is creating one.
        StorageError: The disk refuses.
    """

    def build(node: Node, root: Path) -> NewNode:
        return create.initialise(node.new_node_ports(), root, admin, password, local_actor())

    return _build(option, "node1", build)


def prepare_node(option: str | None, file: BootstrapFile, admit: Admit) -> PreparedNode:
    """Prepare a further node: keystore replicas, configuration keys, its place; the cluster has the rest (C-22).

    It is built aside; `admit` is asked when everything else is done; then it appears by one rename. Whatever ends this
    in between, the next attempt with the same file repeats the request: the keys of it stay in the directory.

    Args:
        option: The data directory.
        file: A bootstrap file that was proved.
        admit: Asks the installation to let the node in, and says whether it did.

    Raises:
        ConflictError: There is a node already, or another command is creating one.
        AuthenticationError: The installation refuses it.
        StorageError: The disk refuses.
    """

    def build(node: Node, root: Path) -> PreparedNode:
        try:
            asks = file.bearings is not None
            keys = own_keys.ensure(root, file.installation_id, file.node_id, asks=asks)
            return prepare.prepare(node.prepared_node_ports(), file, keys, admit, local_actor())
        except AuthenticationError:
            own_keys.forget(root)
            raise

    node = _build(option, file.node_id, build, kept=own_keys.FOLDER)
    own_keys.forget(data_dir(option))
    return node


def ask_again(root: Path, file: BootstrapFile, admit: Admit) -> PreparedNode:
    """Repeat the request of a node that was prepared and could not be asked, or told, everything.

    Raises:
        AuthenticationError: The installation refuses it.
        StorageError: The disk refuses.
    """
    # the node exists, with the same keys in it: a kill may have left those beside it
    own_keys.forget(root)
    with closing(Node(DataPaths(root, file.node_id), SystemClock())) as node:
        ports = node.prepared_node_ports()
        own = own_keys.read(node.paths)
        return prepare.admitted(ports, file, own, admit(file, own))


def _build(
    option: str | None, node_id: str, build: Callable[[Node, Path], Made], kept: str = ""
) -> Made:
    root, file_modes = check_new(option), installation_file_modes()
    with _made(root, file_modes), _sole_creator(root):
        check_new(option)
        for leftover in root.glob(f"{_STAGING}*"):
            if leftover.name != kept:
                shutil.rmtree(leftover)
        staging = root / f"{_STAGING}{new_id()}"
        durable.make_folder(staging, durable.PRIVATE)
        try:
            node = Node(DataPaths(staging, node_id), SystemClock())
            try:
                made = build(node, root)
            finally:
                node.close()
            node.paths.tabsvc.rename(DataPaths(root).tabsvc)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        durable.sync_folder(root)
    return made


@contextmanager
def _made(root: Path, file_modes: durable.FileModes) -> Iterator[None]:
    """The folders of a node; those that were made for it go again if it is not created, unless something is in them."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        durable.make_folder(root, file_modes)
        yield
    except BaseException:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
        raise


@contextmanager
def _sole_creator(root: Path) -> Iterator[None]:
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConflictError(f"another command is creating a node in {root}") from error
    except OSError as error:
        os.close(handle)
        raise disk.problem(f"{root} cannot be locked", error) from error
    try:
        yield
    finally:
        os.close(handle)
