"""Several servers of Redis 7 that share a user: a primary with replicas, a cluster, a Sentinel (findings K15)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.support.components.process import Component, answer_of, own_folder
from tests.support.components.redis import Redis, acl_hash, running_redis
from tests.support.emulators import free_port

if TYPE_CHECKING:
    from pathlib import Path

ROOT, ROOT_PASSWORD = "tests-own-administrator", "of the tests, not of the product"
_ADMINISTRATOR = f"user {ROOT} on {acl_hash(ROOT_PASSWORD)} ~* &* +@all"


def administer(server: Redis, *words: str) -> str:
    """As the tests' own administrator."""
    return server.cli(*words, user=ROOT, password=ROOT_PASSWORD)


@contextmanager
def primary_with_replicas(count: int, *acl: str, chained: bool = False) -> Iterator[list[Redis]]:
    """A primary and its replicas, each with the same lines in an ACL file of its own; each of the next if chained."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_redis("user default off", _ADMINISTRATOR, *acl))
            for _ in range(count + 1)
        ]
        for number, replica in enumerate(servers[1:]):
            attach(replica, servers[number] if chained else servers[0])
        yield servers


def attach(
    replica: Redis, primary: Redis, *, user: str = ROOT, password: str = ROOT_PASSWORD
) -> None:
    """Make it a replica, and wait until it has the data."""
    administer(replica, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
    administer(primary, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
    administer(replica, "CONFIG", "SET", "masteruser", user)
    administer(replica, "CONFIG", "SET", "masterauth", password)
    administer(replica, "REPLICAOF", "127.0.0.1", str(primary.port))
    wait_for(lambda: "master_link_status:up" in administer(replica, "INFO", "replication"))
    wait_for(lambda: f"port={replica.port}" in administer(primary, "INFO", "replication"))


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it is so; a minute at most."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it did not become so"
        time.sleep(0.05)


@contextmanager
def cluster(count: int, *acl: str) -> Iterator[list[Redis]]:
    """Nodes of one cluster, which know each other; slots are nobody's."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(count)]
        lines = ("user default off", _ADMINISTRATOR, *acl)
        nodes = [
            stack.enter_context(
                running_redis(*lines, more=f"cluster-enabled yes\ncluster-port {bus}")
            )
            for bus in buses
        ]
        first = nodes[0]
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            administer(first, "CLUSTER", "MEET", "127.0.0.1", str(node.port), str(bus))
        for node in nodes:
            wait_for(partial(_knows, node, count))
        yield nodes


def _knows(node: Redis, count: int) -> bool:
    told = administer(node, "CLUSTER", "NODES")
    return told.count(" connected") == count and "handshake" not in told


@contextmanager
def sentinel(port: int, *acl: str) -> Iterator[int]:
    """A Sentinel that watches nobody."""
    with own_folder(None) as folder:
        (folder / "sentinel.conf").write_text(
            "\n".join([f"port {port}", "bind 127.0.0.1", f"dir {folder}", *acl]) + "\n"
        )
        command: list[str | Path] = ["redis-server", folder / "sentinel.conf", "--sentinel"]
        component = Component(command, folder, lambda: answer_of(port, b"PING\r\n") != b"")
        with component.running():
            yield port
