"""Nothing of the environment governs how components are asked (findings K4).

What libpq reads is listed by libpq itself, so that a newer one with one variable more fails here.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from strongroom import __main__ as entry
from strongroom.consumers import tls
from strongroom.consumers.postgres_server import PostgresServer, PostgresSettings
from strongroom.consumers.redis_server import RedisSettings
from strongroom.consumers.redis_user import PARAMETER, RedisConsumer
from strongroom.consumers.smtp_account import SmtpConsumer, SmtpSettings
from strongroom.consumers.zookeeper_server import ZookeeperSettings
from strongroom.consumers.zookeeper_users import USERS, ZookeeperUser
from strongroom.crypto import rng
from strongroom.errors import ConsumerUnavailableError
from strongroom.node.opening import Node
from strongroom.system import postgres_conninfo
from tests.contract.consumers.component_postgres import PostgresLab
from tests.contract.consumers.rotating import configure
from tests.contract.consumers.test_redis import credential, line_of, serving_tls
from tests.support.components.zookeeper import running_zookeeper
from tests.support.mail_server import MailServer
from tests.support.tls import Authority

LISTED = {
    one.keyword.decode(): one.envvar.decode()
    for one in psycopg.pq.Conninfo.get_defaults()
    if one.envvar
}
GIVEN = {"host", "port", "dbname", "user", "password"}
#: Read by libpq beside its options: a service's file, where files are, and settings of the session.
BESIDE = {
    "PGSERVICEFILE": "/nonexistent/services",
    "PGSYSCONFDIR": "/nonexistent",
    "PGLOCALEDIR": "/nonexistent",
    "PGTZ": "No/Such/Zone",
    "PGDATESTYLE": "nonsense",
    "PGGEQO": "nonsense",
}
HOSTILE = {
    "PGAPPNAME": "another",
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "no such",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGDATABASE": "no such",
    "PGGSSDELEGATION": "1",
    "PGGSSENCMODE": "require",
    "PGGSSLIB": "gssapi",
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGKRBSRVNAME": "another",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGMINPROTOCOLVERSION": "nonsense",
    "PGOPTIONS": "-c role=tableau",
    "PGPASSFILE": "/nonexistent",
    "PGPASSWORD": "another",
    "PGPORT": "1",
    "PGREQUIREAUTH": "none",
    "PGREQUIREPEER": "nobody",
    "PGSSLCERT": "/dev/full",
    "PGSSLCERTMODE": "require",
    "PGSSLCRL": "/dev/full",
    "PGSSLCRLDIR": "/dev/full",
    "PGSSLKEY": "/dev/full",
    "PGSSLMAXPROTOCOLVERSION": "TLSv1",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "/dev/full",
    "PGTARGETSESSIONATTRS": "standby",
    "PGUSER": "nobody",
}
lab = pytest.mark.parametrize("lab", ["postgres-role"], indirect=True)


def test_every_variable_of_libpq_is_given_or_forgotten() -> None:
    """`PGSERVICE` cannot be given away: what a service says counts less than what is given, but it must exist."""
    assert LISTED.keys() - GIVEN - postgres_conninfo.FIXED.keys() == {"service"}
    everything = {**dict.fromkeys(LISTED.values(), "x"), **BESIDE, "SSLKEYLOGFILE": "x"}
    environment = {**everything, "PATH": "/bin", "HOME": "/root"}
    entry.forget_foreign(environment)
    assert environment == {"PATH": "/bin", "HOME": "/root"}


@lab
@pytest.mark.parametrize("option", sorted(set(LISTED) - {"service"}))
@pytest.mark.parametrize("by_tls", [False, True], ids=["socket", "tls"])
def test_no_variable_governs_a_connection_to_postgresql(
    lab: PostgresLab, option: str, monkeypatch: pytest.MonkeyPatch, *, by_tls: bool
) -> None:
    """The same server, by the same parameters: as the client library itself lists them."""
    present = lab.reset()
    ca_file = str(lab.server.ca_file) if by_tls else ""
    host = "127.0.0.1" if by_tls else str(lab.server.sockets)
    server = PostgresServer(PostgresSettings(host, lab.server.port, ca_file=ca_file), lambda _: ())
    alone = parameters(server, present.only())
    monkeypatch.setenv(LISTED[option], HOSTILE.get(LISTED[option], "nonsense"))
    assert parameters(server, present.only()) == alone
    server.login("readonly", present.only())


def parameters(server: PostgresServer, password: Any) -> dict[bytes, bytes | None]:
    with server._connect("readonly", password) as connection:
        return {one.keyword: one.val for one in connection.pgconn.info}


@lab
def test_no_file_of_the_home_directory_governs_a_connection(
    lab: PostgresLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`~/.postgresql` with an authority and a certificate of somebody else's, `~/.pgpass`, `~/.pg_service.conf`."""
    present = lab.reset()
    unfriendly_home(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for host, ca_file in (("127.0.0.1", str(lab.server.ca_file)), ("127.0.0.1", "")):
        settings = PostgresSettings(host, lab.server.port, ca_file=ca_file)
        PostgresServer(settings, lambda _: ()).login("readonly", present.only())


def unfriendly_home(folder: Path) -> None:
    own = folder / ".postgresql"
    own.mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (own / name).write_text("not what it says\n")
        (own / name).chmod(0o600)
    (folder / ".pgpass").write_text("*:*:*:*:another\n")
    (folder / ".pgpass").chmod(0o600)
    (folder / ".pg_service.conf").write_text("[x]\nhost=192.0.2.1\n")


@lab
def test_a_command_is_not_led_elsewhere_by_any_of_them(
    lab: PostgresLab, node: Node, tmp_path: Path
) -> None:
    """All at once, and what only forgetting helps against: `PGSERVICE`, `PGTZ`, `SSLKEYLOGFILE`."""
    present = lab.reset()
    configure(node, present)
    where = {"pgsql.host": str(lab.server.sockets), "pgsql.port": str(lab.server.port)}
    for key, value in where.items():
        node.configuration.set(key, value, actor="os:tester")
    node.configuration.apply(actor="os:tester")
    home = tmp_path / "home"
    home.mkdir()
    unfriendly_home(home)
    keys = tmp_path / "keys-of-sessions"
    hostile = {"PGSERVICE": "x", "SSLKEYLOGFILE": str(keys), **BESIDE}
    hostile |= {name: HOSTILE.get(name, "nonsense") for name in LISTED.values()}
    start = [
        sys.executable,
        "-c",
        "import sys; from strongroom.__main__ import tsm; sys.exit(tsm())",
    ]
    done = subprocess.run(
        [*start, "security", "secrets", "verify", lab.parameter, "--data-dir", node.paths.root],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **hostile},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{lab.parameter}: valid" in done.stdout
    assert not keys.exists()


# ---- TLS -----------------------------------------------------------------------------------------


def test_the_keys_of_sessions_are_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own default writes them into a file, from which everybody who recorded reads the password."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    authority = Authority(tmp_path)
    assert tls.context().keylog_filename is None
    mail = MailServer(password="x", tls=authority.server_context())
    with mail.listening():
        settings = SmtpSettings("127.0.0.1", mail.account, mail.port, str(authority.ca_file))
        consumer = SmtpConsumer(settings)
        (parameter,) = consumer.describe().parameters
        consumer.login(type(credential())({parameter: _secret(b"x")}))
    assert not (tmp_path / "keys").exists()


def _secret(value: bytes) -> Any:
    from strongroom.crypto.secret import SecretBytes

    return SecretBytes(value)


@contextmanager
def believed(monkeypatch: pytest.MonkeyPatch, ca_file: Path) -> Iterator[None]:
    """The environment's authorities are those of the server."""
    with monkeypatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", str(ca_file))
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_redis_is_believed_by_the_named_authority_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library would trust the environment's authorities besides."""
    present = credential()
    other = tmp_path / "other"
    other.mkdir()
    stranger = Authority(other).ca_file
    with serving_tls(tmp_path, "user default off", line_of(present)) as port:
        with believed(monkeypatch, tmp_path / "ca.pem"):
            settings = RedisSettings(
                "strongroom", host="localhost", port=port, ca_file=str(stranger)
            )
            with pytest.raises(ConsumerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
                RedisConsumer(settings, lambda _: ()).login(present)
        assert PARAMETER in present.values


def test_zookeeper_is_believed_by_the_named_authority_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path).ca_file
    present = type(credential())({USERS["filestore"]: rng.new_password()})
    with running_zookeeper(tls=True) as server:
        assert server.ca_file is not None
        with believed(monkeypatch, server.ca_file):
            settings = ZookeeperSettings(server.tls_hosts, "/x", str(stranger))
            consumer = ZookeeperUser(settings, "filestore", USERS["filestore"], lambda _: ())
            with pytest.raises(ConsumerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
                consumer.admit(present, present)
