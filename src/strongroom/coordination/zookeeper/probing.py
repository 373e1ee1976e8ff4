"""Proves the links to an ensemble one by one, and names the cause of what is not as it must be.

kazoo reports a wrong authority, a wrong name and a port without TLS alike, after its whole wait. So each server is
asked by a handshake of our own first.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from strongroom import foreign_words
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import (
    Lost,
    Session,
    exceptions,
    refusals,
    tls_context,
)
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import CoordinationError
from strongroom.ids import new_id
from strongroom.system import hosts
from strongroom.system.findings import Finding, bad
from strongroom.system.hosts import Endpoint

OLDEST: Final = (3, 8)
PLAIN_PORT: Final = 2181
SKEW_S: Final = 300.0
"""The difference of clocks from which on times of one machine mean nothing on another."""
_ANSWER_S: Final = 3.0
_MOST: Final = 64 << 10
_VERSION = re.compile(r"Zookeeper version: (\d+)\.(\d+)((?:\.[^,\s-]*)?)")
_HOWTO: Final = "docs/howto/zookeeper.md"
_ALL_RIGHTS: Final = 31

Now = Callable[[], float]


def probe(settings: ZookeeperSettings, now: Now = time.time) -> Iterator[Finding]:
    """Check every server, and then what the user may do; one finding after the other.

    Args:
        settings: The ensemble, and the installation's place in it.
        now: This machine's clock, in seconds since the epoch.
    """
    try:
        context = tls_context(settings)
    except CoordinationError as error:
        yield bad("zookeeper", "certificates", error.message, error.hint)
        return
    serving = 0
    for one in hosts.endpoints(settings.hosts):
        found = list(_probe_server(one, context))
        serving += all(each.is_ok for each in found)
        yield from found
    if serving:
        yield from _probe_user(settings, now)


def _probe_server(server: Endpoint, context: ssl.SSLContext) -> Iterator[Finding]:
    link = f"zookeeper {server.text}"
    try:
        socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield bad(
            link,
            "name",
            f"the name has no address: {foreign_words.of(error)}",
            "see the spelling, and the name service of this machine",
        )
        return
    yield Finding(link, "name", "the name has an address")
    try:
        said = asked(server, context)
    except ssl.SSLError as error:
        yield bad(link, "tls", foreign_words.of(error), _hint_of(error))
        return
    except OSError as error:
        yield bad(
            link,
            "tls",
            f"no connection: {foreign_words.of(error)}",
            "see whether the server runs, and what lies between the machines",
        )
        return
    yield Finding(link, "tls", "TLS 1.3, the certificate has this name")
    yield _version(link, said)
    yield _plain(link, server)


def _hint_of(error: ssl.SSLError) -> str:
    words = str(error).lower()
    if "hostname mismatch" in words or "ip address mismatch" in words:
        return "name the server as its certificate does, or give it another certificate"
    if "unable to get" in words or "self-signed" in words or "self signed" in words:
        return "--zookeeper-ca names another authority than that of the server's certificate"
    if "expired" in words:
        return "give the server a new certificate"
    if "certificate required" in words or "unknown ca" in words or "alert" in words:
        return "the server refuses this node's certificate: see --zookeeper-certificate"
    return f"see whether this is the server's port for TLS: {_HOWTO}"


def asked(server: Endpoint, context: ssl.SSLContext | None) -> bytes:
    """The answer of a server to `srvr`, over TLS or without."""
    said = b""
    with socket.create_connection((server.host, server.port), _ANSWER_S) as plain:
        link: socket.socket = plain
        if context is not None:
            link = context.wrap_socket(plain, server_hostname=server.host)
        with link:
            # with the line's end, a port of TLS sees at once that this is none
            link.sendall(b"srvr\n")
            until = Deadline(_ANSWER_S)
            while len(said) < _MOST and not until.is_over:
                link.settimeout(max(until.left, 0.01))
                data = link.recv(4096)
                if not data:
                    break
                said += data
    return said


def _version(link: str, said: bytes) -> Finding:
    text = said.decode("utf-8", "replace")
    number = version_in(text)
    if "not currently serving" in text:
        return bad(
            link,
            "version",
            "the server runs and is in no quorum",
            "see whether most of the servers run and reach each other",
        )
    if number is None:
        return bad(
            link,
            "version",
            "the server does not tell its version",
            f"4lw.commands.whitelist=srvr is missing in its configuration: {_HOWTO}",
        )
    major, minor = number.split(".")[:2]
    if (int(major), int(minor)) < OLDEST:
        return bad(link, "version", f"ZooKeeper {number} is too old", "3.8 or newer is needed")
    return Finding(link, "version", f"ZooKeeper {number}")


def version_in(text: str) -> str | None:
    """The version that an answer to `srvr` tells; None if it tells none."""
    found = _VERSION.search(text)
    return f"{found[1]}.{found[2]}{found[3]}" if found else None


def _plain(link: str, server: Endpoint) -> Finding:
    """The finding about ports without TLS, over which passwords would go as they are."""
    for port in dict.fromkeys((server.port, PLAIN_PORT)):
        answer = b""
        with suppress(OSError):
            answer = asked(Endpoint(server.host, port), None)
        if b"ookeeper" in answer or b"ZooKeeper" in answer:
            return bad(
                link,
                "plain port",
                f"port {port} answers without TLS",
                f"remove clientPort from the server's configuration: {_HOWTO}",
            )
    return Finding(link, "plain port", "no port answers without TLS")


def _probe_user(settings: ZookeeperSettings, now: Now) -> Iterator[Finding]:
    session, tree = Session(settings), Tree(settings.root)
    try:
        with refusals(session.where, settings.user):
            base = _deepest(session, tree)
            if base == settings.root:
                yield _owner(session, settings)
            difference = _tried(session, base, Deadline(settings.limits.read_s), now)
    except CoordinationError as error:
        yield bad("zookeeper", "rights", error.message, error.hint)
        return
    finally:
        session.close()
    state = "the tree is there" if base == settings.root else "the tree is not there yet"
    yield Finding(
        "zookeeper", "rights", f"{settings.user!r} may write below {base or '/'}; {state}"
    )
    yield clock("zookeeper", difference)


def clock(link: str, difference: float) -> Finding:
    """The finding about a difference of clocks, in seconds."""
    words = f"differs from this machine's by {abs(difference):.1f} s"
    if abs(difference) > SKEW_S:
        return bad(link, "clock", words, "set the clocks of both machines by NTP")
    return Finding(link, "clock", words)


def _deepest(session: Session, tree: Tree) -> str:
    """The deepest node on the way to the root that exists."""
    found = ""
    for path in tree.above:
        if requests.version(session, path) is None:
            break
        found = path
    return found


def _owner(session: Session, settings: ZookeeperSettings) -> Finding:
    acls, _ = session.ask(lambda client: client.get_acls_async(settings.root))
    own = all(
        one.id.scheme == "digest" and one.id.id.startswith(f"{settings.user}:") for one in acls
    )
    if own and any(one.perms == _ALL_RIGHTS for one in acls):
        return Finding("zookeeper", "owner", f"the tree belongs to {settings.user!r} alone")
    return bad(
        "zookeeper",
        "owner",
        f"others than {settings.user!r} have rights in {settings.root}",
        "set its ACL to that user alone, in the whole tree",
    )


def _tried(session: Session, base: str, deadline: Deadline, now: Now) -> float:
    """Create a node below this one, and remove it; by how many seconds ZooKeeper's clock is ahead of ours."""
    path = f"{base}/probe-{new_id()}"
    before = now()
    try:
        requests.transact(session, [Operation(Kind.CREATE_EPHEMERAL, path)], deadline)
    except Lost as lost:
        raise CoordinationError(f"ZooKeeper at {session.where} did not answer: {lost}") from lost
    except Refused as refused:
        raise refused.reason from refused
    made = requests.read(session, path, deadline)
    after = now()
    # ephemeral: the node goes with the session in any case
    with suppress(exceptions.KazooException, CoordinationError):
        requests.remove(session, path)
    if made is None:
        raise CoordinationError(f"ZooKeeper at {session.where} lost a node that it had created")
    seconds = made.age_ms / 1000
    return max(0.0, seconds - after) + min(0.0, seconds - before)
