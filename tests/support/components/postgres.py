"""PostgreSQL, a real one of the newest version that is installed, on sockets of its own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.components.process import Component, as_user, own_folder
from tests.support.emulators import free_port
from tests.support.tls import Authority

#: Debian keeps each version's programs in a folder of its own: 15 in Debian 12, 17 in Debian 13 (findings P2).
_VERSIONS = Path("/usr/lib/postgresql")


def programs() -> Path:
    """Where the newest installed version's programs are; fails if there is none."""
    found = {
        int(path.parent.name): path
        for path in _VERSIONS.glob("*/bin")
        if path.parent.name.isdigit()
    }
    assert found, f"no PostgreSQL below {_VERSIONS}: make dev installs it"
    return found[max(found)]


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL that asks everybody for a SCRAM password, but the tests' own `postgres` on its socket.

    Attributes:
        component: The process.
        sockets: The folder of its Unix socket.
        port: Of 127.0.0.1, with TLS; also part of the socket's name.
        ca_file: What a client must trust.
    """

    component: Component
    sockets: Path
    port: int
    ca_file: Path

    def psql(self, sql: str, *, user: str = "postgres", password: str = "") -> str:
        """What the real psql prints for a statement; raises AssertionError if it fails."""
        done = self.try_psql(sql, user=user, password=password)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def verifier(self, password: str) -> str:
        """As PostgreSQL stores it, made by its client library: the password itself is in no statement."""
        import psycopg

        with psycopg.connect(self._where("postgres", "")) as own:
            return own.pgconn.encrypt_password(password.encode(), b"x", b"scram-sha-256").decode()

    def run(self, *statements: str) -> str:
        """As `psql`, by a client in this process, which takes a tenth of the time."""
        import psycopg

        rows: list[tuple[object, ...]] = []
        with psycopg.connect(self._where("postgres", ""), autocommit=True) as client:
            for statement in statements:
                cursor = client.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return "\n".join("|".join(map(str, row)) for row in rows)

    def _where(self, user: str, password: str) -> str:
        import psycopg.conninfo

        return psycopg.conninfo.make_conninfo(
            "",
            host=str(self.sockets),
            port=self.port,
            user=user,
            password=password,
            dbname="postgres",
        )

    def try_psql(self, sql: str, *, user: str, password: str) -> "subprocess.CompletedProcess[str]":
        """Run the real psql; the statement by standard input, the password by its environment."""
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-U", user]
        where = ["-h", str(self.sockets), "-p", str(self.port)]
        return subprocess.run(
            [*command, *where],
            input=sql,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "60"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def accepts(self, user: str, password: str) -> bool:
        """Whether a client can log in; anything but a refused password is a failure of the test."""
        import psycopg

        try:
            with psycopg.connect(self._where(user, password), connect_timeout=60) as client:
                return client.execute("select 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise AssertionError(str(error)) from error
            return False


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A cluster of its own, which logs every statement."""
    user = "postgres" if os.geteuid() == 0 else None
    with own_folder(user) as folder:
        data, port = folder / "data", free_port()
        initdb = ["initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [str(programs() / initdb[0]), *initdb[1:], "--no-sync", "-D", str(data)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
            **as_user(user),
        )
        ca_file = _certificates(data, user)
        (data / "pg_hba.conf").write_text(
            "local all postgres trust\nlocal all all scram-sha-256\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(_POSTGRES_SETTINGS.format(folder=folder, port=port))
        command: list[str | Path] = [programs() / "postgres", "-D", data]
        is_ready = [str(programs() / "pg_isready"), "-q", "-h", str(folder), "-p", str(port)]
        component = Component(
            command,
            folder,
            lambda: subprocess.run(is_ready, check=False).returncode == 0,
            user=user,
            stop_signal=signal.SIGINT,
        )
        with component.running():
            yield Postgres(component, folder, port, ca_file)


_POSTGRES_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
log_statement = all
log_min_duration_statement = 0
log_min_error_statement = debug5
log_connections = on
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
fsync = off
full_page_writes = off
"""
# synchronous_commit stays on: without fsync a commit survives a killed server, though not a machine


def _certificates(data: Path, user: str | None) -> Path:
    authority = Authority(data)
    both = (data / "server.pem").read_bytes()
    for name in ("server.crt", "server.key"):
        path = data / name
        path.touch(mode=0o600)
        path.write_bytes(both)
        if user is not None:
            shutil.chown(path, user)
    return authority.ca_file
