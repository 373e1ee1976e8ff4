"""Roles of PostgreSQL 13 or later, and whose turn it is (requirements 2.4).

A password never travels to the server: its SCRAM verifier is made here, and set by `ALTER ROLE`. The server takes
that statement with every way of writing statements down switched off, or it does not get it. Names and verifiers
are quoted by psycopg alone. A role has one password, so its clients reconnect with the new one; where clients must
not notice, two login roles take turns and both become the documented role (`PostgresPair`).
"""

from typing import TYPE_CHECKING

from strongroom.consumers.base import Candidates, ConsumerDescription, Credential, SecretCopy
from strongroom.consumers.postgres_server import (
    ADMIN_PARAMETER,
    PostgresServer,
    PostgresSettings,
    check_name,
    check_password,
)
from strongroom.crypto import rng, scram
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerRefusedError, UsageError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

LOGIN_PARAMETER = "jdbc.username"
_DOCUMENTED = ("rails", "readonly", "tableau")


class PostgresRole:
    """A role with one password: its sessions go on, new ones need the new password."""

    def __init__(self, server: PostgresServer, role: str, parameter: str) -> None:
        """Take the role's name and the parameter of its password; nobody is asked."""
        self._server = server
        self._role = check_name(role)
        self._parameter = parameter

    def describe(self) -> ConsumerDescription:
        """One role; old and new do not overlap."""
        where = f"{self._server.settings.where}, role {self._role}"
        return ConsumerDescription(
            f"postgresql/{self._role}", "postgresql", (self._parameter,), where, overlaps=False
        )

    def login(self, credential: Credential) -> None:
        """A login with the role's own rights."""
        self._server.login(self._role, credential.only())

    def admit(self, new: Credential, present: Credential) -> None:
        """The new verifier takes the place of whatever was there."""
        own = self._role == self._server.settings.admin
        first = (present.only(), new.only()) if own else ()
        statement = _password_statement(self._role, new.only())
        self._server.administer(lambda connection: _run(connection, statement), first)

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Nothing is left to do: the old verifier went when the new one came."""
        del old, present

    def copies(self) -> tuple[SecretCopy, ...]:
        """The verifier in the server's catalogue."""
        return (_catalogue_copy(self._server, self._parameter, self._role),)


class PostgresPair:
    """Two login roles that take turns, and become the documented role at login by themselves.

    An application that is told the name and the password of the turn (`jdbc.username`, `jdbc.password`) works
    without knowing of it; so does one that only knows the documented name, from each withdrawal on.
    """

    def __init__(self, server: PostgresServer, role: str, parameter: str) -> None:
        """Take the documented role's name and the parameter of its password; nobody is asked."""
        self._server = server
        self._role = check_name(role)
        self._parameter = parameter
        self._turns = (check_name(f"{role}_a"), check_name(f"{role}_b"))

    def describe(self) -> ConsumerDescription:
        """Old and new overlap, each with a name of its own."""
        return ConsumerDescription(
            f"postgresql/{self._role}",
            "postgresql",
            (self._parameter,),
            f"{self._server.settings.where}, role {self._role}",
            alternates={LOGIN_PARAMETER: self._turns},
        )

    def login(self, credential: Credential) -> None:
        """A login by the credential's turn, or by the documented name: valid if either is."""
        turn = self._turn(credential)
        try:
            self._server.login(turn, credential.only(), self._role)
        except ConsumerRefusedError as refusal:
            try:
                self._server.login(self._role, credential.only())
            except ConsumerRefusedError:
                raise refusal from None

    def admit(self, new: Credential, present: Credential) -> None:
        """The role whose turn it is gets the new verifier; the other one and the documented name stay as they are."""
        del present
        turn = self._turn(new)
        statement = _password_statement(turn, new.only(), login=turn != self._role)

        def change(connection: "Connection") -> None:
            if turn != self._role:
                _ensure_member(connection, turn, self._role)
            _run(connection, statement)

        self._server.administer(change)

    def withdraw(self, old: Credential, present: Credential) -> None:
        """The former turn may not log in any more; the documented name takes the present password."""
        gone = {*self._turns, self._turn(old)} - {self._turn(present), self._role}
        statement = _password_statement(self._role, present.only())

        def change(connection: "Connection") -> None:
            for role in sorted(gone):
                if _exists(connection, role):
                    _run(connection, _dismissal(role))
            _run(connection, statement)

        self._server.administer(change)

    def copies(self) -> tuple[SecretCopy, ...]:
        """The verifiers of all three names."""
        names = (self._role, *self._turns)
        return tuple(_catalogue_copy(self._server, self._parameter, name) for name in names)

    def _turn(self, credential: Credential) -> str:
        """Whose credential it is; a name that is none of ours stands for the documented one."""
        turn = credential.logins.get(LOGIN_PARAMETER)
        return turn if turn in self._turns else self._role


def consumers(
    settings: PostgresSettings, candidates: Candidates
) -> "tuple[PostgresRole | PostgresPair, ...]":
    """The documented roles (requirements 2.4); the administrator's own password comes last.

    Raises:
        UsageError: The administrator's name is none, or another role's.
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


def _password_statement(role: str, password: SecretBytes, *, login: bool = False) -> "Composed":
    from psycopg import sql

    verifier = scram.verifier(check_password(password), salt=rng.random_bytes(scram.SALT_BYTES))
    text = "ALTER ROLE {} LOGIN PASSWORD {}" if login else "ALTER ROLE {} PASSWORD {}"
    literal = sql.Literal(verifier.reveal().decode("ascii"))
    return sql.SQL(text).format(sql.Identifier(role), literal)


def _dismissal(role: str) -> "Composed":
    from psycopg import sql

    return sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(role))


def _ensure_member(connection: "Connection", turn: str, role: str) -> None:
    """A login role that becomes the documented one with each login."""
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
