"""Settings by which a node reaches an ensemble of ZooKeeper, and how long each kind of call may take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.ids import new_id
from strongroom.system import hosts


class Limits(NamedTuple):
    """Seconds that calls may take; every call of the coordinator ends within one of them.

    Attributes:
        session_s: The time after which ZooKeeper gives up a session that it does not hear of, with its locks.
        read_s: The longest time of a read, and of finding a server that answers. Longer than the two thirds of a session
            that kazoo needs to see that a link is dead, so that a read survives one such link.
        put_s: The longest time of a put or of taking a free lock, with the search for its outcome. Before it a large value
            is stored, in which every 2 MiB may take as long as a read.
        poll_s: The time after which a watch looks by itself, whether it was called or not.
        connect_s: The longest time of one attempt to reach one server, TLS included.
    """

    session_s: float = 10.0
    read_s: float = 9.0
    put_s: float = 30.0
    poll_s: float = 15.0
    connect_s: float = 2.0


class Credentials(NamedTuple):
    """The passwords of the digest user: more than one only while it is changed.

    Attributes:
        valid: The passwords that every new node of the tree names in its ACL.
        shown: The passwords by which a session logs in, and so has the rights of each.
    """

    valid: tuple[SecretBytes, ...]
    shown: tuple[SecretBytes, ...]

    @classmethod
    def of(cls, password: SecretBytes) -> "Credentials":
        """The credentials of a user who has one password."""
        return cls((password,), (password,))


@dataclass(frozen=True)
class ZookeeperSettings:
    """An ensemble, the credentials for it, and the place of this installation in its tree.

    Attributes:
        hosts: `name:port,name:port`, the names as in the servers' certificates.
        ca_file: The authority of the servers' certificates; no other is trusted, nor any of the system.
        certificate_file: This client's certificate and its key, in PEM.
        root: The path of the installation's tree, such as `/strongroom/<installation id>`.
        user: The digest user that owns the tree.
        credentials: Returns the user's passwords as they are now; asked before each request, so it must be quick.
        node_id: This node, under which it is a member.
        holder: Words for the holder of our locks, shown to whoever waits for one.
        locks_dir: Folder of the locks of scope *node*.
        limits: The limits of the calls.
        boot_id: The id of this process, by which the member is known as this one.
    """

    hosts: str
    ca_file: Path
    certificate_file: Path
    root: str
    credentials: Callable[[], Credentials]
    node_id: str
    holder: str
    locks_dir: Path
    user: str = "tsm"
    limits: Limits = field(default_factory=Limits)
    boot_id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        """Refuse malformed hosts, and a root that is no path of ZooKeeper.

        Raises:
            UsageError: A host or the root is malformed.
        """
        try:
            hosts.endpoints(self.hosts)
        except hosts.HostError as error:
            raise UsageError(
                f"not hosts of ZooKeeper: {self.hosts[:80]!r}", hint=f"it should be {error}"
            ) from error
        parts = self.root.split("/")
        if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts) or not self.root.isascii():
            raise UsageError(f"not a path of ZooKeeper: {self.root[:80]!r}")


class Deadline:
    """The end of a call, some seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the end, never below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the end has come."""
        return self.left == 0.0
