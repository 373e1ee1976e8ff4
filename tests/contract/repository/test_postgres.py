"""PostgreSQL as we open it, and its errors in our words."""

import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, IntegrityError

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, StorageError, StrongroomError, UsageError
from strongroom.repository import engine, postgres_address, tables
from strongroom.repository.postgres import is_postgres
from strongroom.repository.rows import SiteRow
from strongroom.repository.unit_of_work import Repository
from tests.support.databases import PostgresDatabases, url_of
from tests.support.rows import NOW, content

PASSWORD = "a strange p%40ss:word"


@pytest.fixture
def repository(postgres_databases: PostgresDatabases) -> Iterator[Repository]:
    repository = Repository(postgres_databases.with_rows())
    yield repository
    repository.close()


def opened(url: Any, password: str = "") -> str:
    """The words of the error of the first use; empty if there is none."""
    brought = (lambda: (SecretBytes(password.encode()),)) if password else None
    repository = Repository(url, passwords=brought)
    try:
        repository.ensure_schema()
    except StrongroomError as error:
        return error.with_hint
    finally:
        repository.close()
    return ""


def test_the_migrations_make_what_the_tables_say(repository: Repository) -> None:
    with repository._begin(read_only=True) as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_values_do_not_get_into_errors(repository: Repository) -> None:
    """PostgreSQL's own words repeat the key that is taken."""
    with pytest.raises(ConflictError) as caught, repository.transaction() as tx:
        tx.sites.insert(SiteRow("secret-id", "Default", "", 0, NOW))
    cause = caught.value.__cause__
    assert isinstance(cause, IntegrityError)
    words = f"{cause} {cause.orig} {cause.orig!r} {cause!r}"
    assert "23505" in words
    for value in ("secret-id", "default", "Default", NOW):
        assert value not in words


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_the_character_nul_is_refused_by_name(repository: Repository, text: str) -> None:
    for change in (
        lambda tx: tx.sites.update("site", name=text),
        lambda tx: tx.contents.insert(content("c1", attributes={"a": [text]})),
        lambda tx: tx.contents.insert(content("c1", tags=[text])),
        lambda tx: tx.marks.set("mark", text),
        lambda tx: tx.sites.find_by_name(text),
    ):
        with pytest.raises(UsageError, match="character NUL"), repository.transaction() as tx:
            change(tx)  # type: ignore[no-untyped-call]
    with repository.transaction() as tx:
        tx.marks.set("mark", "works")


def test_a_server_that_is_not_there_is_named(postgres_databases: PostgresDatabases) -> None:
    server = postgres_databases.server
    where = f"postgresql+psycopg://postgres@/x?host=/nowhere&port={server.port}"
    assert "cannot be reached" in opened(where)
    assert "/nowhere" in opened(where)
    # before a connection is made, the library has no code, and words of its own
    assert '"nosuch" does not exist' in opened(url_of(server, "nosuch"))


def test_a_database_of_another_order_is_refused(postgres_databases: PostgresDatabases) -> None:
    """Lists would come in another order, and other names would count as the next."""
    server = postgres_databases.server
    server.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    assert "encoding LATIN1" in opened(url_of(server, "latin"))
    url = postgres_databases.empty()
    name = url.partition("?")[0].rpartition("/")[2]
    server.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert "synchronous_commit is off" in opened(url)
    server.run(f"ALTER DATABASE {name} RESET synchronous_commit")
    server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "read-only" in opened(url)


def test_a_user_proves_itself_by_password_and_the_server_by_its_name(
    postgres_databases: PostgresDatabases,
) -> None:
    server, url = postgres_databases.server, postgres_databases.empty()
    name = url.partition("?")[0].rpartition("/")[2]
    server.run(
        f"CREATE ROLE keeper LOGIN PASSWORD '{server.verifier(PASSWORD)}'",
        f"ALTER DATABASE {name} OWNER TO keeper",
    )
    where = f"host=127.0.0.1 port={server.port} dbname={name} user=keeper"
    safe = postgres_address.postgres_url(
        f"{where} sslmode=verify-full sslrootcert={server.ca_file}"
    )
    assert is_postgres(safe)
    assert opened(safe, PASSWORD) == ""
    assert "password authentication failed" in opened(safe, "another")
    assert PASSWORD not in opened(safe, PASSWORD + "x")
    strange = postgres_address.postgres_url(f"{where} sslmode=verify-full")
    assert "cannot be reached" in opened(strange, PASSWORD)
    renamed = postgres_address.postgres_url(
        f"{where.replace('127.0.0.1', 'other.example')} hostaddr=127.0.0.1 sslrootcert={server.ca_file}"
    )
    assert "cannot be reached" in opened(renamed, PASSWORD)


def test_a_socket_may_ask_for_a_password(postgres_databases: PostgresDatabases) -> None:
    """Found by faults 14: an empty list of methods lets nobody in who is asked for one (libpq 18)."""
    server, url = postgres_databases.server, postgres_databases.empty()
    name = url.partition("?")[0].rpartition("/")[2]
    server.run(
        f"CREATE ROLE socketed LOGIN PASSWORD '{server.verifier(PASSWORD)}'",
        f"ALTER DATABASE {name} OWNER TO socketed",
    )
    where = f"host={server.sockets} port={server.port} dbname={name}"
    asked = postgres_address.postgres_url(f"{where} user=socketed")
    assert opened(asked, PASSWORD) == ""
    assert "password authentication failed" in opened(asked, "another")
    assert opened(postgres_address.postgres_url(f"{where} user=postgres")) == ""


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("host=db dbname=x password=secret", "password does not belong"),
        ("postgresql://user:secret@db/x", "password does not belong"),
        ("host=db dbname=x sslpassword=secret", "password does not belong"),
        ("host=db dbname=x sslmode=require", "does not prove"),
        ("host=/run,db dbname=x sslmode=prefer", "does not prove"),
        ("no address secret", "no address"),
    ],
)
def test_addresses_that_are_refused(dsn: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        postgres_address.postgres_url(dsn)
    assert "secret" not in f"{caught.value.with_hint}{caught.value.__cause__}"


def test_a_password_in_a_url_is_refused() -> None:
    with pytest.raises(UsageError, match="does not belong"):
        engine.open_database("postgresql+psycopg://user:secret@db/x")


def test_nothing_is_left_to_the_environment() -> None:
    """K4: libpq takes what is not said from variables and from files of a home directory."""
    known = frozenset(one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults())
    found = postgres_address.parameters({"host": "db", "dbname": "x", "options": "-c a=b"}, known)
    assert found["sslmode"] == "verify-full"
    assert found["sslrootcert"] == "system"
    assert found["target_session_attrs"] == "read-write"
    assert found["require_auth"] == "scram-sha-256"
    assert found["options"].startswith("-c a=b -c lock_timeout=")
    assert found["passfile"].startswith("/dev/null/")
    local = postgres_address.parameters({"dbname": "x"}, known)
    assert local["sslmode"] == "prefer"
    assert local["require_auth"] == "none,scram-sha-256"


#: By code, and without one by the driver's class.
ERRORS: dict[str, tuple[type[psycopg.Error], type[Exception], str]] = {
    "23505": (psycopg.IntegrityError, ConflictError, "exists"),
    "23503": (psycopg.IntegrityError, ConflictError, "refers"),
    "23502": (psycopg.IntegrityError, StorageError, "cannot be used"),
    "55P03": (psycopg.OperationalError, StorageError, "locked"),
    "40P01": (psycopg.OperationalError, StorageError, "locked"),
    "40001": (psycopg.OperationalError, StorageError, "locked"),
    "57014": (psycopg.OperationalError, StorageError, "locked"),
    "53100": (psycopg.OperationalError, StorageError, "full"),
    "53300": (psycopg.OperationalError, StorageError, "no connection"),
    "57P01": (psycopg.OperationalError, StorageError, "reached"),
    "08006": (psycopg.OperationalError, StorageError, "reached"),
    "28P01": (psycopg.OperationalError, StorageError, "admit"),
    "3D000": (psycopg.OperationalError, StorageError, "no such"),
    "25006": (psycopg.InternalError, StorageError, "only reads"),
    "XX001": (psycopg.InternalError, StorageError, "damaged"),
    "42501": (psycopg.ProgrammingError, StorageError, "admit"),
    "42P01": (psycopg.ProgrammingError, StorageError, "cannot be used"),
    "22021": (psycopg.DataError, UsageError, "NUL"),
    "no code, connection": (psycopg.OperationalError, StorageError, "reached"),
    "no code, interface": (psycopg.InterfaceError, StorageError, "reached"),
    "no code, value": (psycopg.DataError, UsageError, "NUL"),
    "no code, other": (psycopg.ProgrammingError, StorageError, "cannot be used"),
}


@pytest.mark.parametrize("code", ERRORS)
def test_errors_in_our_words(code: str) -> None:
    """The code decides, whatever language the server speaks."""
    kind, expected, words = ERRORS[code]
    driver = kind("words that say unique, locked, full\nand more")
    driver.sqlstate = None if code.startswith("no code") else code
    found = engine.translated(DBAPIError("", {}, driver))
    assert isinstance(found, expected)
    assert words in found.message
    assert "\n" not in found.message


def test_a_rule_that_is_broken_is_told_by_its_name(repository: Repository) -> None:
    with pytest.raises(StorageError, match="23502"), repository.transaction() as tx:
        tx._connection.exec_driver_sql("INSERT INTO sites (id) VALUES ('hidden')")


def test_an_idle_transaction_ends_by_the_servers_limit(
    postgres_databases: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 17: who sleeps with a lock does not hold up the others for long."""
    monkeypatch.setattr(postgres_address, "IDLE_S", 1)
    sleeper = Repository(postgres_databases.with_rows())
    other = Repository(sleeper._url)

    def sleep_with_a_lock() -> None:
        with sleeper.transaction() as tx:
            tx.marks.set("mine", "1")
            with other.transaction() as beside:
                assert beside.marks.find("mine") is None
            tx.marks.set("mine", "2")

    with pytest.raises(StorageError):
        sleep_with_a_lock()
    with other.reading() as tx:
        assert tx.marks.find("mine") is None
    sleeper.close()
    other.close()


def test_the_library_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match="psycopg") as caught:
        engine.open_database("postgresql+psycopg://user@/x")
    assert "strongroom[postgres]" in caught.value.hint
