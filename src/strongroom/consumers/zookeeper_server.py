"""Sessions with ZooKeeper, and requests that are under way together; the only module that uses kazoo.

Every exception of kazoo is translated here. The library's log records are kept here, too, since at the level debug it
logs passwords.
"""

import logging
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom import foreign_words
from strongroom.consumers import tls
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from strongroom.system import hosts
from strongroom.system.compat import override
from strongroom.system.extras import needed

if TYPE_CHECKING:
    from kazoo.client import KazooClient
    from kazoo.security import ACL

_ANSWER_S = 3.0
_WORDS = 3
"""The number of kazoo's log messages that are kept: the first tells the reason, the last that kazoo gave up."""
_HOWTO = "docs/howto/consumers.md"


@dataclass(frozen=True)
class ZookeeperSettings:
    """The address of ZooKeeper, and the znode of the users' subtrees.

    Attributes:
        hosts: `host:port,host:port`.
        root: The znode that has a child of each user's name.
        ca_file: The certificate authority that must have issued the servers' certificates; required for another
            machine.
    """

    hosts: str
    root: str = "/strongroom"
    ca_file: str = ""

    def check(self) -> None:
        """Refuse to send a password unencrypted to another machine, and a malformed root.

        Raises:
            UsageError: A host is another machine, and no `ca_file` is set, so that TLS is off; or hosts or root are
                malformed.
        """
        try:
            found = hosts.endpoints(self.hosts)
        except hosts.HostError as error:
            raise UsageError(
                f"not hosts of ZooKeeper: {self.hosts[:80]!r}", hint=f"it should be {error}"
            ) from error
        if not (self.ca_file or all(hosts.is_loopback(one.host) for one in found)):
            raise UsageError(
                f"ZooKeeper at {self.hosts} would get passwords unencrypted",
                hint="set zookeeper.ca_file, the authority of its TLS certificate",
            )
        parts = self.root.split("/")
        if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts) or "\0" in self.root:
            raise UsageError(f"not a znode: {self.root!r}", hint="for example /strongroom")


class ZookeeperServer:
    """An ensemble, and the digest user that logs in to it."""

    def __init__(self, settings: ZookeeperSettings, user: str) -> None:
        """Keep settings and user; sends no request."""
        self._settings = settings
        self._user = user
        self.where = settings.hosts

    @contextmanager
    def session(self, *passwords: SecretBytes) -> "Iterator[KazooClient]":
        """A client that is logged in with all of the passwords, and so has the rights of each of them."""
        kazoo_client = _kazoo()
        heard = _Heard()
        settings = self._settings
        distinct = [one for n, one in enumerate(passwords) if one not in passwords[:n]]
        client = kazoo_client(
            settings.hosts,
            timeout=_ANSWER_S,
            # no retry here: the rotation repeats its steps itself
            connection_retry={"max_tries": 1},
            logger=heard.logger,
            handler=_handler(settings.ca_file),
            auth_data=[("digest", f"{self._user}:{one.reveal().decode()}") for one in distinct],
            use_ssl=bool(settings.ca_file),
            check_hostname=bool(settings.ca_file),
        )
        try:
            with self.translated(heard.told, *passwords):
                client.start(_ANSWER_S)
                yield client
        finally:
            client.stop()
            client.close()

    @contextmanager
    def translated(self, heard: "Sequence[str]" = (), *hidden: SecretBytes) -> Iterator[None]:
        """Turn kazoo's exceptions into ours, with what ZooKeeper or kazoo said."""
        from kazoo import exceptions
        from kazoo.handlers.threading import KazooTimeoutError

        lost = (
            exceptions.ConnectionLoss,
            exceptions.ConnectionClosedError,
            exceptions.OperationTimeoutError,
            exceptions.SessionExpiredError,
        )
        try:
            yield
        except (KazooTimeoutError, *lost, OSError) as error:
            said = foreign_words.of("; ".join(heard) or error, *hidden)
            raise ConsumerUnavailableError(
                f"ZooKeeper does not answer at {self.where}: {said}"
            ) from foreign_words.cause(error, *hidden)
        except exceptions.KazooException as error:
            cause = foreign_words.cause(error, *hidden)
            raise self._refusal(error, hidden) from cause

    def _refusal(self, error: Exception, hidden: Sequence[SecretBytes]) -> ConsumerRefusedError:
        from kazoo import exceptions

        # the class is named for the code of ZooKeeper's protocol, such as NoAuth, InvalidACL or NotReadOnlyCall
        kind = type(error).__name__.removesuffix("Error")
        words = foreign_words.of(str(error) or kind, *hidden)
        said = kind if words == kind else f"{kind} ({words})"
        if isinstance(error, exceptions.NoAuthError):
            return ConsumerRefusedError(
                f"ZooKeeper at {self.where} lets {self._user!r} do too little: {said}",
                hint="its ACLs must give the user all rights on its subtree, by digests as this server"
                f" computes them (digestAlg): {_HOWTO}",
            )
        return ConsumerRefusedError(f"ZooKeeper refused a request at {self.where}: {said}")

    def acl(self, client: "KazooClient", path: str) -> "Sequence[ACL]":
        """The ACL of a znode; its digests are shown only to a user who administers the znode.

        Raises:
            ConsumerRefusedError: The znode does not exist.
        """
        found = answer(client.get_acls_async(path))
        if found is None:
            raise ConsumerRefusedError(
                f"ZooKeeper at {self.where} has no znode {path}",
                hint="a rotation of the parameter creates it",
            )
        return tuple(found[0])


def answer(result: Any, *expected: type[Exception]) -> Any:
    """The answer to a request; None if the znode does not exist, or for an expected refusal."""
    from kazoo.exceptions import NoNodeError

    try:
        return result.get(timeout=_ANSWER_S)
    except (NoNodeError, *expected):
        return None


def answers(results: Iterable[Any], *expected: type[Exception]) -> list[Any]:
    """The answers to requests that are under way together."""
    return [answer(result, *expected) for result in results]


def create_together(client: "KazooClient", created: "Mapping[str, Sequence[ACL]]") -> bool:
    """Create empty znodes, all of them or none; False if somebody else created one of them meanwhile.

    Raises:
        KazooException: The znodes were not created, for the reason in the exception.
    """
    from kazoo.exceptions import NodeExistsError, RolledBackError, RuntimeInconsistency

    transaction = client.transaction()
    for path, acl in created.items():
        transaction.create(path, b"", acl=list(acl))
    told = answer(transaction.commit_async())
    # the operations before and after the failed one have errors of their own, which say nothing about the reason
    beside = (RolledBackError, RuntimeInconsistency)
    for one in told:
        if isinstance(one, NodeExistsError):
            return False
        if isinstance(one, Exception) and not isinstance(one, beside):
            raise one
    return True


class _Heard(logging.Handler):
    """Collects the failures that kazoo logs and does not raise, from a logger that has no other handler."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        # warnings and errors only: below that level kazoo logs its requests, and so the passwords in them
        self.logger = logging.Logger("kazoo", logging.WARNING)  # noqa: LOG001  no other may hear it
        self.logger.addHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said not in self.told and len(self.told) < _WORDS:
            self.told.append(said)


def _handler(ca_file: str) -> Any:
    """A handler that connects over TLS with our own context; kazoo's would also trust authorities of the environment."""
    from kazoo.handlers.threading import SequentialThreadingHandler

    class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
        def create_connection(
            self, address: Any, hostname: str, timeout: float, **options: Any
        ) -> socket.socket:
            made = socket.create_connection(address, timeout)
            try:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if options["use_ssl"]:
                    return tls.context(ca_file).wrap_socket(made, server_hostname=hostname)
            except OSError:
                made.close()
                raise
            return made

    return Handler()


def _kazoo() -> Any:
    with needed("the client of ZooKeeper is not installed", "zookeeper", ConsumerError):
        from kazoo.client import KazooClient
    return KazooClient
