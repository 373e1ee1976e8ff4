"""Looks at the passwords of a node of a cluster, and dies in the middle of changes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER, Passwords
from strongroom.coordination.base import Change
from strongroom.eventlog.events import node_events
from strongroom.system import postgres_conninfo
from tests.contract.cluster.test_enable import opened
from tests.support.cluster_services import ROLE_PASSWORD, ClusterServices
from tests.support.components.zookeeper_ensemble import PASSWORD

BOTH = (POSTGRES, ZOOKEEPER)
OLD = {POSTGRES: ROLE_PASSWORD, ZOOKEEPER: PASSWORD}


def root_of(home: Path) -> str:
    """The root of the tree in ZooKeeper, by the file of services alone."""
    with opened(home) as node:
        assert node.outside is not None
        return node.outside.file.services.zookeeper.root


def passwords(home: Path, name: str) -> Passwords:
    with opened(home) as node:
        assert node.outside is not None
        return node.outside.passwords(name)


def present(home: Path, name: str) -> str:
    found = passwords(home, name)
    assert found == Passwords(found.present)
    return found.present.reveal().decode()


def admitted(home: Path, services: ClusterServices, name: str, password: str) -> bool:
    """Whether a service takes a password, by foreign clients; of ZooKeeper's tree all nodes, or none."""
    if name == POSTGRES:
        import psycopg
        from psycopg import conninfo

        known = [one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults()]
        words = {"host": "127.0.0.1", "port": str(services.postgres.port)}
        words |= {"user": services.database, "dbname": services.database, "password": password}
        words |= {"sslmode": "verify-full", "sslrootcert": str(services.postgres.ca_file)}
        try:
            psycopg.connect(
                conninfo.make_conninfo(**postgres_conninfo.explicit(known, words))
            ).close()
        except psycopg.OperationalError:
            return False
        return True
    root = root_of(home)
    found = tree(services, root, password)
    assert len(set(found)) == 1, found
    return found[0]


def tree(services: ClusterServices, root: str, password: str) -> list[bool]:
    """For each node of the tree, listed by the owner's right to do so or not: whether a password opens it."""
    from kazoo.exceptions import NoAuthError

    seen: list[bool] = []
    with services.ensemble.judge(f"tsm:{password}") as client:

        def walk(path: str) -> None:
            try:
                client.get(path)
                below = client.get_children(path)
            except NoAuthError:
                seen.append(False)
                return
            seen.append(True)
            for one in below:
                walk(f"{path}/{one}")

        walk(root)
    return seen


def works(home: Path) -> None:
    """The node opens both services, and writes to them."""
    with opened(home) as node:
        with node.repository.transaction() as tx:
            tx.marks.set("a test's", "mark")
        node.coordinator.put(
            {
                "journal/rotation/one": Change(
                    b"one", node.coordinator.version("journal/rotation/one")
                )
            }
        )
        assert node.kms_store.prove().problems == ()


def told(home: Path, name: str) -> list[str]:
    ids = (
        node_events.SERVICE_PASSWORD_CHANGING,
        node_events.SERVICE_PASSWORD_CHANGED,
        node_events.SERVICE_PASSWORD_WITHDRAWN,
    )
    with opened(home) as node:
        return [
            str(record["id"]).removeprefix("SERVICE_PASSWORD_")
            for record in node.events.history(*ids)
            if record["details"]["service"] == name  # type: ignore[index]
        ]


class KilledError(BaseException):
    """The process dies here."""


def killed(*_: object, **__: object) -> Any:
    raise KilledError


def after(method: Callable[..., Any]) -> Callable[..., Any]:
    def dies(*given: Any, **named: Any) -> Any:
        method(*given, **named)
        raise KilledError

    return dies


def password_file(folder: Path, password: str) -> str:
    path = folder / "given-password"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return str(path)


def changed_by_hand(services: ClusterServices, home: Path, name: str, password: str) -> None:
    """What an administrator does at a service, without asking the node."""
    if name == POSTGRES:
        verifier = services.postgres.verifier(password)
        services.query(f"ALTER ROLE {services.database} PASSWORD '{verifier}'")
        return
    from kazoo.security import make_digest_acl

    root = root_of(home)
    with services.ensemble.judge(f"tsm:{PASSWORD}", f"tsm:{password}") as client:

        def walk(path: str) -> None:
            below = client.get_children(path)
            client.set_acls(path, [make_digest_acl("tsm", password, all=True)])
            for one in below:
                walk(f"{path}/{one}")

        walk(root)
