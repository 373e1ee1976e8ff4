"""The base of every part of a node: its data directory, its clock, and its stores."""

import os
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.environment import installation_file_modes, local_actor
from strongroom.system import durable

if TYPE_CHECKING:
    from strongroom.clock import Clock
    from strongroom.coordination.local import LocalCoordinator
    from strongroom.filestore.local import LocalFileStore
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.repository.unit_of_work import Repository
    from strongroom.runtime.paths import DataPaths


class Ports:
    """The stores of a node, each opened at its first use."""

    def __init__(self, paths: "DataPaths", clock: "Clock") -> None:
        self.paths = paths
        self.clock = clock
        self._closing = ExitStack()

    @cached_property
    def file_modes(self) -> durable.FileModes:
        """Modes and group of new folders and files (C-10)."""
        return installation_file_modes()

    @cached_property
    def repository(self) -> "Repository":
        """The repository: sites, users, content, jobs."""
        from strongroom.repository import engine
        from strongroom.repository.unit_of_work import Repository

        repository = Repository(engine.sqlite_url(self.paths.repository), self.file_modes)
        self._closing.callback(repository.close)
        return repository

    def ensure_schema(self) -> None:
        """Bring the repository's tables to what this version writes."""
        self.repository.ensure_schema()

    @cached_property
    def keystore(self) -> "KeystoreDirectory":
        """The keystore replicas of this node's services."""
        from strongroom.keystore.replicas import KeystoreDirectory
        from strongroom.runtime.processes import SERVICES

        folders = [self.paths.keystores(service) for service in SERVICES]
        return KeystoreDirectory(folders, self.paths.keystore_password, self.file_modes, self.clock)

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
        """Create the empty coordination database; an existing one stays as it is."""
        from strongroom.coordination.local import LocalCoordinator

        # made here first, so that the folder gets this mode
        durable.make_folder(self.paths.tabsvc, self.file_modes)
        LocalCoordinator.create(self.paths.coordination, self.paths.locks)

    @cached_property
    def files(self) -> "LocalFileStore":
        """The file store of this node."""
        from strongroom.filestore.local import LocalFileStore

        return LocalFileStore(self.paths.extracts, self.file_modes)

    def remove_unfinished(self) -> int:
        """Remove the stored files that dead processes had not made visible; returns how many went."""
        return len(self.files.remove_leftovers())

    def close(self) -> None:
        """Close the stores that were opened."""
        self._closing.close()
