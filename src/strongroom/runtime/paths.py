"""The paths of a node's files below its data directory (docs/architecture.md, Places on disk)."""

from pathlib import Path
from typing import NamedTuple

from strongroom.system import version


class DataPaths(NamedTuple):
    """The paths of one node.

    Attributes:
        root: The data directory.
        node_id: Id of the node, such as `node1`.
    """

    root: Path
    node_id: str = "node1"

    def owner(self) -> int:
        """User id of the owner of the node, the only user who may work on it: the owner of a folder that the node created.

        Raises:
            FileNotFoundError: The data directory has no node.
            PermissionError: The data directory may not be entered.
        """
        return self.coordination.parent.stat().st_uid

    def is_made(self) -> bool:
        """Whether the data directory has a node's folder, or something else of its name.

        Raises:
            PermissionError: The data directory may not be entered.
        """
        try:
            self.tabsvc.lstat()  # Path.exists() of Python 3.14 says no where it may not look
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    @property
    def tabsvc(self) -> Path:
        """The folder of all services' files."""
        return self.root / "tabsvc"

    @property
    def config(self) -> Path:
        """The folder with a subfolder for each service (C-09)."""
        return self.tabsvc / "config"

    def service_config(self, service: str, number: int = 0) -> Path:
        """`<service>_<n>.<version>`: the YAML files and the keystore replica of one service (C-09).

        The version is that of the layout of data directories: a node keeps its folders through releases.
        """
        return self.config / f"{service}_{number}.{version.FOLDER_VERSION}"

    def keystores(self, service: str, number: int = 0) -> Path:
        """The folder of a service's keystore replica (C-09)."""
        return self.service_config(service, number) / "tabsvc" / "keystores"

    @property
    def keystore_password(self) -> Path:
        """The file with the keystore's password: 256 random bits, a file of its own."""
        return self.tabsvc / "keystore" / "password"

    @property
    def recovery_records(self) -> Path:
        """The copy of the configuration keys that are wrapped for recovery recipients, apart from the keystore's folders."""
        return self.tabsvc / "recovery" / "configuration_keys.json"

    @property
    def coordination(self) -> Path:
        """The embedded coordination service's database."""
        return self.tabsvc / "coordination" / "coordination.db"

    @property
    def locks(self) -> Path:
        """Lock files of the node."""
        return self.tabsvc / "coordination" / "locks"

    @property
    def repository(self) -> Path:
        """The repository's database."""
        return self.tabsvc / "repository" / "repository.db"

    @property
    def workflows(self) -> Path:
        """The backgrounder's workflow database."""
        return self.workflows_of(0)

    def workflows_of(self, place: int) -> Path:
        """The database of the job engine of one of the node's backgrounders, which count from 0."""
        return self.tabsvc / "repository" / (f"workflows_{place}.db" if place else "workflows.db")

    @property
    def services(self) -> Path:
        """The file that says where the services of a node in a cluster are; a single node has none."""
        return self.tabsvc / "addresses.json"

    @property
    def node_keys(self) -> Path:
        """The file with the node's own keys; a node that was never in a cluster, and never prepared for one, has none."""
        return self.tabsvc / "node.json"

    @property
    def witnessed(self) -> Path:
        """The file with the heads of other nodes' event logs that this node has witnessed; a single node has none."""
        return self.tabsvc / "witnessed.json"

    @property
    def certificate(self) -> Path:
        """The file with the certificate that the node shows to others, and its key."""
        return self.tabsvc / "certificate.json"

    def authority(self, service: str) -> Path:
        """The file with the authority of `zookeeper` or `postgres` that a bootstrap file brought; not on the first node."""
        return self.tabsvc / "authorities" / f"{service}.pem"

    @property
    def certificate_request(self) -> Path:
        """The file with the key and the request of the first certificate; there only until the installation answers."""
        return self.tabsvc / "certificate-request.json"

    @property
    def zookeeper_certificate(self) -> Path:
        """The node's own certificate and key in PEM, for ZooKeeper; there only if no other was given to it."""
        return self.tabsvc / "zookeeper-client.pem"

    @property
    def known_nodes(self) -> Path:
        """The file with the public keys of the other nodes, by which a node that was off knows who gives it new keys."""
        return self.tabsvc / "known_nodes.json"

    @property
    def enabling(self) -> Path:
        """The journal of the move of a single node into a cluster; there only until the move is done."""
        return self.tabsvc / "enabling.json"

    @property
    def extracts(self) -> Path:
        """The file store."""
        return self.tabsvc / "extracts"

    @property
    def backups(self) -> Path:
        """Backups (`basefilepath.backuprestore`)."""
        return self.tabsvc / "files" / "backups"

    @property
    def logs(self) -> Path:
        """Service logs: `<service>_<node>-<n>.log`."""
        return self.tabsvc / "logs"

    def service_log(self, service: str, number: int = 0) -> Path:
        """The log of one service (A-16, A-17), as the process in one place of the node writes it."""
        return self.logs / f"{service}_{self.node_id}-{number}.log"

    @property
    def events(self) -> Path:
        """The event log of this node."""
        return self.tabsvc / "events" / f"{self.node_id}.jsonl"
