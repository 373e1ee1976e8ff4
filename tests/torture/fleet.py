"""An installation of several nodes as processes of their own, on real services that a test stops, kills and hangs.

Three servers of ZooKeeper, PostgreSQL, SeaweedFS with its files on a disk, and nodes that are each a `strongroom serve` with
its backgrounder. A node that ends is started again, as systemd does. Used by the soak and by the tests of jobs and stops.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from tests.support import object_stores
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres, running_postgres
from tests.support.components.process import Component, own_folder
from tests.support.components.zookeeper_ensemble import Ensemble, running_ensemble
from tests.support.emulators import Aws, answers, free_port
from tests.support.servers import BIN, TestNode, create_node
from tests.support.web_client import Client

_AGAIN_S = 1.0
_READY_S = 180.0
_STARTS = 3
_STARTER = ThreadPoolExecutor(1, "fleet")
"""A server that is to end with its parent ends with the thread that started it: this one lasts."""


class Member:
    """A node and its processes.

    Attributes:
        name: The node's id.
        node: Its folder, and its commands.
        port: Of its HTTP service; the same after each start.
        vault_port: Of its Vault door, likewise.
        ends: How often its server ended by itself, by exit code.
    """

    def __init__(self, name: str, node: TestNode) -> None:
        self.name = name
        self.node = node
        self.port, self.vault_port = free_port(), free_port()
        self.ends: Counter[int] = Counter()
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._guard = threading.Lock()

    def start(self) -> None:
        """Have its server run; the keeper starts it again when it ends."""
        with self._guard:
            self._wanted = True
            self._start()

    def _start(self) -> None:
        with (self.node.folder / "serve.log").open("ab") as log:
            self._child = _STARTER.submit(self._launch, log).result()

    def _launch(self, log: Any) -> "subprocess.Popen[bytes]":
        ports = ["--port", str(self.port), "--vault-port", str(self.vault_port)]
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(BIN / "strongroom"), "serve", *ports],
            cwd=self.node.folder,
            env=self.node.variables(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def keep(self) -> None:
        """Start it again if it ended by itself."""
        with self._guard:
            if self._wanted and self._child is not None and self._child.poll() is not None:
                self.ends[self._child.returncode] += 1
                self._start()

    @property
    def pid(self) -> int | None:
        """The server's process id, while it runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def backgrounder_pid(self) -> int | None:
        """The backgrounder's process id, as the server tells it."""
        with suppress(OSError, ValueError, KeyError):
            told = json.loads((self.node.home / "tabsvc" / "serve.json").read_text())
            if told["pid"] == self.pid and (pid := told["backgrounder_pid"]):
                os.kill(pid, 0)
                return int(pid)
        return None

    def kill(self) -> None:
        """End all its processes without a word, and keep it so."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End its server as an operator does, and keep it so."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        with self._guard:
            self._wanted = False
            child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGCONT)
            os.kill(child.pid, how) if how is signal.SIGTERM else os.killpg(child.pid, how)
        try:
            child.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise

    def signal_all(self, what: signal.Signals) -> None:
        """Send a signal to all its processes: SIGSTOP is a machine that stands still, SIGCONT has it go on."""
        child = self._child
        if child is not None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, what)

    def is_ready(self) -> bool:
        """Whether it says that it can do its work."""
        return answers(f"http://127.0.0.1:{self.port}/readyz")

    def client(self, site: str) -> Client:
        """A client of the administrator."""
        client = Client(self.port)
        password = self.node.password_file.read_text().strip()
        reply = client.sign_in("admin", password, site)
        assert reply.status == 200, reply.body
        return client


@dataclass
class Fleet:
    """The nodes, and the services that they use.

    Attributes:
        services: ZooKeeper and PostgreSQL.
        store: The object store's process.
        s3: Where it answers.
        members: The nodes by their ids.
    """

    services: ClusterServices
    store: Component
    s3: Aws
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def ensemble(self) -> Ensemble:
        """The servers of ZooKeeper."""
        return self.services.ensemble

    @property
    def postgres(self) -> Postgres:
        """The server of PostgreSQL."""
        return self.services.postgres

    def wait_ready(self, limit_s: float = _READY_S) -> float:
        """Wait until every node is ready; returns how long it took."""
        return waited(lambda: all(one.is_ready() for one in self.members.values()), limit_s)

    def end(self) -> None:
        """Kill every node."""
        for one in self.members.values():
            one.kill()

    def keep(self) -> None:
        """Start what ended by itself."""
        for one in self.members.values():
            one.keep()


def waited(holds: Callable[[], bool], limit_s: float = _READY_S) -> float:
    """Wait until something holds; returns the seconds, and fails behind the limit."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < limit_s, "waited for in vain"
        time.sleep(0.1)
    return time.monotonic() - begun


@contextmanager
def running(folder: Path, size: int) -> Iterator[Fleet]:
    """Services, and so many nodes that serve; everything ends with the block.

    Args:
        folder: A folder of the test's own, in which the nodes lie.
        size: The number of nodes.
    """
    with ExitStack() as stack, ThreadPoolExecutor(3) as together:
        managers: list[Any] = [running_ensemble(), running_postgres(), _seaweedfs()]
        entered = [together.submit(stack.enter_context, one) for one in managers]
        ensemble, postgres, (store, s3) = (one.result() for one in entered)
        fleet = Fleet(make_cluster_services(ensemble, postgres, folder / "services"), store, s3)
        own = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        first = Member("node1", create_node(_folder(folder / "node1")))
        first.node.environment |= own
        fleet.members["node1"] = first
        first.node.run("strongroom", "cluster", "enable", *fleet.services.options)
        address = object_stores.bucket(s3.url, "extracts").address.text
        first.node.run("strongroom", "extracts", "move", "--to", address)
        stack.callback(fleet.end)
        ending = threading.Event()
        keeper = threading.Thread(target=_kept, args=(fleet, ending))
        first.start()
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(ending.set)
        fleet.wait_ready()
        for number in range(2, size + 1):
            member = _joined(first, folder / f"node{number}", own)
            fleet.members[member.name] = member
            member.start()
        fleet.wait_ready()
        yield fleet


def _kept(fleet: Fleet, ending: threading.Event) -> None:
    while not ending.wait(_AGAIN_S):
        fleet.keep()


def _joined(first: Member, folder: Path, variables: dict[str, str]) -> Member:
    made = TestNode(_folder(folder), environment=dict(variables))
    made.password_file.write_bytes(first.node.password_file.read_bytes())
    file = folder / "bootstrap"
    making = ("tsm", "topology", "nodes", "get-bootstrap-file", "-f", file)
    first.node.run(*making, "--server", f"http://127.0.0.1:{first.port}")
    fingerprint = first.node.run("strongroom", "status", "--json").json["fingerprint"]
    made.run("initialize-tsm", "-b", file, "-d", made.home, "--fingerprint", fingerprint)
    file.unlink()
    return Member(folder.name, made)


@contextmanager
def _seaweedfs() -> Iterator[tuple[Component, Aws]]:
    """Its ports are chosen before it takes them; another process may have taken one meanwhile, and then others are chosen."""
    with own_folder(None) as folder:
        store, url = _started(folder, _STARTS)
        try:
            yield store, Aws(url)
        finally:
            store.kill()


def _started(folder: Path, starts: int) -> tuple[Component, str]:
    place = _folder(folder / str(starts))
    command, url = object_stores.seaweedfs_line(place)
    store = Component(command, place, lambda: answers(f"{url}/healthz"))
    store.start()
    try:
        object_stores.client(Aws(url)).create_bucket(Bucket=object_stores.BUCKET)
    except BotoCoreError as error:
        store.kill()
        if starts == 1:
            raise AssertionError(f"SeaweedFS did not start: {store.said()[-2000:]}") from error
        return _started(folder, starts - 1)
    return store, url


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
