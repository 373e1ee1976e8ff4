"""The components that use our secrets, real ones: PostgreSQL, Redis, ZooKeeper, each on sockets of its own.

A server here can be stopped, killed, hung and started again at the same address, which is what faults need. Nothing of the
system's own services is touched: every server has its folder, its port on 127.0.0.1 and its Unix socket below that folder.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any, BinaryIO

from tests.emulators import free_port
from tests.tls import Authority

POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
_JARS = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple")
_READY_S = 120
_STOP_S = 60
_PAUSE_S = 0.02
_AGAIN_S = 30
"""Limits for a loaded machine; nothing waits so long where all is well."""
_STARTER = ThreadPoolExecutor(1, "components")
"""A server that is to end with its parent ends with the thread that started it: this one lasts."""


class Component:
    """One server process of other people's: started by its `with`, ended with it.

    Attributes:
        log: Everything that it has said since it first started.
        folder: All its files.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        ready: Callable[[], bool],
        *,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._command = [str(word) for word in command]
        self._ready = ready
        self._user = user
        self._stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; fails if it does not run."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        again = time.monotonic() + _AGAIN_S
        while not self._started():
            # what is left of a killed one (shared memory, a port) may need a moment to go
            if time.monotonic() > again:
                said = self.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"{self._command[0]} did not start: {said}")
            time.sleep(_PAUSE_S)

    def _started(self) -> bool:
        """Start it; whether it answers, and did not end."""
        with self.log.open("ab") as output:
            self._child = _STARTER.submit(self._launch, output).result()
        limit = time.monotonic() + _READY_S
        while time.monotonic() < limit and self._child.poll() is None:
            if self._ready():
                return True
            time.sleep(_PAUSE_S)
        self._end(signal.SIGKILL)
        return False

    def _launch(self, output: BinaryIO) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            # it ends with the tests, even if these are killed
            ["setpriv", "--pdeathsig", "KILL", *self._command],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **_as_user(self._user),
        )

    def ensure_running(self) -> None:
        """Start it if an earlier test could not bring it back."""
        if self._child is None or self._child.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End it in its own orderly way; nothing happens if it does not run."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it at once, without a word."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        child.send_signal(signal.SIGCONT)  # a hung one must hear it
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    @contextmanager
    def down(self, *, killed: bool = False) -> Iterator[None]:
        """Not there, until the end of the block."""
        self.kill() if killed else self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """There, and silent, until the end of the block: connections are taken and never answered."""
        child = self._child
        assert child is not None
        child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """Its whole log."""
        return self.log.read_text(errors="replace")


def _as_user(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@contextmanager
def _folder(owner: str | None) -> Iterator[Path]:
    """A short path (sockets end at 107 bytes) that a server which may not be root can reach."""
    folder = Path(tempfile.mkdtemp(prefix="strongroom-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- PostgreSQL ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL 15 that asks everybody for a SCRAM password, but the tests' own `postgres` on its socket.

    Attributes:
        component: The process.
        sockets: The folder of its Unix socket.
        port: Of 127.0.0.1, with TLS; also part of the socket's name.
        ca_file: What a client must trust.
    """

    component: Component
    sockets: Path
    port: int
    ca_file: Path

    def psql(self, sql: str, *, user: str = "postgres", password: str = "") -> str:
        """What the real psql prints for a statement; raises AssertionError if it fails."""
        done = self.try_psql(sql, user=user, password=password)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *statements: str) -> str:
        """As `psql`, by a client in this process, which takes a tenth of the time."""
        import psycopg

        rows: list[tuple[object, ...]] = []
        with psycopg.connect(self._where("postgres", ""), autocommit=True) as client:
            for statement in statements:
                cursor = client.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return "\n".join("|".join(map(str, row)) for row in rows)

    def _where(self, user: str, password: str) -> str:
        import psycopg.conninfo

        return psycopg.conninfo.make_conninfo(
            "",
            host=str(self.sockets),
            port=self.port,
            user=user,
            password=password,
            dbname="postgres",
        )

    def try_psql(self, sql: str, *, user: str, password: str) -> "subprocess.CompletedProcess[str]":
        """Run the real psql; the statement by standard input, the password by its environment."""
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-U", user]
        where = ["-h", str(self.sockets), "-p", str(self.port)]
        return subprocess.run(
            [*command, *where],
            input=sql,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "5"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def accepts(self, user: str, password: str) -> bool:
        """Whether a client can log in; anything but a refused password is a failure of the test."""
        import psycopg

        try:
            with psycopg.connect(self._where(user, password), connect_timeout=5) as client:
                return client.execute("select 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise AssertionError(str(error)) from error
            return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster of its own, which logs every statement."""
    user = "postgres" if os.geteuid() == 0 else None
    with _folder(user) as folder:
        data, port = folder / "data", free_port()
        initdb = ["initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [str(POSTGRES_BIN / initdb[0]), *initdb[1:], "--no-sync", "-D", str(data)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
            **_as_user(user),
        )
        ca_file = _certificates(data, user)
        (data / "pg_hba.conf").write_text(
            "local all postgres trust\nlocal all all scram-sha-256\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(_POSTGRES_SETTINGS.format(folder=folder, port=port))
        command: list[str | Path] = [POSTGRES_BIN / "postgres", "-D", data]
        is_ready = [str(POSTGRES_BIN / "pg_isready"), "-q", "-h", str(folder), "-p", str(port)]
        component = Component(
            command,
            folder,
            lambda: subprocess.run(is_ready, check=False).returncode == 0,
            user=user,
            stop_signal=signal.SIGINT,
        )
        component.start()
        try:
            yield Postgres(component, folder, port, ca_file)
        finally:
            component.stop()


_POSTGRES_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
log_statement = all
log_min_duration_statement = 0
log_min_error_statement = debug5
log_connections = on
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
fsync = off
full_page_writes = off
"""
# synchronous_commit stays on: without fsync a commit survives a killed server, though not a machine


def _certificates(data: Path, user: str | None) -> Path:
    authority = Authority(data)
    both = (data / "server.pem").read_bytes()
    for name in ("server.crt", "server.key"):
        path = data / name
        path.touch(mode=0o600)
        path.write_bytes(both)
        if user is not None:
            shutil.chown(path, user)
    return authority.ca_file


# ---- Redis ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Redis:
    """A Redis 7 whose users stand in an ACL file.

    Attributes:
        component: The process.
        socket: Its Unix socket.
        port: Of 127.0.0.1.
        acl_file: The users and the hashes of their passwords.
    """

    component: Component
    socket: Path
    port: int
    acl_file: Path

    def cli(self, *words: str, user: str, password: str) -> str:
        """What the real redis-cli prints; the password goes by its environment."""
        done = subprocess.run(
            ["redis-cli", "-s", str(self.socket), "--user", user, "--no-auth-warning", *words],
            env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": password},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return (done.stdout + done.stderr).strip()

    def accepts(self, user: str, password: str) -> bool:
        """Whether redis-cli can log in and work."""
        return self.cli("PING", user=user, password=password) == "PONG"


def acl_hash(password: str) -> str:
    """A password as an ACL file has it."""
    return "#" + sha256(password.encode()).hexdigest()


@contextmanager
def redis(*acl: str) -> Iterator[Redis]:
    """A Redis with the lines of an ACL file, such as `user default off` (the default)."""
    with _folder(None) as folder:
        acl_file, port = folder / "users.acl", free_port()
        acl_file.touch(mode=0o600)
        acl_file.write_text("\n".join(acl or ("user default off",)) + "\n")
        configuration = folder / "redis.conf"
        configuration.write_text(_REDIS_SETTINGS.format(folder=folder, port=port))
        where = folder / "redis.sock"
        component = Component(
            ["redis-server", configuration], folder, lambda: _line(where, b"PING\r\n") != b""
        )
        component.start()
        try:
            yield Redis(component, where, port, acl_file)
        finally:
            component.stop()


_REDIS_SETTINGS = """
bind 127.0.0.1
port {port}
unixsocket {folder}/redis.sock
unixsocketperm 700
aclfile {folder}/users.acl
dir {folder}
loglevel debug
save ""
appendonly no
"""


# ---- ZooKeeper -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Zookeeper:
    """A ZooKeeper 3.8 of one node; its super user is the tests' own.

    Attributes:
        component: The process.
        hosts: As a client wants it.
        tls_hosts: The same with TLS, if it was started so.
        ca_file: What a client must trust then.
    """

    component: Component
    hosts: str
    tls_hosts: str = ""
    ca_file: Path | None = None

    @contextmanager
    def client(self, *auth: str) -> "Iterator[Any]":
        """A client with some digest users (`name:password`); by default the super user."""
        from kazoo.client import KazooClient

        client = KazooClient(self.hosts, auth_data=[("digest", one) for one in auth or (_SUPER,)])
        client.start(10)
        try:
            yield client
        finally:
            client.stop()
            client.close()


_SUPER = "super:of the tests"


@contextmanager
def zookeeper(*, tls: bool = False) -> Iterator[Zookeeper]:
    """A server of its own; with TLS it takes plain connections all the same."""
    with _folder(None) as folder:
        port = free_port()
        configuration = folder / "zoo.cfg"
        configuration.write_text(_ZOOKEEPER_SETTINGS.format(folder=folder, port=port))
        secure_port, ca_file = (free_port(), Authority(folder).ca_file) if tls else (0, None)
        if tls:
            with configuration.open("a") as file:
                file.write(_ZOOKEEPER_TLS.format(folder=folder, port=secure_port))
        names = (*_JARS, *(_TLS_JARS if tls else ()))
        jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in names)
        digest = b64encode(sha1(_SUPER.encode()).digest()).decode()
        properties = [
            f"-Dzookeeper.DigestAuthenticationProvider.superDigest=super:{digest}",
            "-Djava.net.preferIPv4Stack=true",
            "-Dzookeeper.jmx.log4j.disable=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
        ]
        lean = ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        component = Component(
            ["java", *lean, *properties, "-cp", jars, main, configuration],
            folder,
            lambda: b"Mode:" in _line(port, b"srvr"),
        )
        component.start()
        try:
            yield Zookeeper(component, f"127.0.0.1:{port}", f"127.0.0.1:{secure_port}", ca_file)
        finally:
            component.kill()  # its data goes anyway


_ZOOKEEPER_SETTINGS = """
tickTime=500
dataDir={folder}/data
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr
"""


_ZOOKEEPER_TLS = """
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
secureClientPort={port}
secureClientPortAddress=127.0.0.1
ssl.keyStore.location={folder}/server.pem
ssl.trustStore.location={folder}/ca.pem
ssl.clientAuth=none
"""
_TLS_JARS = (
    *("netty-buffer", "netty-common", "netty-handler", "netty-transport", "netty-codec"),
    *("netty-resolver", "netty-transport-native-unix-common", "netty-transport-native-epoll"),
)


def _line(where: Path | int, question: bytes) -> bytes:
    """What a server answers at once; nothing if it does not listen."""
    family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
    address = ("127.0.0.1", where) if isinstance(where, int) else str(where)
    with suppress(OSError), socket.socket(family) as client:
        client.settimeout(2)
        client.connect(address)
        client.sendall(question)
        return client.recv(4096)
    return b""
