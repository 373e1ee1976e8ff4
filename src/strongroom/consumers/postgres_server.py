"""Sessions with PostgreSQL 13 or later: logins as a client makes them, and changes that nothing writes down.

With `consumers.postgres`, which knows the roles, the one door to psycopg. Every exception of psycopg ends here, and
so does every wait: a hung server is cut off.
"""

import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom.consumers.base import Candidates
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from psycopg import Connection, Error

ADMIN_PARAMETER = "pgsql.adminpassword"
_CONNECT_S = 3
_ANSWER_S = 3.0
_OLDEST = 130000
_MAX_NAME_BYTES = 63
"""PostgreSQL cuts longer names without a word, and would change another role."""
_QUIET = {
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    # pg_stat_activity, and what is logged about a process that crashed
    "track_activities": "off",
    # not loaded, these two are names without a meaning
    "pg_stat_statements.track_utility": "off",
    "pgaudit.log": "none",
    # not about logs: a change that was proved must survive a crash of the server (R6)
    "synchronous_commit": "on",
}
_TRANSIENT = (
    *("too many", "connection slots", "starting up", "shutting down", "recovery mode"),
    # words of the client library
    *("closed the connection", "could not", "timeout", "SSL"),
)
_NO = (
    *("no pg_hba.conf entry", "not permitted", "permission denied"),
    # words of the client library: the server asked for no password, or not by SCRAM
    *("server did not complete authentication", "server requested"),
)
_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "XX")
_HOWTO = "docs/howto/consumers.md"


@dataclass(frozen=True)
class PostgresSettings:
    """Where PostgreSQL is, and who administers its roles.

    Attributes:
        host: A host name or address; or the folder of the Unix socket, beginning with `/`.
        port: Its port; also part of the socket's name.
        database: Where to log in; roles are the whole server's.
        admin: The role that may change the others.
        ca_file: The authority of the TLS certificate; without it, the system's.
    """

    host: str
    port: int = 5432
    database: str = "postgres"
    admin: str = "tblwgadmin"
    ca_file: str = ""

    @property
    def where(self) -> str:
        """The address, for people."""
        return f"{self.host}:{self.port}"

    def security(self) -> dict[str, str]:
        """What libpq is to insist on: TLS with a certificate for this host, unless nothing leaves the machine."""
        if self.host.startswith("/"):
            return {}
        if _is_loopback(self.host) and not self.ca_file:
            return {"sslmode": "prefer"}
        return {"sslmode": "verify-full", "sslrootcert": self.ca_file or "system"}


def check_name(role: str) -> str:
    """A role's name that PostgreSQL takes as it is.

    Raises:
        UsageError: It is empty, too long, or holds a NUL.
    """
    size = len(role.encode())
    if "\0" in role or not 0 < size <= _MAX_NAME_BYTES:
        raise UsageError(
            f"not the name of a PostgreSQL role: {role[:80]!r}",
            hint=f"1 to {_MAX_NAME_BYTES} bytes, no NUL",
        )
    return role


def check_password(password: SecretBytes) -> SecretBytes:
    """A password that PostgreSQL can have.

    Raises:
        ConsumerRefusedError: It is empty, or holds a NUL.
    """
    if not password or b"\0" in password.reveal():
        raise ConsumerRefusedError("PostgreSQL knows no empty password, and none with a NUL")
    return password


class PostgresServer:
    """Sessions with one server; every exception of psycopg ends here."""

    def __init__(self, settings: PostgresSettings, candidates: Candidates) -> None:
        """Take the settings; nobody is asked.

        Args:
            settings: Where it is.
            candidates: The values that the administrator's password may have.

        Raises:
            UsageError: The administrator's name is none.
        """
        check_name(settings.admin)
        self.settings = settings
        self._candidates = candidates

    def login(self, role: str, password: SecretBytes, becomes: str = "") -> None:
        """Log in as a client does, and ask who one is.

        Args:
            role: Who logs in.
            password: By what.
            becomes: Whose rights the session must have then, if not the role's own.

        Raises:
            ConsumerRefusedError: The password is not valid, or the session is somebody else's.
        """
        with self._used(self._connect(role, password)) as connection:
            row = connection.execute("SELECT current_user").fetchone()
        if row is None or row[0] != (becomes or role):
            raise ConsumerRefusedError(
                f"PostgreSQL at {self.settings.where} logs {role!r} in with other rights",
                hint=f"ALTER ROLE {role} SET role: see {_HOWTO}",
            )

    def administer(
        self, change: "Callable[[Connection], None]", first: Sequence[SecretBytes] = ()
    ) -> None:
        """Make changes in one transaction that nothing writes down, as the administrator.

        Args:
            change: Runs the statements.
            first: Passwords of the administrator to try before those that are known.

        Raises:
            ConsumerRefusedError: No password is valid, or the administrator may not do it.
        """
        passwords = [*first, *self._candidates(ADMIN_PARAMETER)]
        tried = [one for n, one in enumerate(passwords) if one not in passwords[:n]]
        with self._admitted(tried) as connection, connection.transaction():
            _be_quiet(connection)
            change(connection)

    @contextmanager
    def _admitted(self, passwords: Sequence[SecretBytes]) -> "Iterator[Connection]":
        """A session by the first of the administrator's passwords that is valid."""
        refusal = ConsumerRefusedError(f"{ADMIN_PARAMETER!r} is not set")
        for password in passwords:
            try:
                connection = self._connect(self.settings.admin, password, primary=True)
            except ConsumerRefusedError as error:
                refusal = error
                continue
            with self._used(connection):
                if connection.info.server_version < _OLDEST:
                    raise ConsumerRefusedError(
                        f"PostgreSQL at {self.settings.where} is too old to keep a change quiet",
                        hint="it takes version 13",
                    )
                yield connection
            return
        raise refusal

    # ---- sessions --------------------------------------------------------------------------------

    @contextmanager
    def _used(self, connection: "Connection") -> "Iterator[Connection]":
        """Close a connection in the end, and cut it when its server falls silent."""
        psycopg = _psycopg()
        try:
            with _limited(connection):
                yield connection
        except psycopg.Error as error:
            # a message with a position quotes the statement, and with it a verifier
            cause = None if error.diag.statement_position else error
            raise self._translated(error) from cause
        finally:
            connection.close()

    def _connect(self, role: str, password: SecretBytes, *, primary: bool = False) -> "Connection":
        psycopg = _psycopg()
        try:
            connection: Connection = psycopg.connect(
                **self._conninfo(role, password),
                target_session_attrs="primary" if primary else "any",
                autocommit=True,
            )
        except psycopg.Error as error:
            raise self._login_error(role, error) from error
        except UnicodeError as error:  # the name service's, for a host that is no name
            raise ConsumerUnavailableError(f"no such host: {self.settings.where}") from error
        return connection

    def _conninfo(self, role: str, password: SecretBytes) -> dict[str, Any]:
        settings = self.settings
        return {
            "host": settings.host,
            "port": settings.port,
            "dbname": settings.database,
            "user": role,
            "password": check_password(password).reveal().decode("utf-8", "replace"),
            "connect_timeout": _CONNECT_S,
            "application_name": "strongroom",
            "gssencmode": "disable",
            # whoever poses as the server is not told a password, and `trust` proves nothing
            "require_auth": "scram-sha-256",
            **settings.security(),
        }

    def _login_error(self, role: str, error: "Error") -> ConsumerError:
        said = _last_line(error)
        where = f"{role!r} at {self.settings.where}"
        if any(text in said for text in _NO):
            return ConsumerRefusedError(
                f"PostgreSQL does not let {where} in: {said}",
                hint=f"pg_hba.conf must ask the role for scram-sha-256: {_HOWTO}",
            )
        # it asked for the password, and then said no: to the password, or for another reason?
        asked = error.pgconn is not None and error.pgconn.used_password
        known = "password authentication failed" in said
        if known or (asked and self._is_said_to_anybody(said, role)):
            return ConsumerRefusedError(f"PostgreSQL refused the password of {where}")
        return ConsumerUnavailableError(f"PostgreSQL does not let {where} in now: {said}")

    def _is_said_to_anybody(self, said: str, role: str) -> bool:
        """Whether a surely wrong password gets the same words: servers say it in any language."""
        if any(text in said for text in _TRANSIENT):
            return False
        psycopg, again = _psycopg(), ""
        try:
            psycopg.connect(**self._conninfo(role, rng.new_password())).close()
        except psycopg.OperationalError as error:
            again = _last_line(error)
        return again == said

    def _translated(self, error: "Error") -> ConsumerError:
        where, state = self.settings.where, error.sqlstate
        if state is None or state[:2] in _TRANSIENT_CLASSES:
            return ConsumerUnavailableError(f"PostgreSQL at {where} gave no answer to a change")
        if state == "42704":
            return ConsumerRefusedError(
                f"PostgreSQL at {where} does not know the role",
                hint=f"create it as in {_HOWTO}",
            )
        reason = "lets the administrator do too little" if state == "42501" else "refused a change"
        return ConsumerRefusedError(
            f"PostgreSQL at {where} {reason} (SQLSTATE {state})",
            hint=f"what {self.settings.admin!r} must be allowed: {_HOWTO}",
        )


def _be_quiet(connection: "Connection") -> None:
    calls = ", ".join(["set_config(%s, %s, true)"] * len(_QUIET))
    values = [text for pair in _QUIET.items() for text in pair]
    connection.execute(f"SELECT {calls}", values)


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise ConsumerError(
            "the client of PostgreSQL is not installed", hint="pip install 'strongroom[postgres]'"
        ) from error
    return psycopg


@contextmanager
def _limited(connection: "Connection") -> Iterator[None]:
    """Cut the connection when the block takes too long: the library itself would wait for ever."""
    with closing(socket.socket(fileno=os.dup(connection.fileno()))) as line:

        def cut() -> None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_ANSWER_S, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _last_line(error: "Error") -> str:
    """What the server said, without the place."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0].rpartition(" failed: ")[2][:200]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
