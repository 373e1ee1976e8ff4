"""The composition root: reads environment and data directory, picks providers, hands out services.

Everything is built at first use, and imported there: `tsm configuration get` must not pay for the repository.
"""

import grp
import os
import pwd
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import durable
from strongroom.clock import Clock, SystemClock
from strongroom.errors import NotFoundError, PermissionDeniedError
from strongroom.topology.paths import DataPaths

if TYPE_CHECKING:
    from strongroom.coordination.local import LocalCoordinator
    from strongroom.eventlog.jsonl import JsonlEventLog
    from strongroom.keystore.configuration_key import ConfigurationKeys
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.repository.unit_of_work import Repository
    from strongroom.services.configuration import ConfigurationService

HOME_VARIABLE = "STRONGROOM_HOME"
_ROOT_HOME = Path("/var/opt/strongroom")
_GROUP = "strongroom"


def data_dir(option: str | None) -> Path:
    """The data directory: `--data-dir`, else `STRONGROOM_HOME`, else root's place or the user's own."""
    named = option or os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return _ROOT_HOME
    shared = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(shared) / "strongroom"


def local_actor() -> str:
    """The operating-system user who runs this process, as the actor of events."""
    try:
        return f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"os:{os.getuid()}"


def installation_access() -> durable.Access:
    """Modes and group of new folders and files (C-10): root shares with the group `strongroom`."""
    if os.geteuid() != 0:
        return durable.PRIVATE
    try:
        return durable.shared_with(grp.getgrnam(_GROUP).gr_gid)
    except KeyError:
        return durable.PRIVATE


def open_node(option: str | None) -> "Node":
    """The node whose data directory is named.

    Raises:
        NotFoundError: There is no node.
        PermissionDeniedError: The directory belongs to somebody else (local authority).
    """
    root = data_dir(option)
    paths = DataPaths(root)
    try:
        owner = paths.coordination.parent.stat().st_uid
    except FileNotFoundError as error:
        hint = (
            f"create one with 'strongroom init', or name another with --data-dir or {HOME_VARIABLE}"
        )
        raise NotFoundError(f"there is no node in {root}", hint=hint) from error
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{root} may not be entered by {local_actor()}",
            hint="run this as the directory's owner",
        ) from error
    if os.geteuid() not in {0, owner}:
        raise PermissionDeniedError(
            f"{root} belongs to another user", hint="run this as the directory's owner"
        )
    return Node(paths, SystemClock())


class Node:
    """One node's ports and services."""

    def __init__(self, paths: DataPaths, clock: Clock) -> None:
        self.paths = paths
        self.clock = clock
        self._closing = ExitStack()

    @cached_property
    def repository(self) -> "Repository":
        """The repository: sites, users, content, jobs."""
        from strongroom.repository import engine
        from strongroom.repository.unit_of_work import Repository

        repository = Repository(engine.sqlite_url(self.paths.repository))
        self._closing.callback(repository.close)
        return repository

    @cached_property
    def access(self) -> durable.Access:
        """Modes and group of new folders and files (C-10)."""
        return installation_access()

    @cached_property
    def events(self) -> "JsonlEventLog":
        """The event log of this node."""
        from strongroom.eventlog.jsonl import JsonlEventLog

        return JsonlEventLog(self.paths.events, self.paths.node_id, self.clock, self.access)

    @cached_property
    def keystore(self) -> "KeystoreDirectory":
        """The keystore replicas of this node's services."""
        from strongroom.keystore.replicas import KeystoreDirectory
        from strongroom.topology.processes import SERVICES

        folders = [self.paths.keystores(service) for service in SERVICES]
        return KeystoreDirectory(folders, self.paths.keystore_password, self.access)

    @cached_property
    def coordinator(self) -> "LocalCoordinator":
        """The coordination service; `create_coordinator` made it."""
        from strongroom.coordination.local import LocalCoordinator

        coordinator = LocalCoordinator(
            self.paths.coordination,
            self.paths.locks,
            node_id=self.paths.node_id,
            holder=f"{local_actor()}, process {os.getpid()}",
        )
        self._closing.callback(coordinator.close)
        return coordinator

    def create_coordinator(self) -> None:
        """Make the empty coordination database; keeps one that is there."""
        from strongroom.coordination.local import LocalCoordinator

        LocalCoordinator.create(self.paths.coordination, self.paths.locks)

    def open_configuration_keys(self, installation_id: str) -> "ConfigurationKeys":
        """The configuration keys, opened by the keystore as it is now."""
        from strongroom.keystore.configuration_key import ConfigurationKeys

        return ConfigurationKeys(self.keystore, self.keystore.load(), installation_id)

    @cached_property
    def configuration(self) -> "ConfigurationService":
        """Configuration keys, pending changes, secrets."""
        from strongroom.services.configuration import ConfigurationService
        from strongroom.topology.processes import SERVICES

        return ConfigurationService(
            self.coordinator,
            self.open_configuration_keys,
            self.events,
            [self.paths.service_config(service) for service in SERVICES],
            self.access,
        )

    def close(self) -> None:
        """Close what was opened."""
        self._closing.close()
