"""Looks at a database of PostgreSQL that is in use, as it is now; nothing is changed, not even an older schema."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from strongroom.errors import StrongroomError
from strongroom.repository import engine, postgres_address
from strongroom.repository.gateways.guards import NodesTable
from strongroom.repository.gateways.work import MarksTable
from strongroom.repository.postgres import PostgresDatabase
from strongroom.repository.postgres_address import Passwords
from strongroom.repository.revision import REVISION
from strongroom.repository.unit_of_work import revision_of

_STATE: Final = text(
    "SELECT current_setting('server_version'), pg_is_in_recovery(),"
    " current_setting('transaction_read_only'),"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int,"
    " extract(epoch FROM clock_timestamp())"
)


class DatabaseState(NamedTuple):
    """The database, by its own words.

    Attributes:
        version: The version of the server; None if it does not answer.
        is_writable: Whether the server takes changes: a standby takes none.
        schema: The revision of the tables; None if there are none.
        used: The number of connections of all users.
        limit: The number of connections that users who are no superusers may have together.
        skew_s: By how many seconds its clock is ahead of this machine's, at least.
        mark: The mark that was asked for.
        incarnation: The life of the installation to which the rows belong; None as long as there is one node.
        problem: The reason for which it does not serve; empty if it does.
    """

    version: str | None = None
    is_writable: bool = False
    schema: str | None = None
    used: int | None = None
    limit: int | None = None
    skew_s: float | None = None
    mark: str | None = None
    incarnation: str | None = None
    problem: str = ""


def look(
    address: Mapping[str, str],
    passwords: Passwords,
    mark: str,
    now: Callable[[], float] = time.time,
) -> DatabaseState:
    """The state of the database.

    Args:
        address: The address, in its stored form.
        passwords: Returns the passwords to try.
        mark: The name of a mark to read.
        now: This machine's clock, in seconds since the epoch.
    """
    try:
        database = PostgresDatabase(postgres_address.stored_url(address), passwords)
    except StrongroomError as error:
        return DatabaseState(problem=error.message)
    try:
        with database.engine.connect() as connection:
            return _state(connection, mark, now)
    except SQLAlchemyError as error:
        return DatabaseState(problem=engine.translated(error).message)
    except StrongroomError as error:
        # of the password, which the node's own files could not open
        return DatabaseState(problem=error.message)
    finally:
        database.close()


def _state(connection: Connection, mark: str, now: Callable[[], float]) -> DatabaseState:
    before = now()
    version, standby, read_only, used, limit, at = connection.execute(_STATE).one()
    after, seconds = now(), float(at)
    is_writable = not standby and read_only != "on"
    schema = revision_of(connection)
    found = DatabaseState(
        version.split()[0],
        is_writable,
        schema,
        used,
        limit,
        max(0.0, seconds - after) + min(0.0, seconds - before),
    )
    if schema != REVISION:
        words = (
            "there are no tables of strongroom" if schema is None else f"the tables are of {schema}"
        )
        return found._replace(problem=f"{words}, and not of {REVISION}")
    return found._replace(
        mark=MarksTable(connection).find(mark),
        incarnation=NodesTable(connection).incarnation(),
        problem="" if is_writable else "this server only reads",
    )
