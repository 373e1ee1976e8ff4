"""A user of Redis 6.2 or later, kept in its ACL file as SHA-256 hashes only (C-28); the one door to redis-py.

The user changes its own password: it needs `+acl +client +ping`, and an `aclfile`, since what stands in
redis.conf would be plain text. Redis keeps unsalted hashes, so only generated passwords go here.
Nothing of ours ever sends a password but in AUTH, which Redis neither logs nor lists.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.consumers.base import (
    Candidates,
    ConsumerDescription,
    Credential,
    SecretCopy,
    file_copy,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)

Ask = Callable[..., object]
"""Sends one command by a logged-in connection, and gives the answer."""

PARAMETER = "redis.password"
_CONNECT_S = 2.0
_ANSWER_S = 3.0
_PAUSE_MS = 1000
"""Longest that writers wait while sessions are ended; the pause is lifted as soon as they are."""


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is.

    Attributes:
        user: The ACL user.
        socket: Its Unix socket, which goes before host and port.
        host: Its host.
        port: Its port.
        ca_file: The authority of its TLS certificate; needed if the host is another machine.
        acl_file: Its ACL file, if this machine has it, for the inventory.
    """

    user: str
    socket: str = ""
    host: str = ""
    port: int = 6379
    ca_file: str = ""
    acl_file: str = ""

    @property
    def where(self) -> str:
        """The address, for people."""
        return self.socket or f"{self.host}:{self.port}"

    def check(self) -> None:
        """Refuse to send a password in the clear to another machine.

        Raises:
            UsageError: The address is another machine's, and there is no TLS.
        """
        if not (self.socket or self.ca_file or _is_loopback(self.host)):
            raise UsageError(
                f"Redis at {self.where} would get the password unencrypted",
                hint="set redis.ca_file, the authority of its TLS certificate",
            )


class RedisConsumer:
    """The ACL user that clients of Redis log in as, and its `redis.password`."""

    def __init__(self, settings: RedisSettings, candidates: Candidates) -> None:
        """Take the settings; nobody is asked.

        Raises:
            UsageError: They would send a password in the clear.
        """
        settings.check()
        self._settings = settings
        self._candidates = candidates

    def describe(self) -> ConsumerDescription:
        """One user, one password; two hashes may be valid at once."""
        where = f"{self._settings.where}, user {self._settings.user}"
        return ConsumerDescription(f"redis/{self._settings.user}", "redis", (PARAMETER,), where)

    def login(self, credential: Credential) -> None:
        """AUTH and PING."""
        with self._session(credential.only()):
            pass

    def admit(self, new: Credential, present: Credential) -> None:
        """Both hashes are valid, and stand in the ACL file."""
        with self._administered(new.only(), present.only()) as ask:
            # first of all: without a file the change would be gone with the process
            ask("ACL SAVE")
            self._set_hashes(ask, (present.only(), new.only()))

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Only the present hash is valid; every session of the user ends, since none tells how it logged in."""
        del old  # whatever else was valid goes with it
        with self._administered(present.only()) as ask:
            self._set_hashes(ask, (present.only(),))
            self._end_sessions(ask)

    def copies(self) -> tuple[SecretCopy, ...]:
        """The ACL file, if it is known."""
        if self._settings.acl_file:
            return (file_copy((PARAMETER,), Path(self._settings.acl_file), "hash"),)
        return (SecretCopy((PARAMETER,), f"the ACL file of {self._settings.where}", "hash"),)

    # ---- inside ----------------------------------------------------------------------------------

    def _set_hashes(self, ask: Ask, valid: tuple[SecretBytes, ...]) -> None:
        """Exactly these passwords are valid, by one atomic command; then the file says so."""
        hashes = ["#" + hashlib.sha256(one.reveal()).hexdigest() for one in valid]
        ask("ACL SETUSER", self._settings.user, "resetpass", *hashes)
        ask("ACL SAVE")

    def _end_sessions(self, ask: Ask) -> None:
        """End the user's other connections between two writes.

        CLIENT KILL drops an answer that was not sent yet. While writers are paused no write can be
        done and lose its answer, so what a client sees as cut was not done, and may be done again.
        """
        ask("CLIENT PAUSE", _PAUSE_MS, "WRITE")
        try:
            ask("CLIENT KILL", "USER", self._settings.user, "SKIPME", "yes")
        finally:
            ask("CLIENT UNPAUSE")

    @contextmanager
    def _administered(self, *first: SecretBytes) -> Iterator[Ask]:
        """A session by the first password that is valid: those given, then what else may be."""
        passwords = [*first, *self._candidates(PARAMETER)]
        for number, password in enumerate(passwords):
            with ExitStack() as stack:
                try:
                    ask = stack.enter_context(self._session(password))
                except ConsumerRefusedError:
                    if number == len(passwords) - 1:
                        raise
                    continue
                yield ask
                return

    @contextmanager
    def _session(self, password: SecretBytes) -> Iterator[Ask]:
        """A connection that is logged in."""
        with self._translated(), self._client(password) as client:
            client.execute_command("PING")
            yield client.execute_command

    def _client(self, password: SecretBytes) -> Any:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings = self._settings
        return Redis(
            host=settings.host,
            port=settings.port,
            unix_socket_path=settings.socket or None,
            username=settings.user,
            password=password.reveal().decode(),
            socket_connect_timeout=_CONNECT_S,
            socket_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # trying again is the rotation's business
            single_connection_client=True,
            protocol=2,
            driver_info=None,  # no CLIENT SETINFO: not every user may
            ssl=bool(settings.ca_file),
            ssl_ca_certs=settings.ca_file or None,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            from redis import exceptions
        except ImportError as error:
            raise ConsumerError(
                "the client of Redis is not installed", hint="pip install 'strongroom[redis]'"
            ) from error
        where = self.describe().where
        try:
            yield
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            raise ConsumerRefusedError(f"Redis refused the login at {where}") from error
        except exceptions.NoPermissionError as error:
            raise ConsumerRefusedError(
                f"Redis lets the user do too little at {where}",
                hint="give it +acl +client +ping: docs/howto/rotate-secrets.md",
            ) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            raise ConsumerUnavailableError(f"Redis does not answer at {where}") from error
        except exceptions.RedisError as error:
            raise ConsumerRefusedError(
                f"Redis refused a command at {where}",
                hint="it needs an aclfile, and must be able to write it",
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
