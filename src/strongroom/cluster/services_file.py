"""The file that says where the services of a node in a cluster are (docs/format/services-file.md).

A node without this file is a single one, whose services are embedded. The passwords for ZooKeeper and PostgreSQL lie in
it, sealed under a configuration key, since the configuration itself lies behind them. Each seal is bound to all of the
addresses: whoever changes one of these gets no password sent to a server of his own.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, Kind
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError, StateError
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey
from strongroom.system import durable, guarded_files

VERSION = 1
MAX_BYTES = 64 << 10
KIND = Kind(
    "the file of services",
    ASCII,
    MAX_BYTES,
    hint="put addresses.json back from a copy of the data directory",
)
ZOOKEEPER, POSTGRES = "zookeeper", "postgres"
_MEMBERS = ("installation_id", POSTGRES, "run", "secrets", "v", ZOOKEEPER)
_ZOOKEEPER_MEMBERS = ("ca", "certificate", "hosts", "root", "user")


class ZookeeperPlace(NamedTuple):
    """Where ZooKeeper is.

    Attributes:
        hosts: `name:port,name:port`, the names as in the servers' certificates.
        root: The node of ZooKeeper below which the installation's tree lies.
        user: The digest user that owns the tree.
        ca: Path of the authority of the servers' certificates.
        certificate: Path of this node's certificate and its key.
    """

    hosts: str
    root: str
    user: str
    ca: str
    certificate: str


class Services(NamedTuple):
    """Where the services of a node are.

    Attributes:
        installation_id: The installation.
        run: The id of the move that brought the node into its cluster.
        zookeeper: The place of the coordination service.
        postgres: The parameters of libpq by which the repository is reached, without a password.
    """

    installation_id: str
    run: str
    zookeeper: ZookeeperPlace
    postgres: Mapping[str, str]

    def parameter(self, name: str) -> str:
        """The name under which a password is sealed: whose it is, and the digest of all addresses (2.2)."""
        digest = hashlib.sha256(KIND.dumps(self.fields())).hexdigest()
        return f"services.{name} {digest}"

    def fields(self) -> dict[str, object]:
        """The members of the document but the secrets."""
        return {
            "installation_id": self.installation_id,
            POSTGRES: dict(self.postgres),
            "run": self.run,
            "v": VERSION,
            ZOOKEEPER: self.zookeeper._asdict(),
        }


class ServicesFile(NamedTuple):
    """The document of the file.

    Attributes:
        services: The addresses.
        secrets: The sealed passwords, by `zookeeper` and `postgres`.
    """

    services: Services
    secrets: Mapping[str, str]

    def password(self, name: str, open_key: Callable[[str], SecretBytes]) -> SecretBytes:
        """The password for one of the services.

        Args:
            name: `ZOOKEEPER` or `POSTGRES`.
            open_key: Opens a configuration key of this node by its id.

        Raises:
            StateError: The password was sealed for other addresses, or was changed.
            KeystoreError: The keystore of this node does not open the key.
        """
        services = self.services
        parameter, text = services.parameter(name), self.secrets[name]
        try:
            return SecretBytes(
                committed.open_text(services.installation_id, open_key, parameter, text)
            )
        except IntegrityError as error:
            raise StateError(
                f"the password for {name} in the file of services is for other addresses, or was changed",
                hint="the file was changed by hand: put addresses.json back from a copy of the data directory",
            ) from error

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the configuration keys that open the passwords."""
        return frozenset(map(committed.key_id_of, self.secrets.values()))

    def resealed(self, key: ValueKey, open_key: Callable[[str], SecretBytes]) -> "ServicesFile":
        """The same with its passwords under another configuration key."""
        return sealed(
            self.services, key, {name: self.password(name, open_key) for name in self.secrets}
        )

    def serialize(self) -> bytes:
        """The canonical bytes (1.1)."""
        return KIND.dumps({**self.services.fields(), "secrets": dict(self.secrets)})


def sealed(services: Services, key: ValueKey, passwords: Mapping[str, SecretBytes]) -> ServicesFile:
    """The document of addresses and passwords.

    Args:
        services: The addresses.
        key: The active configuration key.
        passwords: The passwords by `ZOOKEEPER` and `POSTGRES`.
    """
    secrets = {
        name: key.seal(services.parameter(name), passwords[name].reveal())
        for name in (POSTGRES, ZOOKEEPER)
    }
    return ServicesFile(services, secrets)


def parse(data: bytes) -> ServicesFile:
    """The document of its bytes.

    Raises:
        FormatError: The bytes are none, or of a version that is not known here.
    """
    fields = KIND.loads(data)
    fields.check_version("v", VERSION)
    fields.check_names(_MEMBERS)
    secrets = fields.text_map("secrets")
    if secrets.keys() != {POSTGRES, ZOOKEEPER}:
        raise fields.refused("it has not just the two passwords")
    services = Services(
        fields.id("installation_id"),
        fields.id("run"),
        _zookeeper(fields.inner(ZOOKEEPER)),
        fields.text_map(POSTGRES),
    )
    return ServicesFile(services, secrets)


def find(path: Path) -> ServicesFile | None:
    """The file of a node; None for a single node, which has none.

    Raises:
        FormatError: The file is damaged, or of a version that is not known here.
        StateError: The file cannot be read, or other users may change it.
    """
    try:
        return parse(guarded_files.read(path, MAX_BYTES))
    except guarded_files.MissingFileError:
        return None
    except KeystoreError as error:
        raise StateError(
            f"this node is one of a cluster, and the file that says where its services are cannot be used:"
            f" {error.message}",
            hint="the file belongs to the owner of the data directory, with mode 600",
        ) from error


def write(path: Path, file: ServicesFile, file_modes: durable.FileModes) -> None:
    """Write the file, synced and by a rename: from then on the node is one of a cluster.

    Raises:
        StorageError: The disk refuses.
    """
    durable.write_file(path, file.serialize(), file_modes)


def _zookeeper(fields: Fields) -> ZookeeperPlace:
    fields.check_names(_ZOOKEEPER_MEMBERS)
    return ZookeeperPlace(**{name: fields.text(name) for name in _ZOOKEEPER_MEMBERS})
