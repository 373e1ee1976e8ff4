"""The password of the role that owns the repository: a login that proves it, and its change by the role itself.

PostgreSQL lets every role set its own password. The new one goes as a verifier, since the server may log the statement:
only a superuser could keep it from that.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError, StorageError, StrongroomError
from strongroom.repository import engine, postgres_address
from strongroom.repository.postgres import PostgresDatabase
from strongroom.repository.postgres_address import Passwords
from strongroom.service_users import postgres_verifiers

_HOWTO = "docs/howto/cluster.md"
_LOOK = text("SELECT session_user, pg_is_in_recovery()")
_END = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE usename = session_user AND pid <> pg_backend_pid()"
)


class RolePassword:
    """The role of an address."""

    def __init__(self, address: Mapping[str, str]) -> None:
        """Keep the address; nothing is connected.

        Args:
            address: The address of the database, in its stored form.
        """
        self._address = address
        self._role = address["user"]

    def check(self, password: SecretBytes) -> None:
        """Prove by a login that the server takes this password.

        Raises:
            StorageError: The server refuses the password, or cannot be reached.
            StateError: The server asks for no password, so a login proves nothing; or it only reads.
        """
        with self._connected(lambda: (password,)):
            pass

    def change(self, present: Passwords, new: SecretBytes) -> None:
        """Have the server take the new password and no other; sessions that stand go on.

        Args:
            present: The passwords that the server may take now; the new one among them if an earlier call was cut off.
            new: The new password.

        Raises:
            StorageError: The server refuses, or cannot be reached.
            StateError: The server asks for no password, so a login proves nothing; or it only reads.
        """
        with self._connected(present) as connection:
            # a change that was proved must survive a crash of the server
            connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
            driver = _driver_of(connection)
            made = postgres_verifiers.setting(driver, self._role, new)
            # not looked through for places of values: a role's name may have a percent sign
            quoted = connection.execution_options(no_parameters=True)
            try:
                quoted.exec_driver_sql(made.statement.as_string(driver))
                quoted.commit()
            except SQLAlchemyError as error:
                # the words may repeat the statement, and so the verifier
                raise StorageError(
                    f"PostgreSQL did not change the password of {self._role!r}: {engine.translated(error).message}",
                    hint=f"run the command again; see {_HOWTO}",
                ) from None

    def end_others(self, passwords: Passwords) -> int:
        """End every session of the role but this one; returns how many there were.

        The pools of other processes notice it, and log in anew by the present password; what a session was about to
        commit is rolled back.

        Args:
            passwords: The passwords that the server may take now.

        Raises:
            StorageError: The server refuses, or cannot be reached.
            StateError: The server asks for no password; or it only reads.
        """
        with self._connected(passwords) as connection:
            return len(connection.execute(_END).all())

    @contextmanager
    def _connected(self, passwords: Passwords) -> Iterator[Connection]:
        database = PostgresDatabase(postgres_address.stored_url(self._address), passwords)
        try:
            with database.engine.connect() as connection:
                self._require_asked(connection)
                yield connection
        except SQLAlchemyError as error:
            raise self._translated(error) from None
        finally:
            database.close()

    def _translated(self, error: SQLAlchemyError) -> StrongroomError:
        told = engine.translated(error)
        connection = getattr(error.orig if isinstance(error, DBAPIError) else None, "pgconn", None)
        # a peer that was asked for a password and is not in; the server tells it in whichever language
        if connection is None or not connection.used_password:
            return told
        return StorageError(
            f"PostgreSQL does not let {self._role!r} in by this password: {told.message}",
            hint=f"see which password the role has: {_HOWTO}",
        )

    def _require_asked(self, connection: Connection) -> None:
        role, is_standby = connection.execute(_LOOK).one()
        if role != self._role or not _driver_of(connection).pgconn.used_password:
            raise StateError(
                f"PostgreSQL lets {self._role!r} in without a password, so a login proves nothing",
                hint=f"pg_hba.conf must ask it for scram-sha-256: {_HOWTO}",
            )
        if is_standby:
            raise StateError("this PostgreSQL only reads", hint="name the primary server")


def _driver_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
