"""ZooKeeper 3.8, a real one, on a port of its own."""

import hashlib
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.components.process import Component, answer_of, own_folder
from tests.support.emulators import free_port
from tests.support.tls import Authority

_JARS = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple")


@dataclass(frozen=True)
class Zookeeper:
    """A ZooKeeper 3.8 of one node; its super user is the tests' own.

    Attributes:
        component: The process.
        hosts: As a client wants it.
        tls_hosts: The same with TLS, if it was started so.
        ca_file: What a client must trust then.
        digest: How it names its digest users.
    """

    component: Component
    hosts: str
    tls_hosts: str = ""
    ca_file: Path | None = None
    digest: str = "sha1"

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
def running_zookeeper(
    *options: str, tls: bool = False, digest: str = "sha1"
) -> Iterator[Zookeeper]:
    """A server of its own, with options of Java; with TLS it takes plain connections all the same."""
    with own_folder(None) as folder:
        port = free_port()
        configuration = folder / "zoo.cfg"
        configuration.write_text(_ZOOKEEPER_SETTINGS.format(folder=folder, port=port))
        secure_port, ca_file = (free_port(), Authority(folder).ca_file) if tls else (0, None)
        if tls:
            with configuration.open("a") as file:
                file.write(_ZOOKEEPER_TLS.format(folder=folder, port=secure_port))
        names = (*_JARS, *(_TLS_JARS if tls else ()))
        jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in names)
        hashed = b64encode(hashlib.new(digest, _SUPER.encode()).digest()).decode()
        properties = [
            f"-Dzookeeper.DigestAuthenticationProvider.superDigest=super:{hashed}",
            *options,
            "-Djava.net.preferIPv4Stack=true",
            "-Dzookeeper.jmx.log4j.disable=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
        ]
        lean = ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        component = Component(
            ["java", *lean, *properties, "-cp", jars, main, configuration],
            folder,
            lambda: b"Mode:" in answer_of(port, b"srvr") and (not tls or _listens(secure_port)),
        )
        with component.running(killed=True):  # its data goes anyway
            yield Zookeeper(
                component, f"127.0.0.1:{port}", f"127.0.0.1:{secure_port}", ca_file, digest
            )


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


def _listens(port: int) -> bool:
    """The secure port opens a moment after the plain one has answered."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
