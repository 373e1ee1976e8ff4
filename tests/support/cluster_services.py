"""ZooKeeper and PostgreSQL for a node of a cluster, given by address as an operator gives them, and empty for each node."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from strongroom.crypto.secret import SecretBytes
from strongroom.node.cluster import Given
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import PASSWORD, Ensemble

ROLE_PASSWORD = "of the database's tests"
_TOP = "/strongroom"
_TRIES = 3


@dataclass(frozen=True)
class ClusterServices:
    """A database of its own, and the ensemble of the session, in which each installation has a tree of its own.

    Attributes:
        ensemble: The servers of ZooKeeper.
        postgres: The server of PostgreSQL.
        database: The name of the database, and of the role that owns it.
        folder: Where the files with passwords lie.
        changed: Words of options that are to differ, by their names.
    """

    ensemble: Ensemble
    postgres: Postgres
    database: str
    folder: Path
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def dsn(self) -> str:
        """The address of the database, by TLS."""
        return (
            f"host=127.0.0.1 port={self.postgres.port} dbname={self.database} user={self.database}"
            f" sslrootcert={self.postgres.ca_file}"
        )

    @property
    def options(self) -> list[str]:
        """The options of `strongroom cluster check` and `enable`."""
        usual = {
            "--zookeeper": self.hosts,
            "--zookeeper-ca": str(self.ensemble.folder / "ca.pem"),
            "--zookeeper-certificate": str(self.ensemble.folder / "client.pem"),
            "--zookeeper-password-file": str(self.folder / "zookeeper-password"),
            "--postgres": self.dsn,
            "--postgres-password-file": str(self.folder / "postgres-password"),
        }
        return [word for pair in {**usual, **self.changed}.items() for word in pair]

    @property
    def hosts(self) -> str:
        """The servers of ZooKeeper, behind the links."""
        return self.ensemble.hosts

    @property
    def given(self) -> Given:
        """The same as a person names them, for calls within this process."""
        return Given(
            hosts=self.hosts,
            ca=self.ensemble.folder / "ca.pem",
            certificate=self.ensemble.folder / "client.pem",
            user="tsm",
            zookeeper_password=SecretBytes(PASSWORD.encode()),
            postgres=self.dsn,
            postgres_password=SecretBytes(ROLE_PASSWORD.encode()),
        )

    def with_changes(self, **changed: str) -> "ClusterServices":
        """The same with other words behind some options: `postgres_password_file` is `--postgres-password-file`."""
        named = {f"--{name.replace('_', '-')}": word for name, word in changed.items()}
        return replace(self, changed={**self.changed, **named})

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement in the database, by a foreign client."""
        import psycopg

        where = f"host={self.postgres.sockets} port={self.postgres.port} user=postgres"
        with psycopg.connect(f"{where} dbname={self.database}", autocommit=True) as client:
            cursor = client.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def empty(self, installation_id: str) -> None:
        """Remove what an installation has brought to either of them, and have both take the tests' passwords."""
        self.empty_tree(installation_id)
        self.renew_role()
        self.query(
            "DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS strongroom_jobs CASCADE;"
            f" CREATE SCHEMA public AUTHORIZATION {self.database}"
        )

    def empty_tree(self, installation_id: str) -> None:
        """Remove what an installation has brought to ZooKeeper, whatever it has changed the password to."""
        from kazoo.security import make_digest_acl

        top = f"{_TOP}/{installation_id}"
        with self.ensemble.keeper() as client:
            if client.exists(_TOP):
                client.set_acls(_TOP, [make_digest_acl("tsm", PASSWORD, all=True)])
            for _ in range(_TRIES):
                below = _below(client, top)
                removal = client.transaction()
                for path in reversed(below):
                    removal.delete(path)
                # a session that has just ended takes nodes along
                if not below or not any(isinstance(one, Exception) for one in removal.commit()):
                    return
            client.delete(top, recursive=True)

    def renew_role(self) -> None:
        """Have PostgreSQL take the tests' password."""
        verifier = self.postgres.verifier(ROLE_PASSWORD)
        self.postgres.run(f"ALTER ROLE {self.database} LOGIN PASSWORD '{verifier}'")

    def drop_database(self) -> None:
        """Drop the database, whoever uses it; nothing of it is left on the disk."""
        self.postgres.run(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")

    def with_files(self) -> Self:
        """The same, once the files with passwords lie in its folder."""
        self.folder.mkdir(exist_ok=True)
        for file, password in (("zookeeper", PASSWORD), ("postgres", ROLE_PASSWORD)):
            path = self.folder / f"{file}-password"
            path.write_text(f"{password}\n")
            path.chmod(0o600)
        return self


def make_cluster_services(ensemble: Ensemble, postgres: Postgres, folder: Path) -> ClusterServices:
    """An empty database with a role of its own that owns it."""
    name = f"node_{secrets.token_hex(6)}"
    postgres.run(
        f"CREATE ROLE {name} LOGIN PASSWORD '{postgres.verifier(ROLE_PASSWORD)}'",
        f"CREATE DATABASE {name} TEMPLATE template0 OWNER {name}",
    )
    return ClusterServices(ensemble, postgres, name, folder).with_files()


def _below(client: Any, top: str) -> list[str]:
    """A node of ZooKeeper and all below it, each behind its parent; nothing if it is not there."""
    from kazoo.exceptions import NoNodeError

    found: list[str] = []
    level = [top] if client.exists(top) else []
    while level:
        found += level
        asked = [(path, client.get_children_async(path)) for path in level]
        level = []
        for path, answer in asked:
            with suppress(NoNodeError):
                level += [f"{path}/{child}" for child in answer.get(timeout=30)]
    return found
