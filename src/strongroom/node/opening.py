"""The composition root: opens the node of a data directory, and hands out its services.

Everything is built at first use, and imported there: `tsm configuration get` must not pay for the repository.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.clock import SystemClock
from strongroom.errors import (
    KeystoreError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UpgradeNeededError,
)
from strongroom.node.environment import HOME_VARIABLE, data_dir, local_actor
from strongroom.node.parts.key_management import KeyManagementPart
from strongroom.node.parts.operations import OperationsPart, ServicesPart
from strongroom.runtime.paths import DataPaths
from strongroom.system import guarded_files, os_users

if TYPE_CHECKING:
    from strongroom.eventlog.audit import Report
    from strongroom.eventlog.logfile import Progress
    from strongroom.eventlog.notes import Checkpoint
    from strongroom.joining.prepared import PreparedNode


class Node(KeyManagementPart, OperationsPart, ServicesPart):
    """A whole node: all parts of `node/parts`, over the same data directory.

    Code that works for a remote user takes a Protocol with only the parts that the user may reach, never a whole node.
    """


def prepared_node(option: str | None) -> "PreparedNode | None":
    """The record of a node that was prepared and has not joined its cluster; None if the directory has no such record.

    Raises:
        PermissionDeniedError: The directory may not be entered.
    """
    from strongroom.joining import prepared

    root = data_dir(option)
    paths = DataPaths(root)
    with entering(root), suppress(FileNotFoundError, NotADirectoryError):
        paths.owner()
    return prepared.find(paths)


@contextmanager
def entering(root: Path) -> Iterator[None]:
    """Put the system's refusal to enter a data directory, met in the block, into words.

    Raises:
        PermissionDeniedError: The directory may not be entered.
    """
    try:
        yield
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{root} may not be entered by {local_actor()}",
            hint="run this as the directory's owner",
        ) from error


def open_node(option: str | None) -> "Node":
    """The node whose data directory is named.

    Raises:
        UpgradeNeededError: The node is of an older format, or its upgrade was interrupted.
        NotFoundError: There is no node.
        PermissionDeniedError: The directory belongs to another user (local authority).
    """
    paths = enter(option)
    _check_format(paths)
    return Node(paths, SystemClock())


def enter(option: str | None) -> DataPaths:
    """The paths of the node whose data directory is named, of whatever format it is.

    Raises:
        NotFoundError: There is no node.
        PermissionDeniedError: The directory belongs to another user (local authority).
    """
    root = data_dir(option)
    paths = DataPaths(root)
    try:
        with entering(root):
            owner = paths.owner()
    except FileNotFoundError as error:
        _check_joined(option, root)
        hint = (
            f"create one with 'strongroom init', or name another with --data-dir or {HOME_VARIABLE}"
        )
        raise NotFoundError(f"there is no node in {root}", hint=hint) from error
    except NotADirectoryError as error:
        raise NotFoundError(
            f"there is no node in {root}: what is in it is no node's", hint="name another folder"
        ) from error
    if os.geteuid() != owner:
        # root too: the files that it would leave there could not be used by the node's own processes
        raise PermissionDeniedError(
            f"{root} belongs to the user {os_users.user_name(owner)}, and this runs as {local_actor()}",
            hint=f"run this as the directory's owner: {os_users.as_user(owner)} ...",
        )
    _check_joined(option, root)
    return paths._replace(node_id=_node_id(paths))


def _check_joined(option: str | None, root: Path) -> None:
    """Refuse a node that was prepared and has not joined its cluster.

    Raises:
        StateError: The directory has the record of such a node.
    """
    if not (DataPaths(root).tabsvc / "prepared.json").exists():
        return
    waiting = prepared_node(option)
    if waiting is not None:
        raise StateError(f"the node in {root} is {waiting.describe()}")


def _node_id(paths: DataPaths) -> str:
    """The id of the node in a directory: a further one has keys of its own, which name it.

    Raises:
        FormatError: The file of its keys is damaged.
        StorageError: The file of its keys cannot be read.
    """
    if not paths.node_keys.exists():
        # the first node of an installation, until it is one of a cluster
        return paths.node_id
    from strongroom.joining import own_keys

    return own_keys.read(paths).node_id


def _check_format(paths: DataPaths) -> None:
    """Refuse a node of an older format: the first file of configuration-key records that can be read says it.

    Raises:
        UpgradeNeededError: The node is of an older format, or its upgrade was interrupted.
    """
    from strongroom.configuration_keys import generations, record_files, records
    from strongroom.runtime.processes import SERVICES

    files = [paths.keystores(service) / record_files.FILE_NAME for service in SERVICES]
    for path in (*files, paths.recovery_records):
        # a file that cannot be read is told by the command that needs the keys
        with suppress(KeystoreError):
            if generations.is_older(guarded_files.read(path, records.MAX_BYTES)):
                raise UpgradeNeededError(
                    f"the node in {paths.root} is of an older format, which this release only upgrades",
                    hint="see 'strongroom upgrade --dry-run', then run 'strongroom upgrade'",
                )
            return


def verify_log_copy(path: Path, *kept: "Checkpoint", progress: "Progress") -> "Report":
    """Verify a copy of some node's event log; nothing is changed."""
    from strongroom.eventlog import copies

    return copies.verify(path, *kept, progress=progress)
