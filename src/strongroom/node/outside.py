"""Opens the services of a node in a cluster, ZooKeeper and PostgreSQL, as the node's file of services names them."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.cluster import services_file
from strongroom.cluster.services_file import Passwords, Services, ServicesFile
from strongroom.coordination.kernel_locks import KernelLocks
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import Credentials, ZookeeperSettings
from strongroom.coordination.zookeeper.tree_user import TreeUser
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.repository import postgres_address
from strongroom.repository.rows import Owner
from strongroom.repository.unit_of_work import BeforeCommit, Repository, Shared
from strongroom.repository.workflow_schema import WorkflowSchema
from strongroom.runtime.paths import DataPaths
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey
from strongroom.system.durable import FileModes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.joining.welcome import Welcome
    from strongroom.system.findings import Finding

FILE_LOCK = "services-file"
FILE_LOCK_WAIT_S: Final = 10.0
OpenKey = Callable[[str], SecretBytes]


class OutsideServices:
    """The services of a node in a cluster. Each password is opened when it is first needed, by files of this node alone."""

    def __init__(
        self, paths: DataPaths, file: ServicesFile, open_key: OpenKey, holder: str
    ) -> None:
        """Keep what the file says; nothing is opened.

        Args:
            paths: The paths of the node.
            file: The node's file of services.
            open_key: Opens a configuration key by its id, without the coordination service.
            holder: This process, in words for whoever waits for a lock of its.
        """
        self._file = file
        self._seen = _state_of(paths.services)
        self._paths = paths
        self._open_key = open_key
        self._holder = holder
        self._opened: dict[str, SecretBytes] = {}

    @property
    def file(self) -> ServicesFile:
        """The file as it is now: it was read again if somebody replaced it (services-file.md 4.3).

        A file for other addresses is not looked at: this process stays with the services that it began with.
        """
        state = _state_of(self._paths.services)
        if state != self._seen:
            found = services_file.find(self._paths.services)
            if found is not None and found.services == self._file.services:
                self._file = found
            self._seen = state
        return self._file

    def coordinator(self, boot_id: str) -> ZookeeperCoordinator:
        """The coordination service.

        Args:
            boot_id: The id of this process.
        """
        return zookeeper(replace(self.zookeeper_settings(), boot_id=boot_id))

    def zookeeper_settings(self) -> ZookeeperSettings:
        """The settings by which ZooKeeper is reached."""
        return zookeeper_settings(
            self.file.services,
            self._paths,
            self._holder,
            lambda: self.passwords(services_file.ZOOKEEPER),
        )

    def repository(self, before_commit: BeforeCommit, owner: Owner, shared: Shared) -> Repository:
        """The repository."""
        return Repository(
            postgres_address.stored_url(self.file.services.postgres),
            before_commit=before_commit,
            shared=shared,
            passwords=self.postgres_passwords,
            owner=owner,
        )

    def workflows(self) -> WorkflowSchema:
        """The database of the job engine."""
        url = postgres_address.stored_url(self.file.services.postgres)
        return WorkflowSchema(url, self.postgres_passwords)

    def postgres_passwords(self) -> tuple[SecretBytes, ...]:
        """The passwords that PostgreSQL may take now."""
        return self.passwords(services_file.POSTGRES).all

    def tree_user(self) -> TreeUser:
        """The user who owns the tree in ZooKeeper."""
        return TreeUser(self.zookeeper_settings())

    def passwords(self, name: str) -> Passwords:
        """The passwords of a service as they are now.

        Raises:
            StateError: The file of services cannot be used.
            KeystoreError: The keystore of this node does not open the key of a password.
        """
        return self.file.passwords(name, self._open)

    def probe(self) -> "Iterator[Finding]":
        """Try every link to both; one finding after the other."""
        yield from probe(self.file.services, self.zookeeper_settings(), self.postgres_passwords)

    def welcome(self) -> "Welcome":
        """Addresses and passwords for another node that is to reach the same services; the paths are those of this node.

        Raises:
            StateError: A password is being changed: the new node could get the one that is about to be refused.
        """
        from strongroom.joining.welcome import Welcome

        services = self.file.services
        for name in self.file.secrets:
            if self.file.is_changing(name):
                raise StateError(
                    f"the password for {name} is being changed: a new node could get the old one",
                    hint=f"finish that first: 'strongroom cluster rotate-password {name}'",
                )
        passwords = {name: self.passwords(name).present for name in self.file.secrets}
        return Welcome(services.zookeeper._asdict(), services.postgres, passwords)

    def key_ids(self) -> frozenset[str]:
        """The ids of the configuration keys that the passwords need, by the file as it is now (services-file.md 2.4)."""
        return self.file.key_ids

    def changing(self) -> AbstractContextManager[int]:
        """Keep other processes from writing the file until the end of the block.

        Raises:
            ConflictError: Another process writes it, and does not end soon.
        """
        return KernelLocks(self._paths.locks, self._holder).hold(FILE_LOCK, FILE_LOCK_WAIT_S)

    def write(self, file: ServicesFile, file_modes: FileModes) -> None:
        """Write the file; within `changing`.

        Raises:
            StorageError: The file cannot be written.
        """
        services_file.write(self._paths.services, file, file_modes)

    def key_of(self, name: str) -> ValueKey:
        """The configuration key under which the password of a service is sealed; files of this node open it."""
        return self._key(committed.key_id_of(self.file.secrets[name]))

    def reseal(self, key_id: str, file_modes: FileModes) -> tuple[str, ...]:
        """Seal the passwords under another configuration key; returns their names, none if that was done already.

        Raises:
            ConflictError: A password is being changed.
            StorageError: The file cannot be written.
        """
        with self.changing():
            file = self.file
            if file.key_ids == {key_id}:
                return ()
            self.write(file.resealed(self._key(key_id), self._open_key), file_modes)
            return tuple(f"services.{name}" for name in file.secrets)

    def _key(self, key_id: str) -> ValueKey:
        return ValueKey(self.file.services.installation_id, key_id, self._open_key(key_id))

    def _open(self, name: str, text: str) -> SecretBytes:
        # kept, since each of many connections asks, and a keystore is slow to open
        if text not in self._opened:
            self._opened[text] = self._file.open(name, text, self._open_key)
        return self._opened[text]


def _state_of(path: Path) -> tuple[int, int, int]:
    """A value that differs after a file was replaced; also where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def probe(
    services: Services, settings: ZookeeperSettings, passwords: postgres_address.Passwords
) -> "Iterator[Finding]":
    """Try every link to the services of a cluster; one finding after the other.

    Args:
        services: The addresses.
        settings: The settings by which ZooKeeper is reached.
        passwords: Returns the passwords that PostgreSQL may take.
    """
    from strongroom.coordination.zookeeper import probing as of_zookeeper
    from strongroom.repository import probing as of_postgres

    yield from of_zookeeper.probe(settings, time.time)
    yield from of_postgres.probe(services.postgres, passwords, of_zookeeper.clock, time.time)


def zookeeper(settings: ZookeeperSettings) -> ZookeeperCoordinator:
    """The coordination service of these settings; nothing is sent before its first use."""
    return ZookeeperCoordinator(settings)


def zookeeper_settings(
    services: Services, paths: DataPaths, holder: str, passwords: Callable[[], Passwords]
) -> ZookeeperSettings:
    """The settings by which ZooKeeper is reached.

    Args:
        services: The addresses.
        paths: The paths of the node.
        holder: This process, in words for whoever waits for a lock of its.
        passwords: Returns the passwords as they are now.

    Raises:
        UsageError: The hosts or the root are malformed.
    """
    place = services.zookeeper

    def present() -> Credentials:
        found = passwords()
        return Credentials(found.valid, found.all)

    return ZookeeperSettings(
        hosts=place.hosts,
        ca_file=Path(place.ca),
        certificate_file=Path(place.certificate),
        root=place.root,
        credentials=present,
        node_id=paths.node_id,
        holder=holder,
        locks_dir=paths.locks,
        user=place.user,
    )
