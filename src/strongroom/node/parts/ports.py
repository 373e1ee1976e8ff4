"""The base of every part of a node: its data directory, its clock, and its stores."""

import os
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom import ids
from strongroom.node.environment import installation_file_modes, local_actor
from strongroom.system import durable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from strongroom.clock import Clock
    from strongroom.configuration_keys.authority import RecordsAuthority
    from strongroom.coordination.anchoring import Anchoring
    from strongroom.coordination.base import EntryStore
    from strongroom.coordination.board import Board
    from strongroom.coordination.entries import EntryKeys
    from strongroom.coordination.proved import ProvedCoordinator
    from strongroom.filestore.base import NodeFiles, PinningStore
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.node.outside import OutsideServices
    from strongroom.objectstore.base import Bucket
    from strongroom.repository.marks_alone import Marks
    from strongroom.repository.unit_of_work import Repository, Transaction
    from strongroom.repository.workflow_database import WorkflowDatabase
    from strongroom.runtime.paths import DataPaths


class Ports:
    """The stores of a node, each opened at its first use."""

    def __init__(self, paths: "DataPaths", clock: "Clock") -> None:
        self.paths = paths
        self.clock = clock
        self._closing = ExitStack()

    #: The place of this process among those that work on the node's jobs; set before the repository is used.
    place = 0

    @cached_property
    def boot_id(self) -> str:
        """The id of this process; another process of the node has another one."""
        return ids.new_id()

    @cached_property
    def file_modes(self) -> durable.FileModes:
        """Modes and group of new folders and files (C-10)."""
        return installation_file_modes()

    @cached_property
    def outside(self) -> "OutsideServices | None":
        """The services of a node in a cluster; None for a single node, whose services are embedded.

        Raises:
            FormatError: The file of services is damaged, or of a version that is not known here.
            StateError: The file cannot be used.
        """
        try:
            self.paths.services.lstat()
        except FileNotFoundError:
            # a single node imports nothing for what it has not
            return None
        from strongroom.cluster import services_file
        from strongroom.node.outside import OutsideServices

        file = services_file.find(self.paths.services)
        if file is None:
            return None
        return OutsideServices(self.paths, file, self.authority.open_local, self._holder)

    @property
    def _holder(self) -> str:
        """This process, in words for whoever waits for a lock of its."""
        return f"{local_actor()}, process {os.getpid()}"

    @cached_property
    def repository(self) -> "Repository":
        """The repository: sites, users, content, jobs."""
        from strongroom.repository import engine
        from strongroom.repository.rows import Owner
        from strongroom.repository.unit_of_work import Repository, Shared

        owner = Owner.in_place(self.paths.node_id, self.boot_id, self.place)
        if self.outside is not None:
            shared = Shared(self._before_upgrade, self._epochs)
            opened = self.outside.repository(self._before_commit, owner, shared)
            self._closing.callback(opened.close)
            return opened
        url = engine.sqlite_url(self.paths.repository)
        repository = Repository(url, self.file_modes, self._before_commit, owner=owner)
        self._closing.callback(repository.close)
        return repository

    @cached_property
    def marks(self) -> "Marks":
        """The marks of the repository, each by itself: whoever needs no more of SQLite does not import SQLAlchemy."""
        if self.outside is not None:
            from strongroom.repository.shared_marks import SharedMarks

            return SharedMarks(self.repository)
        from strongroom.repository.marks_alone import FileMarks

        return FileMarks(self.paths.repository)

    @property
    def workflows(self) -> "Path | WorkflowDatabase":
        """The database of the job engine: a file, or a schema of PostgreSQL."""
        return (
            self.paths.workflows_of(self.place)
            if self.outside is None
            else self.outside.workflows()
        )

    def _before_commit(self, tx: "Transaction") -> None:
        """Called in each transaction of the repository that may write, at its end."""

    def _before_upgrade(self) -> None:
        """Called before the tables of older software are brought up to date; raises where others work by them."""

    def _epochs(self) -> "Mapping[str, int]":
        """The locks of the cluster under which the calling thread works; whoever has none yet opens no ZooKeeper."""
        return self.entry_store.epochs() if "entry_store" in self.__dict__ else {}

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
    def entry_store(self) -> "EntryStore":
        """The store behind the coordination service, whose bytes nobody has proved; `create_coordinator` made it."""
        store = self._entry_store()
        self._closing.callback(store.close)
        return store

    def _entry_store(self) -> "EntryStore":
        if self.outside is not None:
            return self.outside.coordinator(self.boot_id)
        from strongroom.coordination.local import LocalCoordinator

        return LocalCoordinator(
            self.paths.coordination,
            self.paths.locks,
            node_id=self.paths.node_id,
            holder=self._holder,
        )

    @property
    def board(self) -> "Board | None":
        """The board of the cluster's nodes; None for a single node."""
        return self.entry_store.board

    @cached_property
    def authority(self) -> "RecordsAuthority":
        """Knows the keys of entries by keystore and configuration-key records."""
        from strongroom.configuration_keys.authority import RecordsAuthority

        return RecordsAuthority(self.keystore, self.coming_master_key)

    @cached_property
    def coordinator(self) -> "ProvedCoordinator":
        """The coordination service: every entry is proved when it is loaded, and authenticated when it is put."""
        from strongroom.coordination.proved import ProvedCoordinator

        return ProvedCoordinator(
            self.entry_store,
            self.authority,
            lambda: self.anchoring,
            is_shared=self.outside is not None,
        )

    @cached_property
    def anchoring(self) -> "Anchoring | None":
        """The maker of the anchor at each put; a part that knows of what an anchor speaks gives one."""
        return None

    def claimed_installation(self) -> str:
        """The installation that the entries claim to be of: a recovery looks for its keys by that.

        Raises:
            StateError: There is no configuration.
        """
        from strongroom.config import versions
        from strongroom.coordination import proving

        found = proving.unproved(self.entry_store, versions.CURRENT)
        if found is None:
            raise versions.missing()
        return found.installation_id

    def coming_master_key(self, keys: "EntryKeys") -> str:
        """The newest master key, if something explains that the records are not under it; else empty."""
        from strongroom.coordination.proving import ProvingLoader
        from strongroom.services.keys import regeneration

        entries = ProvingLoader(self.entry_store, keys)
        return self.keystore.load().newest if regeneration.explains_newer(entries, keys) else ""

    def announced(self) -> "AbstractContextManager[None]":
        """Be seen by the other nodes of a cluster until the end of the block; one process of a node at a time.

        Raises:
            ConflictError: Another process is seen under this node's id, on this machine or on another.
            CoordinationError: The coordination service cannot be written.
        """
        return self.coordinator.alive()

    def create_coordinator(self) -> None:
        """Create the empty coordination database; an existing one stays as it is."""
        from strongroom.coordination.local import LocalCoordinator

        # made here first, so that the folder gets this mode
        durable.make_folder(self.paths.tabsvc, self.file_modes)
        LocalCoordinator.create(self.paths.coordination, self.paths.locks)

    @cached_property
    def files(self) -> "NodeFiles":
        """The file store of this node: its disk, or the object store that all nodes share.

        Raises:
            StateError: The files are being moved from one to the other.
        """
        return self.file_store(self.files_place)

    @cached_property
    def files_place(self) -> str:
        """The address of `files`.

        Raises:
            StateError: The files are being moved from one to the other.
        """
        from strongroom.extracts import place

        return place.in_force(self.coordinator)

    @property
    def shares_files(self) -> bool:
        """Whether all nodes use one file store; else each has the files on its own disk.

        Raises:
            StateError: The files are being moved from one to the other.
        """
        from strongroom.extracts import place

        return place.in_force(self.coordinator) != place.DISK

    def file_store(self, address: str) -> "NodeFiles":
        """The store of an address.

        Raises:
            UsageError: The text is no address.
        """
        from strongroom.extracts import place

        if address == place.DISK:
            from strongroom.filestore.local import LocalFileStore

            return LocalFileStore(self.paths.extracts, self.file_modes)
        return self.object_store(address)

    def object_store(self, address: str) -> "PinningStore":
        """The object store of an address.

        Raises:
            UsageError: The text is no address.
        """
        from strongroom.objectstore.store import ObjectFileStore

        store = ObjectFileStore(self.bucket(address), self.paths.node_id)
        self._closing.callback(store.close)
        return store

    def bucket(self, address: str) -> "Bucket":
        """The objects of an address.

        Raises:
            UsageError: The text is no address.
        """
        from strongroom.objectstore import registry

        return registry.bucket(registry.parse(address))

    def remove_unfinished(self) -> int:
        """Remove the stored files that dead processes had not made visible; returns how many went."""
        return self.files.remove_leftovers()

    def sweep_files(self) -> int:
        """Remove what nobody needs any longer from the file store, while processes work; returns how many files went."""
        return self.files.sweep()

    def close(self) -> None:
        """Close the stores that were opened."""
        self._closing.close()
