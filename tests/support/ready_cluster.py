"""A cluster of one node, or of two, that was made once and is put back for each test, in all three places where it lies.

`cluster enable` takes a second of a processor, and as much of PostgreSQL and ZooKeeper: schema, rows, entries, and the
proofs that all has arrived. Two hundred tests begin behind it. What it left is kept: the data directory as a copy, the
database as a template, the nodes of ZooKeeper with their ACLs and versions. A test gets the same names and passwords as
the one before; nothing that that one did is left.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.cluster_services import ClusterServices

_TOP = "/strongroom"


class Znode(NamedTuple):
    """A node of ZooKeeper.

    Attributes:
        path: Its path.
        value: Its bytes.
        acl: Who may do what with it.
        version: How often it was written, from 0.
    """

    path: str
    value: bytes
    acl: list[Any]
    version: int


@dataclass(frozen=True)
class ReadyCluster:
    """What `cluster enable` left.

    Attributes:
        services: Where it lies; the database is the same for each test.
        homes: The kept data directories of its nodes.
        znodes: The kept nodes of ZooKeeper, each behind its parent.
    """

    services: ClusterServices
    homes: tuple[Path, ...]
    znodes: tuple[Znode, ...]

    @classmethod
    def keep(cls, services: ClusterServices, *homes: Path) -> Self:
        """Keep what there is now; no process may use it, and `homes` are left alone from now on."""
        with services.ensemble.keeper() as client:
            znodes = tuple(_tree(client, _TOP))
        kept = cls(services, homes, znodes)
        services.postgres.run(f"CREATE DATABASE {kept.template} TEMPLATE {services.database}")
        return kept

    @property
    def template(self) -> str:
        """The name of the kept database."""
        return f"{self.services.database}_of_{len(self.homes)}"

    def put_back(self, *homes: Path) -> None:
        """Put everything back as it was; the database, its role and ZooKeeper may be in any state.

        Args:
            homes: Where the data directories are to be, in the order in which they were kept.
        """
        for kept, home in zip(self.homes, homes, strict=True):
            shutil.copytree(kept, home)
        name = self.services.database
        self.services.renew_role()
        self.services.postgres.run(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE {self.template} OWNER {name}",
        )
        with self.services.ensemble.keeper() as client:
            put = client.transaction()
            for one in self.znodes:
                if one.path == _TOP and client.exists(_TOP):
                    client.set_acls(_TOP, one.acl)
                else:
                    _put(put, one)
            answers = put.commit()
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    def for_test(self, folder: Path) -> ClusterServices:
        """The services with a folder of the test's own, in which the files with passwords lie."""
        return replace(self.services, folder=folder).with_files()


def _tree(client: Any, path: str) -> Iterator[Znode]:
    value, stat = client.get(path)
    assert not stat.ephemeralOwner, f"{path} is of a session that goes on"
    yield Znode(path, value, client.get_acls(path)[0], stat.version)
    for child in sorted(client.get_children(path)):
        yield from _tree(client, f"{path}/{child}")


def _put(put: Any, node: Znode) -> None:
    """Create a node, and write it as often as it had been; the versions of entries and locks are ZooKeeper's own."""
    put.create(node.path, b"" if node.version else node.value, acl=node.acl)
    for number in range(node.version):
        put.set_data(node.path, node.value if number == node.version - 1 else b"")
