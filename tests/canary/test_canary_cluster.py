"""The canary scan over a cluster (E1; issue 11, "Must show" 6): three nodes, and all that they leave with other people's servers.

Searched are, in each form: the data of three ZooKeeper servers (snapshots and transaction logs), PostgreSQL's files with its
WAL and logs, a dump by pg_dump, every object of the store, the data directories of all nodes, the arguments of all
processes, and every byte between nodes and ZooKeeper, between its servers, to PostgreSQL, the object store and AWS.

What may hold a secret is listed here and nowhere else:

- a node's keystore password lies in its own file, `tabsvc/keystore/password`, and nowhere else.

The way of clients to a node is not listened to: it is plain on the loopback interface, where a proxy speaks TLS before it.
"""

import dataclasses
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import demo.clients
import demo.cluster
from demo import cluster_rig
from demo.cluster import ClusterDemo
from demo.cluster_rig import Rig
from demo.show import Story
from strongroom.secrets import catalog
from tests.canary import forms, planted_secrets, recorder
from tests.canary.forms import Find
from tests.canary.whole_scan import Allowed, leaks
from tests.support import object_stores
from tests.support.cluster_services import ROLE_PASSWORD
from tests.support.components.postgres import programs
from tests.support.components.zookeeper_ensemble import PASSWORD
from tests.support.emulators import Aws
from tests.support.links import Link

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

LEAST = 40
ALLOWED = [
    Allowed(
        r"keystore password of node\d", r"node\d/tabsvc/keystore/password", "it opens the keystore"
    ),
]


class Wires:
    """Everything that goes between the nodes and what they use."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.links: dict[str, Link] = {}

    def between(self, name: str, port: int) -> int:
        """Have a port be reached by another one, at which somebody listens."""
        self.add(name, self._stack.enter_context(Link(port)))
        return self.links[name].port

    def add(self, name: str, link: Link) -> None:
        link.heard = bytearray()
        self.links[name] = link


def overheard(rig: Rig, wires: Wires) -> Rig:
    """The same servers, each reached through a link."""
    for server in rig.services.ensemble.servers:
        wires.add(f"zookeeper {server.number}", server.link)
        for other, link in server.peers.items():
            wires.add(f"zookeeper {other} to {server.number}", link)
    postgres = rig.services.postgres
    behind = dataclasses.replace(postgres, port=wires.between("postgres", postgres.port))
    services = dataclasses.replace(rig.services, postgres=behind)
    old = urlsplit(parse_qs(urlsplit(rig.store).query)["endpoint"][0]).port
    assert old is not None
    store = rig.store.replace(f":{old}", f":{wires.between('objects', old)}")
    return dataclasses.replace(rig, services=services, store=store)


class Planted:
    """What was planted, in a cluster that does all that the demo shows."""

    def __init__(self, story: ClusterDemo, patch: pytest.MonkeyPatch) -> None:
        self._story = story
        self._patch = patch
        self.secrets: dict[str, bytes] = {
            "password of ZooKeeper": PASSWORD.encode(),
            "password of PostgreSQL": ROLE_PASSWORD.encode(),
        }

    def plant(self, slot: str) -> bytes:
        self.secrets[slot] = planted_secrets.canary(slot.replace(".", "-").replace(" ", "-"))
        return self.secrets[slot]

    def settings(self) -> None:
        """Every secret that an administrator sets, and one known by its suffix; applied on another node."""
        one = self._story.first
        names = [
            name
            for name, parameter in catalog.SECRETS.items()
            if parameter.origin is catalog.SecretOrigin.ADMIN
            and not parameter.key_hierarchy
            and "ssl" not in name
            and name != "kms.roots"
        ]
        for name in (*names, "made.up.by.us.password"):
            value = one.folder / "value"
            value.write_bytes(self.plant(name))
            value.chmod(0o600)
            words = ["-k", name, "--value-file", str(value), "--force-keys"]
            one.run("tsm", "configuration", "set", *words, quiet=True)
        self._story.second.run("tsm", "pending-changes", "apply", "--ignore-prompt", quiet=True)

    def note(self) -> None:
        """Every key and secret as it is now, read on one node; they are the same on all."""
        for node in self._story.nodes.values():
            password = planted_secrets.keystore_password(node.home)
            self.secrets[f"keystore password of {node.folder.name}"] = password
            self.secrets["password of the administrator"] = node.password.read_bytes().strip()
        one = self._story.first
        for name, value in one.variables.items():
            if name.startswith("AWS_"):
                self._patch.setenv(name, value)
        self.secrets |= planted_secrets.values_of(one.home)
        self.secrets |= planted_secrets.keys_of(one.home)


def places(rig: Rig, story: ClusterDemo, dump: Path) -> dict[str, Path]:
    """The folders that are searched."""
    found = {
        f"zookeeper {one.number}": one.component.folder for one in rig.services.ensemble.servers
    }
    nodes = {name: one.home for name, one in story.nodes.items()}
    return {**found, **nodes, "postgres": rig.services.postgres.component.folder, "dump": dump}


def dumped(rig: Rig, folder: Path) -> Path:
    """The database as pg_dump tells it."""
    folder.mkdir()
    where = rig.services.postgres
    command = [
        programs() / "pg_dump",
        "-h",
        where.sockets,
        "-U",
        "postgres",
        "-d",
        rig.services.database,
    ]
    done = subprocess.run(
        [*map(str, command), "-p", str(where.port)], capture_output=True, check=True, timeout=120
    )
    (folder / "all.sql").write_bytes(done.stdout)
    return folder


def objects(store: Any) -> Iterator[tuple[str, bytes]]:
    """Every object, by a client of the tests' own."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=object_stores.BUCKET):
        for one in page.get("Contents", ()):
            body = store.get_object(Bucket=object_stores.BUCKET, Key=one["Key"])["Body"].read()
            yield f"object {one['Key']}", body


class Scan:
    """All that is searched, which goes on growing."""

    def __init__(
        self, rig: Rig, wires: Wires, arguments: set[bytes], folders: dict[str, Path]
    ) -> None:
        self.rig, self.folders = rig, folders
        self._wires, self._arguments = wires, arguments
        self.store = object_stores.client(Aws(f"http://127.0.0.1:{wires.links['objects'].port}"))

    def settle(self) -> None:
        """Have everything on the disks: a server that begins anew writes a snapshot of all that it has."""
        first = self.rig.services.ensemble.servers[0].component
        first.kill()
        first.ensure_running()
        self.rig.services.query("CHECKPOINT")

    def leaks(self, planted: Planted) -> list[Find]:
        """The secrets that are where none may be."""
        search = forms.Search(planted.secrets)
        found = [find for place, data in self._seen() for find in search.run(data, place)]
        for name, folder in self.folders.items():
            found += [
                dataclasses.replace(one, place=f"{name}/{one.place}")
                for one in search.files(folder)
            ]
        return leaks(found, ALLOWED)

    def _seen(self) -> Iterator[tuple[str, bytes]]:
        for number, one in enumerate(sorted(self._arguments)):
            yield f"arguments {number}", one
        yield from objects(self.store)
        for name, link in self._wires.links.items():
            yield f"wire {name}", bytes(link.heard or b"")


def act(story: ClusterDemo, planted: Planted) -> None:
    """Everything by which secrets come into being, move and change; after each step they are noted."""
    for step in (story.make_node, story.make_cluster, story.add_nodes):
        step()
    planted.note()
    planted.settings()
    story.set_mode()
    planted.note()
    story.publish()
    story.first.run("tsm", "security", "kms", "rotate")
    planted.note()
    words = ["security", "regenerate-internal-tokens", "--only", "keys", "passwords"]
    story.second.run("tsm", *words)
    planted.note()


def put_everywhere(scan: Scan, secret: str) -> None:
    """A secret in the clear where E1 looks: the search is not blind."""
    with scan.rig.services.ensemble.judge() as client:
        client.create(f"/planted-{secrets.token_hex(4)}", secret.encode())
    scan.rig.services.query(f"CREATE TABLE planted AS SELECT '{secret}' AS text")
    scan.store.put_object(Bucket=object_stores.BUCKET, Key="planted", Body=secret.encode())


def test_no_secret_is_in_anything_that_a_cluster_leaves_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """E1: 0 hits of more than forty secrets; one that was planted in each place is found."""
    monkeypatch.setattr(demo.clients, "_LIMIT_S", 900)  # the machine may have other work
    with ExitStack() as stack:
        plain, wires = stack.enter_context(cluster_rig.running(tmp_path)), Wires(stack)
        rig = overheard(plain, wires)
        arguments = stack.enter_context(recorder.Sampler("cmdline", 0.1)).seen
        story = ClusterDemo(tmp_path, Story(), rig, stack.enter_context(ExitStack()))
        planted = Planted(story, monkeypatch)
        content = demo.cluster.DATA + planted.plant("extract") * 9
        monkeypatch.setattr(demo.cluster, "DATA", content)
        act(story, planted)
        scan = Scan(plain, wires, arguments, places(plain, story, dumped(plain, tmp_path / "dump")))
        scan.settle()
        count = len(planted.secrets)
        assert count > LEAST
        assert scan.leaks(planted) == []
        put_everywhere(scan, planted.plant("the planted one").decode())
        found = scan.leaks(planted)
        assert {find.secret for find in found} == {"the planted one"}
        where = {find.place.partition("/")[0] for find in found}
        assert {"zookeeper 1", "zookeeper 2", "zookeeper 3", "postgres"} <= where
        assert {"object planted", "wire objects"} <= where
        for part in ("pg_wal", "version-2/log."):
            assert any(part in find.place for find in found), part
    words = f"{count} secrets, {len(wires.links)} wires, {len(scan.folders)} folders"
    record_property("torture", f"E1: {words}: nothing was found")
