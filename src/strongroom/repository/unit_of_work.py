"""The repository: transactions over all tables, and the schema they need.

A transaction commits when its block ends and rolls back when it raises; errors of the database come
out as ours.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from sqlalchemy import URL, Connection, Engine, delete, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from strongroom.errors import StateError, StorageError
from strongroom.repository import engine as database
from strongroom.repository.gateways.content import (
    ContentsTable,
    CredentialsTable,
    ProjectsTable,
)
from strongroom.repository.gateways.directory import GroupsTable, SitesTable, UsersTable
from strongroom.repository.gateways.signin import SessionsTable, TokensTable
from strongroom.repository.gateways.work import (
    IntentsTable,
    JobsTable,
    MarksTable,
    UploadsTable,
)
from strongroom.repository.portable import PortableRows
from strongroom.repository.tables import schema_version
from strongroom.system import durable

REVISION = "0002"


class Transaction:
    """The tables within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.sites = SitesTable(connection)
        self.users = UsersTable(connection)
        self.groups = GroupsTable(connection)
        self.projects = ProjectsTable(connection)
        self.contents = ContentsTable(connection)
        self.credentials = CredentialsTable(connection)
        self.tokens = TokensTable(connection)
        self.sessions = SessionsTable(connection)
        self.uploads = UploadsTable(connection)
        self.jobs = JobsTable(connection)
        self.intents = IntentsTable(connection)
        self.marks = MarksTable(connection)
        self.rows = PortableRows(connection)

    def storage_keys(self) -> set[str]:
        """The storage keys of all files that a row names: content, upload parts and intents."""
        known = self.contents.storage_keys() | self.uploads.storage_keys()
        return known | self.intents.storage_keys()


class Repository:
    """The database of one installation, for any number of threads and processes.

    The contract (tests/contract/repository) that services rely on, whichever database stands behind it:

    - **Writers go one after the other.** What a writing transaction reads is still true when it commits: counts,
      names and states that were read first decide what is written (the number of an upload's next part, a free
      content URL, a quota, whether a job is queued already). SQLite takes its write lock at the beginning. A
      database of many writers has to be serializable and repeat the block, or take one lock for all.
    - A transaction is all or nothing, and durable when its block has ended without an error.
    - A refused statement (`ConflictError`) changes nothing, and the transaction may go on without it.
    - Readers see one state, that of their beginning, and wait for nobody.
    - Names are unique and are found in any case of letters, as `folding.fold` says and not the database; so are
      the orders of lists: by code points, and by id where all else is alike. No other rule of a language counts.
    - An error's class is decided by the database's code, and no value of a statement gets into its words.
    """

    def __init__(self, url: str | URL, file_modes: durable.FileModes = durable.PRIVATE) -> None:
        self._url = url
        self._file_modes = file_modes
        self._schema_lock = threading.Lock()
        self._schema_checked = False

    @cached_property
    def _engine(self) -> Engine:
        return database.open_engine(self._url)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write; writers go one after the other.

        Raises:
            StorageError: The database is locked, full, damaged or missing.
            ConflictError: The change breaks a rule of the schema.
        """
        self._check_schema()
        with self._begin(read_only=False) as connection:
            yield Transaction(connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that only reads: a consistent view, without waiting for writers.

        Raises:
            StorageError: The database is damaged or missing.
        """
        self._check_schema()
        with self._begin(read_only=True) as connection:
            yield Transaction(connection)

    def ensure_schema(self) -> None:
        """Create the database if it is missing, and bring its schema up to date, all or nothing.

        Raises:
            StorageError: The database cannot be created or written.
            StateError: The schema belongs to a newer program.
        """
        from strongroom.repository.migrations import runner

        database.create_file(self._url, self._file_modes)
        with self._begin(read_only=False) as connection:
            present = _revision(connection)
            if present not in {None, *runner.revisions()}:
                raise _foreign_schema(present)
            if present != REVISION:
                revision = runner.upgrade(connection, present)
                connection.execute(delete(schema_version))
                connection.execute(insert(schema_version).values(revision=revision))

    def close(self) -> None:
        """Close all connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @contextmanager
    def _begin(self, *, read_only: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(**{database.READ_ONLY: read_only})
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise database.translated(error, self._url) from error

    def _check_schema(self) -> None:
        """Bring an older schema up to date and refuse a newer one; done once per process."""
        if self._schema_checked:
            return
        with self._schema_lock:
            missing = database.missing_file(self._url)
            if missing is not None:
                raise StorageError(
                    f"there is no repository at {missing}",
                    hint="restore it from a backup, or create the node with 'strongroom init'",
                )
            with self._begin(read_only=True) as connection:
                revision = _revision(connection)
            if revision != REVISION:
                self._upgrade(revision)
            self._schema_checked = True

    def _upgrade(self, present: str | None) -> None:
        """Bring the schema of an older version up to date; done by the first command of the new version."""
        from strongroom.repository.migrations import runner

        if present not in runner.revisions():
            raise _foreign_schema(present)
        self.ensure_schema()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(select(schema_version.c.revision)).scalar_one_or_none()


def _foreign_schema(revision: str | None) -> StateError:
    return StateError(
        f"the repository has schema {revision or 'none'}, this program needs {REVISION}",
        hint="use the program version that wrote it, or restart 'strongroom serve' to upgrade it",
    )
