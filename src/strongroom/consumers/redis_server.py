"""Sessions with a server of Redis 6.2 or later; the only module that uses redis-py, and translates its exceptions.

A password is sent only in the command AUTH, which Redis neither logs nor lists.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

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

Ask = Callable[..., Any]
"""Sends a command over a logged-in connection, and returns the answer."""

FOUND, IGNORED = "found", "ignored"
_CONNECT_S = 2.0
_ANSWER_S = 3.0
_LATER = frozenset({"LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS"})
"""Error codes of a server that may answer at a later try."""
_HINTS = {
    "WRONGPASS": "the user may be off, or have another password: ACL GETUSER tells an administrator of Redis",
    "NOPERM": "give the user +acl +client +ping +info: docs/howto/consumers.md",
}
_HINT = "it needs an aclfile, and must be able to write it"


class RedisRefusedError(ConsumerRefusedError):
    """Redis answered with an error.

    Attributes:
        code: The first word of the error, such as `NOPERM`.
    """

    code = ""


class Place(NamedTuple):
    """The address of a server: a Unix socket, or host and port."""

    socket: str = ""
    host: str = ""
    port: int = 6379

    @property
    def text(self) -> str:
        """The address, for people."""
        return self.socket or f"{hosts.bracketed(self.host)}:{self.port}"


@dataclass(frozen=True)
class RedisSettings:
    """The address of Redis, and its other settings.

    Attributes:
        user: The ACL user.
        socket: The server's Unix socket; if set, host and port are ignored.
        host: The server's host.
        port: The server's port.
        ca_file: The certificate authority that must have issued the server's certificate; required for another machine.
        acl_file: The path of the server's ACL file, if it is on this machine, for the inventory.
        replicas: The other servers that must learn the password. `found`: every replica and cluster node that the
            server knows of; `host:port,…`: the listed ones; `ignored`: none.
    """

    user: str
    socket: str = ""
    host: str = ""
    port: int = 6379
    ca_file: str = ""
    acl_file: str = ""
    replicas: str = FOUND

    @property
    def place(self) -> Place:
        """The configured server, which is asked first."""
        return Place(self.socket, self.host, self.port)

    @property
    def where(self) -> str:
        """The address of the configured server, for people."""
        return self.place.text

    def check(self) -> None:
        """Refuse to send a password in the clear to another machine.

        Raises:
            UsageError: The address is another machine's, and no `ca_file` is set, so that TLS is off.
        """
        if not self.is_safe(self.place):
            raise UsageError(
                f"Redis at {self.where} would get the password unencrypted",
                hint="set redis.ca_file, the authority of its TLS certificate",
            )

    def is_safe(self, place: Place) -> bool:
        """Whether a password is sent to a place encrypted, or stays on this machine."""
        return bool(place.socket or self.ca_file or hosts.is_loopback(place.host))


class RedisServer:
    """A server, and the user that logs in to it."""

    def __init__(self, settings: RedisSettings, place: Place) -> None:
        """Keep the settings and the server's address; sends no request."""
        self._settings = settings
        self.place = place
        self.where = f"{place.text}, user {settings.user}"

    @contextmanager
    def session(self, passwords: Sequence[SecretBytes]) -> Iterator[Ask]:
        """A connection that is logged in, by the first of these passwords that is valid.

        Raises:
            ConsumerRefusedError: None of the passwords is valid.
        """
        for number, password in enumerate(passwords):
            with ExitStack() as stack:
                try:
                    ask = stack.enter_context(self._by(password, passwords))
                except ConsumerRefusedError:
                    if number == len(passwords) - 1:
                        raise
                    continue
                yield ask
                return

    @contextmanager
    def _by(self, password: SecretBytes, hidden: Sequence[SecretBytes]) -> Iterator[Ask]:
        if not self._settings.is_safe(self.place):
            raise ConsumerRefusedError(
                f"Redis at {self.place.text} would get the password unencrypted",
                hint="set redis.ca_file, or name its replicas by redis.replicas",
            )
        with self._client(password) as client:

            def ask(*words: object) -> Any:
                with self._translated(hidden):
                    return client.execute_command(*words)

            ask("PING")
            yield ask

    @contextmanager
    def _client(self, password: SecretBytes) -> Iterator[Any]:
        """A client that is logged in, whose connection is closed at the end.

        The library's own `with` only hands the connection back to its pool, which closes a connection when Python's
        collector comes to it: until then a session stays open at the server, logged in.
        """
        with self._translated((password,)):
            pool = _pool(self._settings, self.place, password)
        try:
            with self._translated((password,)):
                client = _logged_in(pool)
            yield client
        finally:
            pool.disconnect()

    @contextmanager
    def _translated(self, hidden: Sequence[SecretBytes]) -> Iterator[None]:
        exceptions = _exceptions()
        try:
            yield
        except (exceptions.RedisError, OSError) as error:
            raise self._error(error, hidden) from foreign_words.cause(error, *hidden)

    def _error(self, error: Exception, hidden: Sequence[SecretBytes]) -> ConsumerError:
        exceptions = _exceptions()
        code, said = _code(error), foreign_words.of(error, *hidden)
        words = said if said.startswith(code) else f"{code} {said}"
        if code in _LATER:
            return ConsumerUnavailableError(f"Redis cannot answer at {self.where} now: {words}")
        if code in {"WRONGPASS", "NOAUTH"} or isinstance(error, exceptions.AuthenticationError):
            what = "Redis refused the login"
        elif isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError)):
            return ConsumerUnavailableError(f"Redis does not answer at {self.where}: {words}")
        else:
            what = (
                "Redis lets the user do too little"
                if code == "NOPERM"
                else "Redis refused a command"
            )
        refused = RedisRefusedError(
            f"{what} at {self.where}: {words}", hint=_HINTS.get(code, _HINT)
        )
        refused.code = code
        return refused


def _code(error: Exception) -> str:
    """The first word of an error of Redis, which the library removes from errors that it knows."""
    # the class is looked up at run time, so no checker can narrow by it
    known = isinstance(error, _exceptions().RedisError)
    if known and (code := getattr(error, "status_code", "")):
        return foreign_words.of(code)
    word = foreign_words.of(error).partition(" ")[0]
    return word if word.isascii() and word.isalpha() and word.isupper() else ""


def _exceptions() -> Any:
    with needed("the client of Redis is not installed", "redis", ConsumerError):
        from redis import exceptions
    return exceptions


def _logged_in(pool: Any) -> Any:
    from redis import Redis

    return Redis(connection_pool=pool, single_connection_client=True)


def _pool(settings: RedisSettings, place: Place, password: SecretBytes) -> Any:
    """A pool for a single connection, with every option set, so that no default of the library counts."""
    from redis import ConnectionPool
    from redis.backoff import NoBackoff
    from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
    from redis.retry import Retry

    class Encrypted(SSLConnection):
        """A TLS connection with our own context; the library's would also trust authorities of the environment."""

        @override
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            return tls.context(settings.ca_file).wrap_socket(sock, server_hostname=place.host)

    options: dict[str, Any] = {
        "username": settings.user,
        "password": password.reveal().decode(),
        "socket_timeout": _ANSWER_S,
        "retry": Retry(NoBackoff(), 0),  # no retry here: the rotation repeats its steps itself
        "protocol": 2,
        "driver_info": None,  # sends no CLIENT SETINFO, for which a user may lack the right
    }
    if place.socket:
        kind: Any = UnixDomainSocketConnection
        return ConnectionPool(kind, path=place.socket, **options)
    kind = Encrypted if settings.ca_file else Connection
    options |= {"host": place.host, "port": place.port, "socket_connect_timeout": _CONNECT_S}
    return ConnectionPool(kind, **options)
