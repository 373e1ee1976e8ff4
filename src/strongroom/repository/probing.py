"""Proves the link to a database of PostgreSQL step by step, and names the cause of what is not as it must be."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from strongroom import foreign_words
from strongroom.errors import StateError, StrongroomError
from strongroom.ids import new_id
from strongroom.repository import engine, postgres_address
from strongroom.repository.postgres import PostgresDatabase
from strongroom.repository.postgres_address import Passwords
from strongroom.system.findings import Finding, bad

LINK: Final = "postgres"
CONNECTIONS: Final = 62
"""Connections of a node at most: 20 of the web service, 20 of the backgrounder, 20 of its job engine, 2 of a command."""
_HOWTO: Final = "docs/howto/cluster.md"
_STATE: Final = text(
    "SELECT current_setting('server_version'), pg_is_in_recovery(),"
    " current_setting('transaction_read_only'),"
    " has_database_privilege(current_database(), 'CREATE'),"
    " has_schema_privilege(current_schema(), 'CREATE'), current_user,"
    " extract(epoch FROM clock_timestamp())"
)
_TLS: Final = text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
_LIMITS: Final = text(
    "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int,"
    " (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),"
    " (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND usename IS DISTINCT FROM current_user)"
)

Now = Callable[[], float]


def probe(
    address: Mapping[str, str],
    passwords: Passwords,
    clock: Callable[[str, float], Finding],
    now: Now = time.time,
) -> Iterator[Finding]:
    """Check the database; one finding after the other.

    Args:
        address: The address, in its stored form.
        passwords: Returns the passwords to try.
        clock: Makes the finding about a difference of clocks.
        now: This machine's clock, in seconds since the epoch.
    """
    for name in postgres_address.hosts_of(address):
        try:
            socket.getaddrinfo(name, None)
        except (OSError, UnicodeError) as error:
            yield bad(
                LINK,
                "name",
                f"{name} has no address: {foreign_words.of(error)}",
                "see the spelling, and the name service of this machine",
            )
            return
        yield Finding(LINK, "name", f"{name} has an address")
    url = postgres_address.stored_url(address)
    try:
        database = PostgresDatabase(url, passwords)
    except StrongroomError as error:
        yield bad(LINK, "library", error.message, error.hint)
        return
    try:
        yield from _probe(database, clock, now)
    except SQLAlchemyError as error:
        told = engine.translated(error)
        yield bad(LINK, "connection", told.message, told.hint)
    finally:
        database.close()


def _probe(
    database: PostgresDatabase, clock: Callable[[str, float], Finding], now: Now
) -> Iterator[Finding]:
    with database.engine.connect() as connection:
        yield _tls(connection)
        before = now()
        version, standby, read_only, of_database, of_schema, user, at = connection.execute(
            _STATE
        ).one()
        after = now()
        try:
            database.check(connection)
        except StateError as error:
            yield bad(LINK, "database", error.message, error.hint)
            return
        yield Finding(LINK, "database", f"PostgreSQL {version.split()[0]}, UTF8, by code points")
        if standby or read_only == "on":
            yield bad(LINK, "rights", "this server only reads", "name the primary server")
            return
        if not (of_database and of_schema):
            where = "schemas in the database" if not of_database else "tables in the schema"
            yield bad(
                LINK,
                "rights",
                f"{user!r} may not create {where}",
                f"make the user the owner of the database: {_HOWTO}",
            )
            return
        _try_to_create(connection)
        yield Finding(LINK, "rights", f"{user!r} may create tables and schemas")
        yield _connections(connection)
        seconds = float(at)
        yield clock(LINK, max(0.0, seconds - after) + min(0.0, seconds - before))


def _tls(connection: Connection) -> Finding:
    encrypted, version = connection.execute(_TLS).one()
    if encrypted:
        return Finding(LINK, "tls", f"{version}, the certificate has this name")
    # an address without TLS was refused before, but for sockets of this machine
    return Finding(LINK, "tls", "none: a Unix socket of this machine")


def _try_to_create(connection: Connection) -> None:
    """Create a schema and a table, and undo it: a right that is only told may be worth nothing."""
    name = f"probe_{new_id().replace('-', '')}"
    connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    connection.exec_driver_sql(f"CREATE TABLE {name} (one int)")
    connection.rollback()


def _connections(connection: Connection) -> Finding:
    limits = connection.execute(_LIMITS).one()
    allowed = min(one for one in limits[:3] if one >= 0)
    free = limits[0] - limits[3]
    words = f"{allowed} allowed, {limits[3]} in use by others, {CONNECTIONS} needed by each node"
    if min(allowed, free) < CONNECTIONS:
        return bad(LINK, "connections", words, "raise max_connections, or the limit of the user")
    return Finding(LINK, "connections", words)
