"""Three real servers of ZooKeeper with TLS for clients and between servers, from the configuration in `deploy/zookeeper`."""

import hashlib
import json
import re
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import Credentials, Limits, ZookeeperSettings
from strongroom.crypto.secret import SecretBytes
from tests.support.components.process import Component, own_folder
from tests.support.emulators import free_port
from tests.support.links import Link, Mode

DEPLOYED = Path(__file__).resolve().parents[3] / "deploy" / "zookeeper"
PASSWORD = "of the ensemble's tests"
SIZE = 3
_STARTS = 3
#: Quick enough for tests; the shortest session that ZooKeeper grants is two ticks.
TICK_MS = 250
SESSION_S = 4.0
LIMITS = Limits(session_s=SESSION_S, read_s=8.0, put_s=20.0, poll_s=5.0, connect_s=2.0)
_LEAN = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_SUPER = "super:of the ensemble's tests"
_OF_THE_TESTS = (
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:"
    + b64encode(hashlib.sha1(_SUPER.encode()).digest()).decode(),
    # tests end servers, and no machine: what was written is there without waiting for a disk
    "-Dzookeeper.forceSync=no",
)


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        number: Its number in the ensemble, from 1.
        component: The process.
        port: The port for clients.
        link: The way of the product's clients to it.
        peers: The ways of the other servers to it while it leads, by their numbers.
    """

    number: int
    component: Component
    port: int
    link: Link
    peers: Mapping[int, Link]


@dataclass(frozen=True)
class Ensemble:
    """The servers, and what a client needs.

    Attributes:
        servers: All three.
        folder: The certificates of the authority, of a client and of the servers; those of strangers below `strangers`.
    """

    servers: tuple[Server, ...]
    folder: Path

    @property
    def hosts(self) -> str:
        """The servers as the product's clients know them: behind the links."""
        return ",".join(f"localhost:{one.link.port}" for one in self.servers)

    def settings(self, root: str, folder: Path, **more: Any) -> ZookeeperSettings:
        """Settings of a coordinator, whose locks of the node lie in a folder."""
        locks = folder / "locks"
        locks.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "hosts": self.hosts,
            "ca_file": self.folder / "ca.pem",
            "certificate_file": self.folder / "client.pem",
            "root": root,
            "credentials": lambda: Credentials.of(SecretBytes(PASSWORD.encode())),
            "node_id": "node1",
            "holder": "a test",
            "locks_dir": locks,
            "limits": LIMITS,
        }
        return ZookeeperSettings(**{**given, **more})

    @contextmanager
    def coordinator(
        self,
        root: str,
        folder: Path,
        kind: type[ZookeeperCoordinator] = ZookeeperCoordinator,
        **more: Any,
    ) -> Iterator[ZookeeperCoordinator]:
        """A coordinator over a tree that is created if need be."""
        made = kind(self.settings(root, folder, **more))
        made.create()
        try:
            yield made
        finally:
            made.close()

    @contextmanager
    def judge(self, *users: str) -> Iterator[Any]:
        """A client of kazoo, logged in, which goes by none of the links and knows nothing of the product.

        Args:
            users: User and password, `user:password`; several have the rights of each. By default the tests' user.
        """
        from kazoo.client import KazooClient

        hosts = ",".join(f"localhost:{one.port}" for one in self.servers)
        own = str(self.folder / "client.pem")
        client = KazooClient(
            hosts,
            use_ssl=True,
            ca=str(self.folder / "ca.pem"),
            certfile=own,
            keyfile=own,
            check_hostname=True,
            auth_data=[("digest", one) for one in users or (f"tsm:{PASSWORD}",)],
        )
        client.start(30)
        try:
            yield client
        finally:
            client.stop()
            client.close()

    @contextmanager
    def keeper(self) -> Iterator[Any]:
        """The same as the super user, whom no ACL stops: for what is done before and after tests, not by them.

        No client stays for the next test: while a test ends the servers, kazoo leaves one socket open for each attempt.
        """
        with self.judge(_SUPER) as client:
            yield client

    def leader(self) -> Server:
        """The server that leads now; waits until one does."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            for one in self.servers:
                if b"Mode: leader" in self.said(one):
                    return one
            time.sleep(0.05)
        raise AssertionError("no server leads")

    def said(self, server: Server) -> bytes:
        """The answer of a server to `srvr`, over TLS; nothing if it does not answer."""
        return _srvr(server.port, self.folder)

    def mend(self) -> None:
        """Every link passes, and every server runs."""
        for one in self.servers:
            for link in (one.link, *one.peers.values()):
                link.become(Mode.PASS)
                link.delay_s = 0.0
        _start([one.component for one in self.servers])

    @contextmanager
    def believing(self, authorities: str) -> Iterator[None]:
        """Servers that believe clients of further authorities as well, given in PEM; all start anew, before and afterwards."""
        believed = self.folder / "ca.pem"
        usual = believed.read_text()
        try:
            self._start_anew(f"{usual}{authorities}")
            yield
        finally:
            self._start_anew(usual)

    def _start_anew(self, believed: str) -> None:
        (self.folder / "ca.pem").write_text(believed)
        for one in self.servers:
            one.component.stop()
        self.mend()

    def links(self) -> tuple[Link, ...]:
        """The ways of the product's clients."""
        return tuple(one.link for one in self.servers)


def keep_settings(ensemble: Ensemble, root: str, folder: Path) -> None:
    """Write down in a folder what another process needs to open the same tree by `open_kept`."""
    told = {"hosts": ensemble.hosts, "certificates": str(ensemble.folder), "root": root}
    (folder / "zookeeper.json").write_text(json.dumps(told))


def open_kept(folder: Path, holder: str) -> ZookeeperCoordinator:
    """A coordinator over the tree that `keep_settings` wrote down in a folder."""
    told = json.loads((folder / "zookeeper.json").read_text())
    ensemble = Ensemble((), Path(told["certificates"]))
    made = ZookeeperCoordinator(
        ensemble.settings(told["root"], folder, hosts=told["hosts"], holder=holder)
    )
    made.create()
    return made


def take_lock_away(folder: Path, name: str) -> None:
    """End the session that holds a lock of the tree in a folder's notes, by the hand of a client that knows its id."""
    told = json.loads((folder / "zookeeper.json").read_text())
    coordinator = open_kept(folder, "a thief")
    try:
        path = f"{told['root']}/locks/{name}/held"
        coordinator._session.ask(lambda client: client.delete_async(path))
    finally:
        coordinator.close()


@contextmanager
def running_ensemble() -> Iterator[Ensemble]:
    """Three servers that have a leader.

    Nine free ports are chosen before the servers take them; another worker may have taken one meanwhile, and then others
    are chosen.
    """
    with ExitStack() as stack:
        yield _started(stack, _STARTS)


def _started(stack: ExitStack, starts: int) -> Ensemble:
    try:
        return stack.enter_context(_ensemble())
    except AssertionError as error:
        if starts == 1 or "Address already in use" not in str(error):
            raise
    return _started(stack, starts - 1)


@contextmanager
def _ensemble() -> Iterator[Ensemble]:
    with own_folder(None) as folder, ExitStack() as stack:
        certificates = folder / "tls"
        _certify(certificates)
        ports = {number: (free_port(), free_port(), free_port()) for number in range(1, SIZE + 1)}
        servers = []
        peers = {
            number: {
                other: stack.enter_context(Link(ports[number][1]))
                for other in ports
                if other != number
            }
            for number in ports
        }
        for number, (client_port, _, _) in ports.items():
            own = folder / str(number)
            component = _server(own, number, ports, peers, certificates)
            link = stack.enter_context(Link(client_port))
            servers.append(Server(number, component, client_port, link, peers[number]))
        components = [one.component for one in servers]
        for one in components:
            stack.callback(one.kill)  # its data goes anyway
        _start(components)
        yield Ensemble(tuple(servers), certificates)


def _start(components: list[Component]) -> None:
    # none of them serves before most of them run
    with ThreadPoolExecutor(SIZE) as together:
        list(together.map(Component.ensure_running, components))


def _certify(folder: Path) -> None:
    script = DEPLOYED / "certificates.sh"
    strangers = folder / "strangers"
    for where, names in (
        (folder, ["localhost,127.0.0.1", "elsewhere.example", "--", "client"]),
        (strangers, ["localhost,127.0.0.1", "--", "client"]),
    ):
        subprocess.run(["bash", script, where, *names], check=True, timeout=60)


def _server(
    folder: Path,
    number: int,
    ports: Mapping[int, tuple[int, int, int]],
    peers: Mapping[int, Mapping[int, Link]],
    certificates: Path,
) -> Component:
    """A server from the configuration that is deployed, with addresses and folders of the test."""
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "myid").write_text(f"{number}\n")
    changed = {
        "dataDir": str(data),
        "tickTime": str(TICK_MS),
        "initLimit": "40",
        "syncLimit": "20",
        "secureClientPort": str(ports[number][0]),
    }
    for other, (_, quorum, election) in ports.items():
        way = quorum if other == number else peers[other][number].port
        changed[f"server.{other}"] = f"127.0.0.1:{way}:{election}"
    configuration = folder / "zoo.cfg"
    text = (DEPLOYED / "zoo.cfg").read_text()
    for key, value in changed.items():
        text, found = re.subn(rf"^{re.escape(key)}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert found == 1, key
    text = text.replace("/etc/zookeeper/conf/tls/server.pem", f"{certificates}/localhost.pem")
    text = text.replace("/etc/zookeeper/conf/tls", str(certificates))
    configuration.write_text(f"{text}\nsecureClientPortAddress=127.0.0.1\n")
    port = ports[number][0]
    command = ["java", *_java_words(folder), str(configuration)]
    return Component(command, folder, lambda: b"Mode:" in _srvr(port, certificates))


def _java_words(folder: Path) -> list[str]:
    """The words of Debian's service: class path, options and class, from the environment that is deployed."""
    told = dict(
        line.split("=", 1)
        for line in (DEPLOYED / "environment").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    (folder / "log4j.properties").write_text(_LOG)
    jars = told["CLASSPATH"].strip('"').replace("/etc/zookeeper/conf", str(folder))
    options = told["JAVA_OPTS"].strip('"').split()
    return [*options, *_LEAN, *_OF_THE_TESTS, "-cp", jars, told["ZOOMAIN"].strip('"')]


_LOG = """
log4j.rootLogger=INFO, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p [%c{1}] %m%n
"""


def _srvr(port: int, certificates: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "client.pem")
    said = b""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 2) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        link.sendall(b"srvr")
        while data := link.recv(4096):
            said += data
    return said


def transaction_logs(server: Server) -> list[Path]:
    """The files of a server's transaction logs."""
    return sorted((server.component.folder / "data" / "version-2").glob("log.*"))


def toolkit(log: Path) -> int:
    """How many transactions ZooKeeper's own tool reads in a log; fails if it finds a wrong checksum."""
    told = dict(
        line.split("=", 1)
        for line in (DEPLOYED / "environment").read_text().splitlines()
        if line.startswith("CLASSPATH=")
    )
    path = told["CLASSPATH"].strip('"') + ":/usr/share/java/commons-cli.jar"
    tool = "org.apache.zookeeper.server.persistence.TxnLogToolkit"
    done = subprocess.run(
        ["java", *_LEAN, "-cp", path, tool, "-d", str(log)],
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert b"CRC ERROR" not in done.stdout, log
    found = re.search(rb"EOF reached after (\d+) txns", done.stdout)
    assert found is not None, done.stdout[-400:] + done.stderr[-400:]
    return int(found[1])


def record_lengths(server: Server) -> list[int]:
    """The lengths of all records in a server's transaction logs, by ZooKeeper's own format of them."""
    lengths = []
    for log in transaction_logs(server):
        raw = log.read_bytes()
        assert raw[:4] == b"ZKLG"
        at = 16  # behind magic, version and database id
        # each record: checksum (8), length (4), bytes, and a B; the file is filled up with zeros
        while length := int.from_bytes(raw[at + 8 : at + 12], "big"):
            assert raw[at + 12 + length : at + 13 + length] == b"B"
            lengths.append(length)
            at += 13 + length
    return lengths
