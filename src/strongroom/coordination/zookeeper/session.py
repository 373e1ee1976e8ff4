"""A session with ZooKeeper whose every request has an end; with `requests`, the only module here that knows kazoo.

kazoo keeps a request while it is not connected, for as long as it takes, and sends it then. So requests are sent only
over a connection that stands, and one without an answer in time counts as lost: it may still be carried out later.
Each request is asked for asynchronously, since kazoo's own waiting has no end. kazoo's log is kept here, because at the
level debug it shows passwords.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from strongroom import foreign_words
from strongroom.coordination.zookeeper.settings import Credentials, Deadline, ZookeeperSettings
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import CoordinationError
from strongroom.system.compat import override
from strongroom.system.extras import needed

with needed("the client of ZooKeeper is not installed", "zookeeper", CoordinationError):
    from kazoo import exceptions
    from kazoo.client import KazooClient
    from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
    from kazoo.protocol.states import KazooState, KeeperState
    from kazoo.retry import KazooRetry
    from kazoo.security import make_digest_acl

_LOST = (
    KazooTimeoutError,
    exceptions.ConnectionLoss,
    exceptions.ConnectionClosedError,
    exceptions.SessionExpiredError,
    exceptions.SessionMovedError,
    exceptions.OperationTimeoutError,
)
_ENDED = (KeeperState.CLOSED, KeeperState.AUTH_FAILED)
#: An outage must not make kazoo's pauses between its attempts longer and longer: it would come back late.
_PAUSES = {"max_tries": -1, "delay": 0.1, "backoff": 1.5, "max_delay": 1.0, "max_jitter": 0.2}
_MOMENT_S = 0.01
_HOWTO = "docs/howto/zookeeper.md"
_HINTS = {
    "NoAuth": f"see whether the user's password is the one of the tree: {_HOWTO}",
    "NoNode": f"the installation's tree is not there: see whether this is its ensemble: {_HOWTO}",
}

Request = Callable[[Any], Any]
"""Sends something by a client of kazoo, and returns its asynchronous result."""


class Lost(Exception):  # noqa: N818  an outcome, and never shown
    """No answer came to a request, which may have been carried out, or may be yet."""


class Session:
    """A connection to whichever server of the ensemble answers, and the session over it.

    Attributes:
        where: The hosts, for messages.
        number: A number that rises with the end of each session; what a session held is gone then.
    """

    def __init__(self, settings: ZookeeperSettings) -> None:
        """Keep the settings; nothing is sent before the first request."""
        self._settings = settings
        self._limits = settings.limits
        self._guard = threading.Lock()
        self._sending = threading.Lock()
        self._client: Any = None
        self._credentials = Credentials((), ())
        self._connected = threading.Event()
        self._heard = _Heard()
        self.where = settings.hosts
        self.number = 0

    def ask(self, request: Request, deadline: Deadline | None = None) -> Any:
        """The answer to a request that may be carried out more than once: a read.

        Args:
            request: The request.
            deadline: The end of the whole call; by default the limit of reads from now.

        Raises:
            CoordinationError: No server answers in time.
            KazooException: The answer is a refusal.
        """
        until = deadline or Deadline(self._limits.read_s)
        while True:
            try:
                return self.send(request, until)
            except Lost as error:
                if until.is_over:
                    self.fail(until, error)

    def send(self, request: Request, deadline: Deadline) -> Any:
        """The answer to a request that is sent once.

        Raises:
            CoordinationError: There is no connection; nothing was sent.
            Lost: The request was sent, and no answer came.
            KazooException: The answer is a refusal.
        """
        client = self.reach(deadline)
        with translated():
            with self._submitting(deadline):
                answer = request(client)
            return answer.get(timeout=deadline.left)

    def fail(self, deadline: Deadline, cause: BaseException | None = None) -> NoReturn:
        """End a call whose time is over.

        Raises:
            CoordinationError: Always; it names the hosts and what was heard of them last.
        """
        heard = self._heard.last
        said = f": {foreign_words.of(heard, *self._credentials.shown)}" if heard else ""
        raise CoordinationError(
            f"ZooKeeper at {self.where} does not answer within {deadline.seconds:g} s{said}",
            hint=f"see whether most of its servers run and can be reached: {_HOWTO}",
        ) from cause

    def close(self) -> None:
        """End the session, and with it every lock that it holds; the next request begins another."""
        with self._guard:
            client, self._client = self._client, None
            self._connected.clear()
            if client is not None:
                _end(client)
                self.number += 1

    def reach(self, deadline: Deadline) -> Any:
        """The client of kazoo, once it is connected.

        Raises:
            CoordinationError: No server answers in time.
        """
        with self._guard:
            if self._client is not None and self._client.client_state in _ENDED:
                # kazoo gave up, by an error of its own: it never comes back
                _end(self._client)
                self._client = None
            if self._client is None:
                self._client = self._started()
            client = self._client
        while not (self._connected.wait(deadline.left) and client.connected):
            if deadline.is_over:
                self.fail(deadline)
            # kazoo says that it lost a connection a moment after it has
            time.sleep(_MOMENT_S)
        self._follow_credentials(client, deadline)
        return client

    def _follow_credentials(self, client: Any, deadline: Deadline) -> None:
        """Have a session that stands log in by passwords that came since, and name them in what it creates.

        Locks and watches stay, and kazoo repeats a login for each connection. ZooKeeper answers a login at once, before
        the requests that came earlier, and kazoo gives each answer to the request that has waited longest. So a login is
        sent alone: else a read would get the answer of the login, and each one after it that of another.

        Raises:
            CoordinationError: The requests under way, or the login, are not answered in time.
        """
        if self._settings.credentials() == self._credentials:
            return
        with self._submitting(deadline):
            found = self._settings.credentials()
            new = [one for one in found.shown if one not in self._credentials.shown]
            # kazoo has no other way to tell whether a request is under way
            while new and (client._queue or client._pending):  # noqa: SLF001
                if deadline.is_over:
                    self.fail(deadline)
                time.sleep(_MOMENT_S)
            for one in new:
                try:
                    client.add_auth_async("digest", self._login(one)).get(timeout=deadline.left)
                except (*_LOST, exceptions.AuthFailedError) as error:
                    self.fail(deadline, error)
            client.default_acl = self._acl(found)
            self._credentials = found

    @contextmanager
    def _submitting(self, deadline: Deadline) -> Iterator[None]:
        """Keep other threads from sending anything until the end of the block, which waits for no answer to a request.

        Raises:
            CoordinationError: Another thread logs in, and is not done in time.
        """
        if not self._sending.acquire(timeout=max(deadline.left, 0.0)):
            self.fail(deadline)
        try:
            yield
        finally:
            self._sending.release()

    def _login(self, password: SecretBytes) -> str:
        return f"{self._settings.user}:{password.reveal().decode()}"

    def _acl(self, credentials: Credentials) -> list[Any]:
        user = self._settings.user
        return [make_digest_acl(user, one.reveal().decode(), all=True) for one in credentials.valid]

    def _started(self) -> Any:
        settings = self._settings
        self._credentials = found = settings.credentials()
        self._heard = _Heard()
        client = KazooClient(
            settings.hosts,
            timeout=self._limits.session_s,
            connection_retry=KazooRetry(**_PAUSES),
            handler=_Handler(tls_context(settings), self._limits.connect_s, self._heard),
            logger=self._heard.logger,
            use_ssl=True,
            auth_data=[("digest", self._login(one)) for one in found.shown],
            default_acl=self._acl(found),
        )
        connected = self._connected = threading.Event()

        def changed(state: Any) -> None:
            if state == KazooState.CONNECTED:
                connected.set()
                return
            connected.clear()
            if state == KazooState.LOST:
                self.number += 1

        client.add_listener(changed)
        client.start_async()
        return client


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of kazoo that mean a missing answer into `Lost`; refusals stay."""
    try:
        yield
    except _LOST as error:
        raise Lost(type(error).__name__) from error


@contextmanager
def refusals(where: str, user: str) -> Iterator[None]:
    """Turn the refusals of ZooKeeper that no caller expected into errors of ours.

    Raises:
        CoordinationError: ZooKeeper refused something.
    """
    try:
        yield
    except exceptions.KazooException as error:
        # the class is named for the code of ZooKeeper's protocol, such as NoAuth or NoNode
        kind = type(error).__name__.removesuffix("Error")
        raise CoordinationError(
            f"ZooKeeper at {where} refused {user!r}: {kind}", hint=_HINTS.get(kind, _HOWTO)
        ) from error
    except Lost as error:
        raise CoordinationError(
            f"ZooKeeper at {where} did not answer: {error}", hint=_HOWTO
        ) from error


def _end(client: Any) -> None:
    # a client that its own error ended has no socket left to say good-bye by
    with suppress(Exception):
        client.stop()
    with suppress(Exception):
        client.close()


def tls_context(settings: ZookeeperSettings) -> ssl.SSLContext:
    """TLS 1.3 that trusts one authority, and checks the server's name; of the environment nothing is read.

    Raises:
        CoordinationError: A file with certificates cannot be read.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        made.load_verify_locations(settings.ca_file)
        made.load_cert_chain(settings.certificate_file)
    except (OSError, ssl.SSLError) as error:
        raise CoordinationError(
            f"the certificates for ZooKeeper cannot be read ({settings.ca_file}, {settings.certificate_file}):"
            f" {foreign_words.of(error)}",
            hint=_HOWTO,
        ) from error
    return made


class _Heard(logging.Handler):
    """Keeps the last failure that kazoo logs and does not raise, by a logger that has no other handler."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        # warnings and errors only: below that level kazoo logs its requests, and so the passwords in them
        self.logger = logging.Logger("kazoo", logging.WARNING)  # noqa: LOG001  no other may hear it
        self.logger.addHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if not said.startswith("Transition"):
            self.last = said


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's threads, with connections and with waiting of our own."""

    def __init__(self, context: ssl.SSLContext, connect_s: float, heard: _Heard) -> None:
        super().__init__()
        self._context = context
        self._connect_s = connect_s
        self._heard = heard

    def create_connection(
        self, address: Any, hostname: str, timeout: float, **_options: Any
    ) -> socket.socket:
        """Connect over TLS. kazoo's own context would trust the system's authorities, too, and check no name."""
        limit = min(timeout, self._connect_s)
        try:
            made = socket.create_connection(address, limit)
        except OSError as error:
            self._heard.last = f"{hostname}:{address[1]}: {error}"
            raise
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._context.wrap_socket(made, server_hostname=hostname)
        except OSError as error:
            made.close()
            self._heard.last = f"{hostname}:{address[1]}: {error}"
            raise

    def select(
        self, readers: Any, writers: Any, errors: Any, timeout: float | None = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait for sockets; what TLS has read already makes no socket readable, and is there all the same."""
        pending = [one for one in readers if isinstance(one, ssl.SSLSocket) and one.pending()]
        if pending:
            return pending, [], []
        found: tuple[list[Any], list[Any], list[Any]] = super().select(
            readers, writers, errors, timeout
        )
        return found


__all__ = ["Lost", "Request", "Session", "exceptions", "refusals", "tls_context", "translated"]
