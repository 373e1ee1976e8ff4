"""Rotates the passwords of roles of PostgreSQL 13 or later.

A new password never travels to the server: libpq computes its SCRAM verifier here, and `ALTER ROLE` sets the verifier.
The statement is sent only after every setting by which the server would log statements is off in the session. Names and
verifiers are quoted by psycopg alone. A role has a single password, so clients reconnect with the new password; where
clients must not notice, two login roles alternate, and both become the documented role (`PostgresPair`).
"""

from typing import TYPE_CHECKING

from strongroom.consumers.base import (
    Candidates,
    ConsumerDescription,
    Credential,
    SecretCopy,
    UnprovenLoginError,
)
from strongroom.consumers.postgres_checks import check_can_log_in
from strongroom.consumers.postgres_server import (
    ADMIN_PARAMETER,
    PostgresServer,
    PostgresSettings,
    check_name,
    check_password,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerRefusedError, UsageError
from strongroom.service_users import postgres_verifiers

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

LOGIN_PARAMETER = "jdbc.username"
_DOCUMENTED = ("rails", "readonly", "tableau")


class PostgresRole:
    """A role with one password: its sessions go on, new ones need the new password."""

    def __init__(self, server: PostgresServer, role: str, parameter: str) -> None:
        """Remember the role's name and the parameter of its password; sends no request."""
        self._server = server
        self._role = check_name(role)
        self._parameter = parameter

    def describe(self) -> ConsumerDescription:
        """A single role, whose old and new password are never valid together."""
        where = f"{self._server.settings.where}, role {self._role}"
        return ConsumerDescription(
            f"postgresql/{self._role}", "postgresql", (self._parameter,), where, overlaps=False
        )

    def login(self, credential: Credential) -> None:
        """A login with the role's own rights."""
        self._server.login(self._role, credential.only())

    def admit(self, new: Credential, present: Credential) -> None:
        """Replace the role's verifier by the new one, after a check that the role could log in with it."""
        check_password(new.only())
        self._server.administrators(self._own(present, new))
        is_let_in = bool(present.only()) and self._server.knock(self._role, present.only())
        self._set(new, present, is_let_in=is_let_in)

    def take_back(self, new: Credential, present: Credential) -> None:
        """Set a new verifier of the present password, since the previous verifier cannot be read back."""
        self._set(present, new, is_let_in=True)

    def _set(self, valid: Credential, other: Credential, *, is_let_in: bool) -> None:
        setting = _Password(self._role, valid.only())

        def change(connection: "Connection") -> None:
            if not is_let_in:
                check_can_log_in(connection, self._role)
            setting.set(connection)

        self._server.administer(change, self._own(other, valid), setting.hidden)

    def _own(self, *credentials: Credential) -> tuple[SecretBytes, ...]:
        """The administrator's passwords, if the role is the administrator."""
        is_own = self._role == self._server.settings.admin
        return tuple(one.only() for one in credentials) if is_own else ()

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Do nothing: the new verifier has replaced the old one in `admit`."""
        del old, present

    def remarks(self) -> tuple[str, ...]:
        """None."""
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        """The verifier in the server's catalogue."""
        return (_catalogue_copy(self._server, self._parameter, self._role),)


class PostgresPair:
    """Two login roles that take turns, and become the documented role at login by themselves.

    An application that reads name and password from the configuration (`jdbc.username`, `jdbc.password`) always has a
    valid login. An application with the documented name fixed gets the new password with each `withdraw`.
    """

    def __init__(self, server: PostgresServer, role: str, parameter: str) -> None:
        """Remember the documented role's name and the parameter of its password; sends no request."""
        self._server = server
        self._role = check_name(role)
        self._parameter = parameter
        self._turns = (check_name(f"{role}_a"), check_name(f"{role}_b"))

    def describe(self) -> ConsumerDescription:
        """A pair of roles: the old and the new password are valid together, each with its own login name."""
        return ConsumerDescription(
            f"postgresql/{self._role}",
            "postgresql",
            (self._parameter,),
            f"{self._server.settings.where}, role {self._role}",
            alternates={LOGIN_PARAMETER: self._turns},
        )

    def login(self, credential: Credential) -> None:
        """Log in as the credential's login role, or else as the documented role; valid if either login is."""
        turn = self._turn(credential)
        try:
            self._server.login(turn, credential.only(), self._role)
        except (ConsumerRefusedError, UnprovenLoginError) as refusal:
            try:
                self._server.login(self._role, credential.only())
            except ConsumerRefusedError:
                raise refusal from None

    def admit(self, new: Credential, present: Credential) -> None:
        """Set the new verifier for the login role of the new credential; the other two roles stay as they are."""
        del present
        turn = self._turn(new)
        setting = _Password(turn, new.only(), login=turn != self._role)
        self._server.administrators()
        # a login that pg_hba.conf refuses now would be refused after the change, too
        self._server.knock(turn, new.only(), self._role)

        def change(connection: "Connection") -> None:
            if turn != self._role:
                _ensure_member(connection, turn, self._role)
            setting.set(connection)
            # a refusal here undoes the whole transaction
            check_can_log_in(connection, turn, self._role)

        self._server.administer(change, hidden=setting.hidden)

    def take_back(self, new: Credential, present: Credential) -> None:
        """Forbid logins as the role that was not proved; the role of the present credential was not changed."""
        turn = self._turn(new)
        if turn in {self._turn(present), self._role}:
            return

        def change(connection: "Connection") -> None:
            if _exists(connection, turn):
                _run(connection, _dismissal(turn))

        self._server.administer(change)

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Forbid logins as the role of the old credential, and give the documented role the present password."""
        gone = {*self._turns, self._turn(old)} - {self._turn(present), self._role}
        setting = _Password(self._role, present.only())

        def change(connection: "Connection") -> None:
            for role in sorted(gone):
                if _exists(connection, role):
                    _run(connection, _dismissal(role))
            setting.set(connection)

        self._server.administer(change, hidden=setting.hidden)

    def remarks(self) -> tuple[str, ...]:
        """None."""
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        """The verifiers of all three names."""
        names = (self._role, *self._turns)
        return tuple(_catalogue_copy(self._server, self._parameter, name) for name in names)

    def _turn(self, credential: Credential) -> str:
        """The login role of a credential; the documented role for a name that is not one of the pair."""
        turn = credential.logins.get(LOGIN_PARAMETER)
        return turn if turn in self._turns else self._role


def consumers(
    settings: PostgresSettings, candidates: Candidates
) -> "tuple[PostgresRole | PostgresPair, ...]":
    """The documented roles; the administrator's own password comes last.

    Raises:
        UsageError: The administrator's name is not a valid name, or is that of another documented role.
    """
    server = PostgresServer(settings, candidates)
    if settings.admin in _DOCUMENTED:
        raise UsageError(f"{settings.admin!r} has a password of its own, not {ADMIN_PARAMETER!r}")
    rails, readonly, tableau = _DOCUMENTED
    return (
        PostgresPair(server, rails, "jdbc.password"),
        PostgresRole(server, readonly, "pgsql.readonly_password"),
        PostgresRole(server, tableau, "pgsql.remote_password"),
        PostgresRole(server, settings.admin, ADMIN_PARAMETER),
    )


# ---- statements ----------------------------------------------------------------------------------


def _run(connection: "Connection", statement: "Composed") -> None:
    connection.execute(statement)


class _Password:
    """A role's password, set by a verifier that libpq makes in the session that sets it.

    Attributes:
        hidden: The password, and the verifier once it is computed; no error message may show them.
    """

    def __init__(self, role: str, password: SecretBytes, *, login: bool = False) -> None:
        self._password = check_password(password)
        self._role = role
        self._login = login
        self.hidden = [password]

    def set(self, connection: "Connection") -> None:
        """Compute the verifier, and run the statement that sets it."""
        made = postgres_verifiers.setting(connection, self._role, self._password, login=self._login)
        self.hidden.append(made.verifier)
        _run(connection, made.statement)


def _dismissal(role: str) -> "Composed":
    from psycopg import sql

    return sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(role))


def _ensure_member(connection: "Connection", turn: str, role: str) -> None:
    """Create the login role, or change it, so that each of its sessions becomes the documented role."""
    from psycopg import sql

    names = {"turn": sql.Identifier(turn), "role": sql.Identifier(role), "text": sql.Literal(role)}
    if not _exists(connection, turn):
        _run(connection, sql.SQL("CREATE ROLE {turn}").format(**names))
    _run(connection, sql.SQL("GRANT {role} TO {turn}").format(**names))
    _run(connection, sql.SQL("ALTER ROLE {turn} SET role TO {text}").format(**names))


def _exists(connection: "Connection", role: str) -> bool:
    found = connection.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [role])
    return found.fetchone() is not None


def _catalogue_copy(server: PostgresServer, parameter: str, role: str) -> SecretCopy:
    return SecretCopy((parameter,), f"{server.settings.where}: pg_authid of {role}", "verifier")
