"""PostgreSQL with the documented roles, and libpq as the eye."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import psycopg

from strongroom.consumers.base import Consumer, Credential
from strongroom.consumers.postgres_roles import (
    LOGIN_PARAMETER,
    PostgresPair,
    PostgresRole,
)
from strongroom.consumers.postgres_server import PostgresServer, PostgresSettings
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.system.compat import override
from tests.contract.consumers.harness import Address, ServerLab
from tests.support.components.postgres import Postgres, running_postgres

B = TypeVar("B", bound="PostgresLab")
ADMIN = "tblwgadmin"
TURNS = ("rails_a", "rails_b")
#: Written by the tests' own statements only while the server keeps quiet.
_QUIET = (
    "set log_statement = none; set log_min_duration_statement = -1;"
    " set log_min_error_statement = panic; set pg_stat_statements.track = none;"
    " set track_activities = off;"
)


@dataclass
class PostgresLab(ServerLab[Postgres]):
    """One role; the administrator's password is another's."""

    admin: SecretBytes = field(default_factory=rng.new_password)
    role: ClassVar[str] = "readonly"
    parameter: ClassVar[str] = "pgsql.readonly_password"
    ends_sessions = False
    silent = frozenset({"withdraw"})  # one password: the old one went when the new one came
    stores = frozenset({"base", "global", "pg_wal"})  # its verifiers lie there

    @property
    @override
    def address(self) -> Address:
        return f"{self.server.sockets}/.s.PGSQL.{self.server.port}"

    @override
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> Consumer:
        host, port = str(self.server.sockets), self.server.port
        if isinstance(address, tuple):
            host, port = address

        def candidates(_: str) -> tuple[SecretBytes, ...]:
            return (rng.new_password(), *(() if wrong_administrator else self.known()))

        return self.built(PostgresServer(PostgresSettings(host, port), candidates))

    def built(self, server: PostgresServer) -> Consumer:
        return PostgresRole(server, self.role, self.parameter)

    def known(self) -> tuple[SecretBytes, ...]:
        """The administrator's password, as journal and configuration would give it."""
        return (self.admin,)

    def set_password(self, role: str, password: str) -> None:
        self.server.run(_QUIET, f"alter role {role} login password '{password}'")

    @override
    def reset(self) -> Credential:
        self.server.component.ensure_running()
        present = Credential({self.parameter: rng.new_password()})
        self.set_password(self.role, _text(present.only()))
        return present

    @override
    def fresh(self, present: Credential) -> Credential:
        return Credential({self.parameter: rng.new_password()})

    def user(self, credential: Credential) -> str:
        return self.role

    @property
    def to_prove(self) -> str:
        """The role whose login proves the next password."""
        return self.role

    @override
    def accepts(self, credential: Credential) -> bool:
        return self.server.accepts(self.user(credential), _text(credential.only()))

    @override
    @contextmanager
    def session(self, credential: Credential) -> Iterator[Callable[[], bool]]:
        client = psycopg.connect(
            host=str(self.server.sockets),
            port=self.server.port,
            user=self.user(credential),
            password=_text(credential.only()),
            dbname="postgres",
            autocommit=True,
        )

        def works() -> bool:
            try:
                return client.execute("select 1").fetchone() == (1,)
            except psycopg.OperationalError:
                return False

        with client:
            yield works

    @override
    def refuse(self, undo: ExitStack) -> None:
        undo.callback(self.server.run, f"alter role {ADMIN} superuser")
        self.server.run(f"alter role {ADMIN} nosuperuser")

    @override
    def traces(self) -> Iterable[bytes]:
        yield from super().traces()
        for view in ("pg_stat_statements", "pg_stat_activity", "pg_settings"):
            yield self.server.run(f"select * from {view}").encode()

    @override
    def forbidden(self, credential: Credential) -> list[bytes]:
        """Verifiers too: whoever has one can try passwords, and pose as the server."""
        return [*super().forbidden(credential), b"SCRAM-SHA-256$"]


@dataclass
class PostgresPairLab(PostgresLab):
    """The application's role, whose two logins take turns."""

    role = "rails"
    parameter = "jdbc.password"
    silent = frozenset()

    @override
    def built(self, server: PostgresServer) -> Consumer:
        return PostgresPair(server, self.role, self.parameter)

    @override
    def reset(self) -> Credential:
        self.server.component.ensure_running()
        self.server.run("drop role if exists rails_a, rails_b")
        one = super().reset()
        present = Credential(one.values, {LOGIN_PARAMETER: TURNS[0]})
        self.server.run("create role rails_a in role rails; alter role rails_a set role = rails")
        self.set_password(TURNS[0], _text(one.only()))
        return present

    @override
    def fresh(self, present: Credential) -> Credential:
        turn = next(one for one in TURNS if one != present.logins[LOGIN_PARAMETER])
        return Credential(super().fresh(present).values, {LOGIN_PARAMETER: turn})

    @override
    def user(self, credential: Credential) -> str:
        return credential.logins[LOGIN_PARAMETER]

    @property
    @override
    def to_prove(self) -> str:
        return TURNS[1]


@dataclass
class PostgresAdminLab(PostgresLab):
    """The administrator changes its own password."""

    role = ADMIN
    parameter = "pgsql.adminpassword"
    own_administrator = True
    chosen: list[SecretBytes] = field(default_factory=list)

    @override
    def known(self) -> tuple[SecretBytes, ...]:
        """The journal has what was chosen: an abandoned one may be the one that counts."""
        return tuple(self.chosen[-2:])

    @override
    def fresh(self, present: Credential) -> Credential:
        self.chosen.append(rng.new_password())
        return Credential({self.parameter: self.chosen[-1]})


def _text(value: SecretBytes) -> str:
    return value.reveal().decode()


@contextmanager
def _server() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.run(
            f"create role {ADMIN} superuser login; create role rails login;"
            " create role readonly login; create role tableau login;"
            " create extension pg_stat_statements"
        )
        yield server


def _administered(lab: B) -> B:
    lab.set_password(ADMIN, _text(lab.admin))
    return lab


@contextmanager
def start(folder: Path) -> Iterator[PostgresLab]:
    del folder
    with _server() as server:
        yield _administered(PostgresLab(server))


@contextmanager
def start_pair(folder: Path) -> Iterator[PostgresPairLab]:
    del folder
    with _server() as server:
        yield _administered(PostgresPairLab(server))


@contextmanager
def start_admin(folder: Path) -> Iterator[PostgresAdminLab]:
    del folder
    with _server() as server:
        yield PostgresAdminLab(server)
