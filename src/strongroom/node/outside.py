"""Opens the services of a node in a cluster, ZooKeeper and PostgreSQL, as the node's file of services names them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cluster import services_file
from strongroom.cluster.services_file import Services, ServicesFile
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import ZookeeperSettings
from strongroom.crypto.secret import SecretBytes
from strongroom.repository import postgres_address
from strongroom.repository.rows import Owner
from strongroom.repository.unit_of_work import BeforeCommit, Repository
from strongroom.repository.workflow_schema import WorkflowSchema
from strongroom.runtime.paths import DataPaths
from strongroom.secrets.committed import ValueKey
from strongroom.system.durable import FileModes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.joining.welcome import Welcome
    from strongroom.system.findings import Finding

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
        self.file = file
        self._paths = paths
        self._open_key = open_key
        self._holder = holder
        self._passwords: dict[str, SecretBytes] = {}

    def coordinator(self) -> ZookeeperCoordinator:
        """The coordination service."""
        return zookeeper(self.zookeeper_settings())

    def zookeeper_settings(self) -> ZookeeperSettings:
        """The settings by which ZooKeeper is reached."""
        password = self._password(services_file.ZOOKEEPER)
        return zookeeper_settings(self.file.services, password, self._paths, self._holder)

    def repository(self, before_commit: BeforeCommit, owner: Owner) -> Repository:
        """The repository."""
        return Repository(
            postgres_address.stored_url(self.file.services.postgres),
            before_commit=before_commit,
            password=self.postgres_password,
            owner=owner,
        )

    def workflows(self) -> WorkflowSchema:
        """The database of the job engine."""
        url = postgres_address.stored_url(self.file.services.postgres)
        return WorkflowSchema(url, self.postgres_password)

    def postgres_password(self) -> SecretBytes:
        """The password for PostgreSQL."""
        return self._password(services_file.POSTGRES)

    def probe(self) -> "Iterator[Finding]":
        """Try every link to both; one finding after the other."""
        settings, password = self.zookeeper_settings(), self.postgres_password()
        yield from probe(self.file.services, settings, password)

    def welcome(self) -> "Welcome":
        """Addresses and passwords for another node that is to reach the same services; the paths are those of this node."""
        from strongroom.joining.welcome import Welcome

        services = self.file.services
        passwords = {name: self._password(name) for name in self.file.secrets}
        return Welcome(services.zookeeper._asdict(), services.postgres, passwords)

    def key_ids(self) -> frozenset[str]:
        """The ids of the configuration keys that the passwords need, by the file as it is now (services-file.md 2.4)."""
        present = services_file.find(self._paths.services)
        return self.file.key_ids if present is None else present.key_ids

    def reseal(self, key_id: str, file_modes: FileModes) -> tuple[str, ...]:
        """Seal the passwords under another configuration key; returns their names, none if that was done already.

        Raises:
            StorageError: The file cannot be written.
        """
        if self.key_ids() == {key_id}:
            return ()
        key = ValueKey(self.file.services.installation_id, key_id, self._open_key(key_id))
        self.file = self.file.resealed(key, self._open_key)
        services_file.write(self._paths.services, self.file, file_modes)
        return tuple(f"services.{name}" for name in self.file.secrets)

    def _password(self, name: str) -> SecretBytes:
        # kept, since each of many connections asks, and a keystore is slow to open
        if name not in self._passwords:
            self._passwords[name] = self.file.password(name, self._open_key)
        return self._passwords[name]


def probe(
    services: Services, settings: ZookeeperSettings, password: SecretBytes
) -> "Iterator[Finding]":
    """Try every link to the services of a cluster; one finding after the other.

    Args:
        services: The addresses.
        settings: The settings by which ZooKeeper is reached.
        password: The password for PostgreSQL.
    """
    from strongroom.coordination.zookeeper import probing as of_zookeeper
    from strongroom.repository import probing as of_postgres

    yield from of_zookeeper.probe(settings, time.time)
    yield from of_postgres.probe(services.postgres, lambda: password, of_zookeeper.clock, time.time)


def zookeeper(settings: ZookeeperSettings) -> ZookeeperCoordinator:
    """The coordination service of these settings; nothing is sent before its first use."""
    return ZookeeperCoordinator(settings)


def zookeeper_settings(
    services: Services, password: SecretBytes, paths: DataPaths, holder: str
) -> ZookeeperSettings:
    """The settings by which ZooKeeper is reached.

    Raises:
        UsageError: The hosts or the root are malformed.
    """
    place = services.zookeeper
    return ZookeeperSettings(
        hosts=place.hosts,
        ca_file=Path(place.ca),
        certificate_file=Path(place.certificate),
        root=place.root,
        password=password,
        node_id=paths.node_id,
        holder=holder,
        locks_dir=paths.locks,
        user=place.user,
    )
