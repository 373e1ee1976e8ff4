"""Sessions with PostgreSQL 13 or later: logins as a client makes them, and changes that the server does not log.

Only this module and `consumers.postgres_roles` use psycopg. Every exception of psycopg is translated here, and every
wait is limited: a connection to a server that hangs is cut.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom import foreign_words
from strongroom.consumers.base import Candidates, UnprovenLoginError
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from strongroom.system import hosts, postgres_conninfo
from strongroom.system.cutting import cut_after
from strongroom.system.extras import needed

if TYPE_CHECKING:
    from psycopg import Connection, Error

ADMIN_PARAMETER = "pgsql.adminpassword"
_ANSWER_S = 3.0
_WORDS = 200
_READ = 4000
_OLDEST = 130000
_MAX_NAME_BYTES = 63
"""PostgreSQL silently truncates longer names, and would change another role."""
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
    # two settings of extensions; without the extension, PostgreSQL accepts them and they do nothing
    "pg_stat_statements.track_utility": "off",
    "pgaudit.log": "none",
    # not about logs: a proved change must survive a crash of the server (R6), or the new password would be lost with it
    "synchronous_commit": "on",
}
_TRANSIENT = (
    *("too many", "connection slots", "starting up", "shutting down", "recovery mode"),
    # words of the client library
    *("closed the connection", "could not", "timeout", "SSL"),
)
_NO = ("no pg_hba.conf entry", "pg_hba.conf rejects", "not permitted", "permission denied")
_NOT_ASKED = ("server did not complete authentication", "server requested")
"""Messages of the client library that mean: the server asked for no password, or not by SCRAM."""
_HASHED = "server requested a hashed password"
"""The server asked for MD5, since the role has an MD5 verifier; with a SCRAM verifier the server would ask for SCRAM."""
_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "XX")
_HOWTO = "docs/howto/consumers.md"


class NotAskedError(UnprovenLoginError):
    """The server asked for no password, or not by SCRAM.

    Attributes:
        by_hash: Whether the server asked for the password's MD5, since the role's present verifier is an MD5 hash.
    """

    by_hash = False


class PasswordRefusedError(ConsumerRefusedError):
    """The server refused the password and named no other reason, so a login with a new password may succeed."""


@dataclass(frozen=True)
class PostgresSettings:
    """The address of PostgreSQL, and the role that administers the others.

    Attributes:
        host: A host name or address; or the folder of the Unix socket, beginning with `/`.
        port: The server's port; also part of the socket's name.
        database: The database to log in to; roles belong to the whole server.
        admin: The role that may change the others.
        ca_file: The certificate authority that must have issued the server's certificate; empty for the system's.
    """

    host: str
    port: int = 5432
    database: str = "postgres"
    admin: str = "tblwgadmin"
    ca_file: str = ""

    @property
    def where(self) -> str:
        """The address, for people."""
        return f"{hosts.bracketed(self.host)}:{self.port}"

    def security(self) -> dict[str, str]:
        """The TLS parameters for libpq: a verified certificate for this host, unless the server is on this machine."""
        if self.host.startswith("/"):
            return {}
        if hosts.is_loopback(self.host) and not self.ca_file:
            return {"sslmode": "prefer"}
        return {"sslmode": "verify-full", "sslrootcert": self.ca_file or "system"}


def check_name(role: str) -> str:
    """A role's name that PostgreSQL takes as it is.

    Raises:
        UsageError: The name is empty or too long, or holds a NUL.
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
        ConsumerRefusedError: The password is empty, or holds a NUL.
    """
    if not password or b"\0" in password.reveal():
        raise ConsumerRefusedError("PostgreSQL knows no empty password, and none with a NUL")
    return password


class PostgresServer:
    """Sessions with one server; every exception of psycopg ends here."""

    def __init__(self, settings: PostgresSettings, candidates: Candidates) -> None:
        """Check and keep the settings; sends no request.

        Args:
            settings: The server's address and the administrator.
            candidates: The values that the administrator's password may have.

        Raises:
            UsageError: The administrator's name is not a valid name.
        """
        check_name(settings.admin)
        self.settings = settings
        self._candidates = candidates

    def login(self, role: str, password: SecretBytes, becomes: str = "") -> None:
        """Log in as a client does, and ask the server for the session's role.

        Args:
            role: The role to log in as.
            password: The password to log in with.
            becomes: The role whose rights the session must have after the login, if not the same role.

        Raises:
            ConsumerRefusedError: The password is not valid.
            UnprovenLoginError: The server did not ask for the password, or the session has another role.
        """
        with self._used(self._connect(role, password), [password]) as connection:
            row = connection.execute("SELECT current_user").fetchone()
        if row is None or row[0] != (becomes or role):
            other = UnprovenLoginError(
                f"PostgreSQL at {self.settings.where} logs {role!r} in with other rights",
                hint=f"ALTER ROLE {role} SET role: see {_HOWTO}",
            )
            other.is_let_in = True
            raise other

    def knock(self, role: str, password: SecretBytes, becomes: str = "") -> bool:
        """Try a login before any change, to find obstacles that a new password would not remove (findings K6).

        Args:
            role: The role to log in as.
            password: A password that may be valid.
            becomes: As in `login`.

        Returns:
            Whether the login succeeded; then a login with a new password will succeed, too. False if the password was
            refused: other obstacles must then be looked for in the catalogue.

        Raises:
            ConsumerRefusedError: The login is refused for another reason, such as pg_hba.conf or a missing right.
            UnprovenLoginError: The server does not ask for the password, so a login would prove nothing.
            ConsumerUnavailableError: The server does not answer.
        """
        try:
            self.login(role, password, becomes)
        except PasswordRefusedError:
            return False
        except NotAskedError as error:
            if error.by_hash:
                return False
            raise
        return True

    def administrators(self, first: Sequence[SecretBytes] = ()) -> list[SecretBytes]:
        """The passwords to try for a login as the administrator.

        Raises:
            ConsumerRefusedError: The administrator's password is not set.
        """
        passwords = [*first, *self._candidates(ADMIN_PARAMETER)]
        if not passwords:
            raise ConsumerRefusedError(f"{ADMIN_PARAMETER!r} is not set")
        return [one for n, one in enumerate(passwords) if one not in passwords[:n]]

    def administer(
        self,
        change: "Callable[[Connection], None]",
        first: Sequence[SecretBytes] = (),
        hidden: Sequence[SecretBytes] = (),
    ) -> None:
        """Make changes as the administrator, in a transaction that the server does not log.

        Args:
            change: Runs the statements.
            first: Passwords of the administrator to try before the known ones.
            hidden: Further secrets that are sent to the server and must not show in errors: passwords and verifiers;
                `change` may add to them.

        Raises:
            ConsumerRefusedError: No password is valid, or the administrator lacks a right.
        """
        tried = self.administrators(first)
        with self._admitted(tried, hidden) as connection, connection.transaction():
            _be_quiet(connection)
            change(connection)

    @contextmanager
    def _admitted(
        self, passwords: Sequence[SecretBytes], hidden: Sequence[SecretBytes]
    ) -> "Iterator[Connection]":
        """A session by the first of the administrator's passwords that is valid."""
        refusal: ConsumerError | None = None
        for password in passwords:
            try:
                connection = self._connect(self.settings.admin, password)
            except (ConsumerRefusedError, NotAskedError) as error:
                refusal = error
                continue
            with self._used(connection, passwords, hidden):
                if connection.info.server_version < _OLDEST:
                    raise ConsumerRefusedError(
                        f"PostgreSQL at {self.settings.where} is too old to keep a change quiet",
                        hint="it takes version 13",
                    )
                self._check_primary(connection)
                yield connection
            return
        if refusal is not None:
            raise refusal

    def _check_primary(self, connection: "Connection") -> None:
        """Refuse a standby, which takes no change; asked before, since a server reports the refusal in any language."""
        row = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
        if row is None or row[0]:
            raise ConsumerRefusedError(
                f"PostgreSQL at {self.settings.where} is a standby (pg_is_in_recovery), and takes no change",
                hint="set pgsql.host and pgsql.port to its primary: the standbys follow it",
            )

    # ---- sessions --------------------------------------------------------------------------------

    @contextmanager
    def _used(
        self, connection: "Connection", *secrets: Sequence[SecretBytes]
    ) -> "Iterator[Connection]":
        """Close the connection at the end, and cut it when the server stops answering."""
        psycopg = _psycopg()
        try:
            with _limited(connection):
                yield connection
        except psycopg.Error as error:
            # an error message with a position quotes the statement, and so the verifier that was computed in the
            # session
            hidden = [secret for some in secrets for secret in some]
            raise self._translated(error, hidden) from foreign_words.cause(error, *hidden)
        finally:
            connection.close()

    def _connect(self, role: str, password: SecretBytes) -> "Connection":
        psycopg = _psycopg()
        try:
            connection: Connection = psycopg.connect(
                **self._conninfo(role, password), autocommit=True
            )
        except psycopg.Error as error:
            cause = foreign_words.cause(error, password)
            raise self._login_error(role, error, password) from cause
        except UnicodeError:  # from the lookup of a host name that is malformed
            raise ConsumerUnavailableError(f"no such host: {self.settings.where}") from None
        return connection

    def _conninfo(self, role: str, password: SecretBytes) -> dict[str, str]:
        settings = self.settings
        known = [one.keyword.decode() for one in _psycopg().pq.Conninfo.get_defaults()]
        return postgres_conninfo.explicit(
            known,
            {
                "host": settings.host,
                "port": str(settings.port),
                "dbname": settings.database,
                "user": role,
                "password": check_password(password).reveal().decode("utf-8", "replace"),
                **settings.security(),
            },
        )

    def _login_error(self, role: str, error: "Error", password: SecretBytes) -> ConsumerError:
        said = _last_line(error)
        shown = foreign_words.of(said, password, longest=_WORDS)
        where = f"{role!r} at {self.settings.where}"
        if any(text in said for text in _NO):
            return ConsumerRefusedError(
                f"PostgreSQL does not let {where} in: {shown}",
                hint=f"what pg_hba.conf and the role must be like: {_HOWTO}",
            )
        if any(text in said for text in _NOT_ASKED):
            unproved = NotAskedError(
                f"a login of {where} proves nothing: {shown}",
                hint=f"pg_hba.conf must ask the role for scram-sha-256: {_HOWTO}",
            )
            unproved.by_hash = _HASHED in said
            return unproved
        # the server asked for the password and then refused: for the password, or for another reason?
        asked = error.pgconn is not None and error.pgconn.used_password
        known = "password authentication failed" in said
        if known or (asked and self._is_said_to_anybody(said, role)):
            return PasswordRefusedError(f"PostgreSQL refused the password of {where}: {shown}")
        return ConsumerUnavailableError(f"PostgreSQL does not let {where} in now: {shown}")

    def _is_said_to_anybody(self, said: str, role: str) -> bool:
        """Whether a password that is surely wrong gets the same message; the message itself may be in any language."""
        if any(text in said for text in _TRANSIENT):
            return False
        psycopg, again = _psycopg(), ""
        try:
            psycopg.connect(**self._conninfo(role, rng.new_password())).close()
        except psycopg.OperationalError as error:
            again = _last_line(error)
        return again == said

    def _translated(self, error: "Error", hidden: Sequence[SecretBytes]) -> ConsumerError:
        where = self.settings.where
        state = foreign_words.of(error.sqlstate) if error.sqlstate else None
        said = foreign_words.of(error.diag.message_primary or error, *hidden)
        if state is None or state[:2] in _TRANSIENT_CLASSES:
            coded = f" (SQLSTATE {state})" if state else ""
            return ConsumerUnavailableError(
                f"PostgreSQL at {where} gave no answer to a change{coded}: {said}"
            )
        if state == "42704":
            return ConsumerRefusedError(
                f"PostgreSQL at {where} does not know the role (SQLSTATE {state}): {said}",
                hint=f"create it as in {_HOWTO}",
            )
        reason = "lets the administrator do too little" if state == "42501" else "refused a change"
        return ConsumerRefusedError(
            f"PostgreSQL at {where} {reason} (SQLSTATE {state}): {said}",
            hint=f"what {self.settings.admin!r} must be allowed: {_HOWTO}",
        )


def _be_quiet(connection: "Connection") -> None:
    calls = ", ".join(["set_config(%s, %s, true)"] * len(_QUIET))
    values = [text for pair in _QUIET.items() for text in pair]
    connection.execute(f"SELECT {calls}".encode(), values)


def _psycopg() -> Any:
    with needed("the client of PostgreSQL is not installed", "postgres", ConsumerError):
        import psycopg
    return psycopg


@contextmanager
def _limited(connection: "Connection") -> Iterator[None]:
    """Cut the connection when the block takes too long, since the library itself would wait without end."""
    with (
        closing(socket.socket(fileno=os.dup(connection.fileno()))) as line,
        cut_after(line, _ANSWER_S),
    ):
        yield


def _last_line(error: "Error") -> str:
    """The server's message without its position in the statement; for decisions, never shown to a user as it is."""
    answer = foreign_words.of(error, longest=_READ)
    return answer.partition("Multiple connection attempts failed")[0].rpartition(" failed: ")[2]
