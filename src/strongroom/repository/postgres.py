"""PostgreSQL behind the repository: its connections, its locks, and commits whose answer is lost.

Writers run under READ COMMITTED, and exclude each other by locks and by the conditions of their statements
(`repository.reach`, docs/adr/0034-a-repository-for-several-writers.md); measured, that is 1.6 to 3.9 times as fast as
SERIALIZABLE with repeating. Readers run under REPEATABLE READ, and so see one state.

If the connection breaks at COMMIT, the transaction may be done or not, and no code of the driver says which. So each
transaction writes a row of its own into `commits`. Afterwards, by another connection, the same row is claimed by an
insert that waits for the transaction's end: if the row is there, the transaction is done; if the claim is there, the
transaction can never be committed. PostgreSQL's `pg_xact_status` is not asked: after a crash it was found to say
"committed" of transactions that were lost, since their numbers are given out again.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from strongroom import foreign_words
from strongroom.errors import OutcomeUnknown, StateError, StorageError, StorageUnavailableError
from strongroom.ids import new_id
from strongroom.repository.cutter import Cutter
from strongroom.repository.dialects import postgres as codes
from strongroom.repository.postgres_address import (
    STATEMENT_S,
    Passwords,
    check_address,
    parameters,
)
from strongroom.repository.reach import WHOLE_KEY, Reach
from strongroom.repository.replacement import SERVES, Replacement, is_of_replaced
from strongroom.repository.watching import Look, PostgresLook
from strongroom.system.extras import needed

COMMIT_S: Final = 20.0
"""How long the answer to a COMMIT is waited for."""
ANSWER_S: Final = STATEMENT_S + 10.0
"""How long any other answer is waited for: longer than PostgreSQL itself lets a statement run."""
RESOLVE_S: Final = 45.0
"""How long the outcome of a commit is looked for: longer than PostgreSQL leaves the transaction open."""
KEEP_S: Final = 3600
"""How long rows of `commits` stay: whoever asks for one does so at once."""
_PAUSE_S: Final = 0.2
_COLLECT_EVERY: Final = 1000
_POOL_SIZE: Final = 10
_POOL_OVERFLOW: Final = 10
_POOL_WAIT_S: Final = 30
_OLDEST: Final = 140000

_ALONE: Final = "SELECT pg_advisory_xact_lock(:whole)"
_BESIDE: Final = "SELECT pg_advisory_xact_lock_shared(:whole)"
_NAMED: Final = f"{_BESIDE}, pg_advisory_xact_lock(:key)"
_MARKED: Final = (
    "WITH mark AS (INSERT INTO commits (id, done, at)"
    " VALUES (:id, true, CAST(extract(epoch FROM now()) AS bigint)))"
)
_SERVES: Final = f"SELECT {SERVES}"
_HOLD: Final = text("SELECT pg_advisory_xact_lock(:key)")
_SHARE: Final = text("SELECT pg_advisory_xact_lock_shared(:key)")
_CLAIM: Final = text(
    "INSERT INTO commits (id, done, at)"
    " VALUES (:id, false, CAST(extract(epoch FROM now()) AS bigint))"
    " ON CONFLICT DO NOTHING RETURNING id"
)
_LOOK: Final = text("SELECT done FROM commits WHERE id = :id")
_COLLECT: Final = text(
    "DELETE FROM commits WHERE at < CAST(extract(epoch FROM now()) AS bigint) - :keep"
)
_ABOUT: Final = text(
    "SELECT current_setting('server_version_num'), current_setting('server_encoding'),"
    " datcollate, current_setting('synchronous_commit')"
    " FROM pg_database WHERE datname = current_database()"
)
_COLLATIONS: Final = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})

_TURN: Final = "strongroom_turn"
_SLOW: Final = "strongroom_slow"

_log = logging.getLogger("backgrounder.Repository")


def is_postgres(url: str | URL) -> bool:
    """Whether the URL names a database of PostgreSQL."""
    return make_url(url).get_backend_name() == "postgresql"


class PostgresDatabase:
    """A database of PostgreSQL: its connections and transactions, for all threads of a process."""

    def __init__(self, url: str | URL, passwords: Passwords | None = None) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: The address, without a password.
            passwords: Returns the passwords to try for each new connection; None if the server asks for none.

        Raises:
            UsageError: The address holds a password, or does without proof of the server's name.
            StorageError: The library for PostgreSQL is not installed.
        """
        self._cutter = Cutter()
        self._passwords = passwords
        self._committed = 0
        self.engine = self._open(make_url(url))
        self._replacement = Replacement(self.engine)

    def _open(self, url: URL) -> Engine:
        with needed("the library for PostgreSQL is missing: psycopg", "postgres", StorageError):
            import psycopg
        if url.password is not None:
            check_address({"password": "given"})
        known = frozenset(one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults())
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,  # values must not get into messages and logs
            isolation_level="READ COMMITTED",
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_timeout=_POOL_WAIT_S,
            use_native_hstore=False,
        )
        _, given = engine.dialect.create_connect_args(url)
        address = {name: str(value) for name, value in given.items() if name in known}
        check_address(address)
        chosen = parameters(address, known)

        def connect(dialect: Any, _record: object, args: Any, given: Any) -> Any:
            given.update(chosen)
            if self._passwords is None:
                return None
            return _admitted(
                lambda one: dialect.connect(*args, **{**given, **one}), self._passwords
            )

        event.listen(engine, "do_connect", connect)
        event.listen(engine, "before_cursor_execute", self._asked)
        event.listen(engine, "after_cursor_execute", self._answered)
        event.listen(engine, "handle_error", self._failed)
        return engine

    def look(self) -> Look:
        """A connection that says whether anything was committed since."""
        return PostgresLook(self.engine, self._replacement)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self._cutter.close()

    def check(self, connection: Connection) -> None:
        """Refuse a database in which the repository's promises would not hold.

        Raises:
            StateError: The server is too old, or the database has another encoding or order of texts, or loses commits.
        """
        version, encoding, collation, commit = connection.execute(_ABOUT).one()
        if int(version) < _OLDEST:
            raise StateError(f"PostgreSQL {int(version) // 10000} is too old", hint="14 or newer")
        if encoding != "UTF8" or collation not in _COLLATIONS:
            raise StateError(
                f"the database has the encoding {encoding} and the collation {collation}",
                hint="create it with: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
            )
        if commit == "off":
            raise StateError(
                "PostgreSQL reports a commit before it is durable: synchronous_commit is off",
                hint="set it to on for this database",
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees the state of its beginning."""
        with self._begun(_SERVES, {}, read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self, reach: Reach, *, marked: bool = True) -> Iterator[Connection]:
        """A transaction that may write; commits at the end of the block, unless the block raises.

        Args:
            reach: The writers that it excludes.
            marked: Whether the table `commits` exists, so that a commit whose answer is lost can be resolved.

        Raises:
            StorageError: The connection broke at the commit, and nothing was changed.
            OutcomeUnknown: The connection broke at the commit, and the outcome could not be found out.
        """
        mark = new_id() if marked else ""
        lock = _ALONE if reach.alone else _NAMED if reach.name else _BESIDE
        values: dict[str, object] = {"whole": WHOLE_KEY}
        if reach.name:
            values["key"] = reach.key
        if marked:
            values["id"] = mark
        statement = f"{_MARKED} {lock}" if marked else lock
        with self._begun(statement, values) as connection:
            yield connection
            self._commit(connection, mark)
        if marked:
            self._collect()

    @contextmanager
    def _begun(
        self, first: str, values: dict[str, object], *, read_only: bool = False
    ) -> Iterator[Connection]:
        with self._fresh(first, values, read_only=read_only) as connection:
            try:
                yield connection
            finally:
                self._roll_back(connection)

    def _fresh(self, first: str, values: dict[str, object], *, read_only: bool) -> Connection:
        """A connection with a transaction begun.

        The pool may give one that broke while nobody used it, or one with a primary that was replaced, so once more.
        """
        for again in (True, False):
            connection = self.engine.connect()
            try:
                if read_only:
                    connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                serves = connection.execute(text(first), values).scalar()
            except BaseException as error:
                broken = isinstance(error, DBAPIError) and error.connection_invalidated
                connection.close()
                if broken and again:
                    continue
                raise
            if read_only and again and not serves:
                self._replacement.found(connection)
                connection.close()
                continue
            return connection
        raise AssertionError  # pragma: no cover  the second turn returns or raises

    def _roll_back(self, connection: Connection) -> None:
        if connection.invalidated:
            return
        connection.info.pop(_SLOW, None)
        if not connection.in_transaction():
            return
        # a broken connection is rolled back by its end
        with contextlib.suppress(SQLAlchemyError), self._within(connection, COMMIT_S):
            connection.rollback()

    def _within(self, connection: Connection, limit_s: float) -> AbstractContextManager[None]:
        return self._cutter.within(_descriptor_of(connection.connection.dbapi_connection), limit_s)

    def _commit(self, connection: Connection, mark: str) -> None:
        try:
            with self._within(connection, COMMIT_S):
                connection.commit()
        except DBAPIError as error:
            if not mark or not error.connection_invalidated:
                raise
            _log.warning("the connection broke at a commit: its outcome is looked for")
            if not self._is_done(mark):
                raise StorageUnavailableError(
                    "the connection with PostgreSQL broke at the commit: nothing was changed",
                    hint="try again",
                ) from error

    def _is_done(self, mark: str) -> bool:
        """Whether a transaction took place, and if not, that it never will.

        Raises:
            OutcomeUnknown: PostgreSQL did not answer within the limit.
        """
        end = time.monotonic() + RESOLVE_S
        while True:
            try:
                with self.engine.begin() as connection:
                    claimed = connection.execute(_CLAIM, {"id": mark}).first()
                    done = not claimed and connection.execute(_LOOK, {"id": mark}).scalar_one()
            except SQLAlchemyError as error:
                if time.monotonic() >= end:
                    raise OutcomeUnknown(
                        "the connection with PostgreSQL broke at a commit, and it is not known"
                        " whether the change was made",
                        hint="look whether it was made before doing it again",
                    ) from error
                time.sleep(_PAUSE_S)
            else:
                return bool(done)

    def _collect(self) -> None:
        """Now and then delete the marks of transactions for which nobody asks any more."""
        self._committed += 1
        if self._committed % _COLLECT_EVERY:
            return
        with contextlib.suppress(SQLAlchemyError), self.engine.begin() as connection:
            connection.execute(_COLLECT, {"keep": KEEP_S})

    def _asked(self, connection: Connection, cursor: Any, *_: object) -> None:
        if _SLOW not in connection.info:
            descriptor = _descriptor_of(cursor.connection)
            connection.info[_TURN] = self._cutter.begin(descriptor, ANSWER_S)

    def _answered(self, connection: Connection, *_: object) -> None:
        self._cutter.end(connection.info.pop(_TURN, None))

    def _failed(self, context: ExceptionContext) -> None:
        if context.connection is not None and not context.connection.invalidated:
            self._answered(context.connection)
        if is_of_replaced(context):
            # the pool gives up all connections that are as old, and the next goes elsewhere
            context.is_disconnect = True
        _forget_values(context)


def _admitted(connect: Callable[[Mapping[str, str]], Any], passwords: Passwords) -> Any:
    """A connection by the first password that the server takes.

    What is to be tried is asked for again after a refusal: the password may have been changed in that moment.

    Raises:
        psycopg.Error: There is no connection; of a refusal the error of the last password.
    """
    import psycopg

    refused = []
    while True:
        password = next((one for one in passwords() if one not in refused), None)
        if password is None:
            raise AssertionError  # pragma: no cover  the last refusal was raised
        try:
            return connect({"password": password.reveal().decode("utf-8", "replace")})
        except psycopg.OperationalError as error:
            refused.append(password)
            # the words are in any language; who was asked for a password and is not in was refused for it, or will be again
            asked = error.pgconn is not None and error.pgconn.used_password
            if not asked or all(one in refused for one in passwords()):
                raise


def _descriptor_of(driver: Any) -> Any:
    return driver.fileno


def _forget_values(context: ExceptionContext) -> None:
    """Leave no value of the statement in the words of an error, which somebody may print or log."""
    words = codes.words_of(context.original_exception)
    kind = type(context.original_exception).__name__
    context.original_exception.args = (words,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({kind}) {foreign_words.of(words)}",)


def take_time(connection: Connection) -> None:
    """Let the statements of this transaction take as long as they need: they change many rows, or the schema."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.info[_SLOW] = True


def hold(connection: Connection, reach: Reach, *, shared: bool = False) -> None:
    """Take the lock of a name in a transaction that has begun without one; held to the transaction's end.

    What was read before may have changed when this returns. With SQLite there is nothing to do.

    Args:
        connection: The connection of the transaction.
        reach: The name.
        shared: Exclude only those who do not share it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_SHARE if shared else _HOLD, {"key": reach.key})
