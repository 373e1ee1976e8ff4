"""The file that says where the services of a node in a cluster are (docs/format/services-file.md).

A node without this file is a single one, whose services are embedded. The passwords for ZooKeeper and PostgreSQL lie in
it, sealed under a configuration key, since the configuration itself lies behind them. Each seal is bound to all of the
addresses: whoever changes one of these gets no password sent to a server of his own.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, Kind
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, KeystoreError, StateError
from strongroom.secrets import committed
from strongroom.secrets.committed import ValueKey
from strongroom.system import durable, guarded_files

VERSION = 2
_FIRST = 1
"""The version before a password could be changed; its number stays in what the seals are bound to."""
MAX_BYTES = 64 << 10
KIND = Kind(
    "the file of services",
    ASCII,
    MAX_BYTES,
    hint="put addresses.json back from a copy of the data directory",
)
ZOOKEEPER, POSTGRES = "zookeeper", "postgres"
SERVICES = (POSTGRES, ZOOKEEPER)
_MEMBERS = ("installation_id", POSTGRES, "run", "secrets", "v", ZOOKEEPER)
_CHANGING = ("former", "next")
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
        """The members to which the seals are bound: those of version 1, but the secrets (2.2)."""
        return {
            "installation_id": self.installation_id,
            POSTGRES: dict(self.postgres),
            "run": self.run,
            "v": _FIRST,
            ZOOKEEPER: self.zookeeper._asdict(),
        }


class Passwords(NamedTuple):
    """The passwords of one service: more than one while it is changed (4).

    Attributes:
        present: The password in force.
        next: The one whose change has begun; the service may take it already.
        former: The one that was in force before; the service may take it still.
    """

    present: SecretBytes
    next: SecretBytes | None = None
    former: SecretBytes | None = None

    @property
    def valid(self) -> tuple[SecretBytes, ...]:
        """The passwords that are to open the service from now on."""
        return (self.present,) if self.next is None else (self.present, self.next)

    @property
    def all(self) -> tuple[SecretBytes, ...]:
        """The passwords that the service may take now, the likeliest first."""
        return self.valid if self.former is None else (*self.valid, self.former)


class ServicesFile(NamedTuple):
    """The document of the file.

    Attributes:
        services: The addresses.
        secrets: The sealed passwords in force, by `zookeeper` and `postgres`.
        next: The sealed passwords whose change has begun, in the same way.
        former: The sealed passwords that were in force before, and are not withdrawn yet.
    """

    services: Services
    secrets: Mapping[str, str]
    next: Mapping[str, str] = MappingProxyType({})
    former: Mapping[str, str] = MappingProxyType({})

    def passwords(self, name: str, open_text: Callable[[str, str], SecretBytes]) -> Passwords:
        """The passwords of one of the services.

        Args:
            name: `ZOOKEEPER` or `POSTGRES`.
            open_text: Opens a sealed password by the service's name and the text, as `open` does.
        """

        def opened(texts: Mapping[str, str]) -> SecretBytes | None:
            return open_text(name, texts[name]) if name in texts else None

        present = open_text(name, self.secrets[name])
        return Passwords(present, opened(self.next), opened(self.former))

    def password(self, name: str, open_key: Callable[[str], SecretBytes]) -> SecretBytes:
        """The password in force for one of the services; raises as `open`."""
        return self.open(name, self.secrets[name], open_key)

    def open(self, name: str, text: str, open_key: Callable[[str], SecretBytes]) -> SecretBytes:
        """A sealed password for one of the services.

        Args:
            name: `ZOOKEEPER` or `POSTGRES`.
            text: The sealed password.
            open_key: Opens a configuration key of this node by its id.

        Raises:
            StateError: The password was sealed for other addresses, or was changed.
            KeystoreError: The keystore of this node does not open the key.
        """
        services = self.services
        try:
            return SecretBytes(
                committed.open_text(
                    services.installation_id, open_key, services.parameter(name), text
                )
            )
        except IntegrityError as error:
            raise StateError(
                f"the password for {name} in the file of services is for other addresses, or was changed",
                hint="the file was changed by hand: put addresses.json back from a copy of the data directory",
            ) from error

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the configuration keys that open the passwords."""
        texts = (*self.secrets.values(), *self.next.values(), *self.former.values())
        return frozenset(map(committed.key_id_of, texts))

    def is_changing(self, name: str) -> bool:
        """Whether a change of the service's password has begun, and is not done."""
        return name in self.next or name in self.former

    def begun(self, name: str, password: SecretBytes, key: ValueKey) -> "ServicesFile":
        """The same with a next password for a service."""
        text = key.seal(self.services.parameter(name), password.reveal())
        return self._replace(next={**self.next, name: text})

    def switched(self, name: str) -> "ServicesFile":
        """The same with the next password of a service in force, and the present one as the former."""
        return self._replace(
            secrets={**self.secrets, name: self.next[name]},
            next=_without(self.next, name),
            former={**self.former, name: self.secrets[name]},
        )

    def settled(self, name: str) -> "ServicesFile":
        """The same with no other password of a service than the one in force."""
        return self._replace(next=_without(self.next, name), former=_without(self.former, name))

    def replaced(self, name: str, password: SecretBytes, key: ValueKey) -> "ServicesFile":
        """The same with another password of a service in force, and no other."""
        text = key.seal(self.services.parameter(name), password.reveal())
        return self.settled(name)._replace(secrets={**self.secrets, name: text})

    def resealed(self, key: ValueKey, open_key: Callable[[str], SecretBytes]) -> "ServicesFile":
        """The same with its passwords under another configuration key."""

        def anew(texts: Mapping[str, str]) -> dict[str, str]:
            return {
                name: key.seal(
                    self.services.parameter(name), self.open(name, text, open_key).reveal()
                )
                for name, text in texts.items()
            }

        return ServicesFile(self.services, anew(self.secrets), anew(self.next), anew(self.former))

    def serialize(self) -> bytes:
        """The canonical bytes (1.1)."""
        changing = {"next": dict(self.next), "former": dict(self.former)}
        return KIND.dumps(
            {
                **self.services.fields(),
                "v": VERSION,
                "secrets": dict(self.secrets),
                **{name: texts for name, texts in changing.items() if texts},
            }
        )


def sealed(services: Services, key: ValueKey, passwords: Mapping[str, SecretBytes]) -> ServicesFile:
    """The document of addresses and passwords.

    Args:
        services: The addresses.
        key: The active configuration key.
        passwords: The passwords by `ZOOKEEPER` and `POSTGRES`.
    """
    secrets = {
        name: key.seal(services.parameter(name), passwords[name].reveal()) for name in SERVICES
    }
    return ServicesFile(services, secrets)


def parse(data: bytes) -> ServicesFile:
    """The document of its bytes.

    Raises:
        FormatError: The bytes are none, or of a version that is not known here.
    """
    fields = KIND.loads(data)
    first = fields.value("v") == _FIRST
    fields.check_version("v", _FIRST if first else VERSION)
    fields.check_names(_MEMBERS, () if first else _CHANGING)
    secrets = fields.text_map("secrets")
    if secrets.keys() != set(SERVICES):
        raise fields.refused("it has not just the two passwords")
    services = Services(
        fields.id("installation_id"),
        fields.id("run"),
        _zookeeper(fields.inner(ZOOKEEPER)),
        fields.text_map(POSTGRES),
    )
    former, following = (_changing(fields, name) for name in _CHANGING)
    return ServicesFile(services, secrets, following, former)


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


def _changing(fields: Fields, name: str) -> dict[str, str]:
    """A member that is there only while a password is changed."""
    if name not in fields.names:
        return {}
    found = fields.text_map(name)
    if not found or not found.keys() <= set(SERVICES):
        raise fields.refused(f"{name!r} has not just passwords of the two services")
    return found


def _without(texts: Mapping[str, str], name: str) -> dict[str, str]:
    return {one: text for one, text in texts.items() if one != name}
