"""The repository: transactions over all tables, and the schema they need.

A transaction commits when its block ends and rolls back when it raises; errors of the database come
out as ours.
"""

import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import URL, Connection, Engine, delete, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from strongroom.errors import StateError, StorageError
from strongroom.repository import engine as database
from strongroom.repository import postgres
from strongroom.repository.gateways.content import (
    ContentsTable,
    CredentialsTable,
    ProjectsTable,
)
from strongroom.repository.gateways.directory import GroupsTable, SitesTable, UsersTable
from strongroom.repository.gateways.guards import FenceTable, MekGuards, NodesTable
from strongroom.repository.gateways.service_keys import (
    ServiceKeysTable,
    ServiceMaterial,
    ServiceMountsTable,
    ServiceSecretsTable,
)
from strongroom.repository.gateways.service_users import (
    ServicePoliciesTable,
    ServiceRolesTable,
    ServiceSecretIdsTable,
    ServiceTokensTable,
)
from strongroom.repository.gateways.signin import SessionsTable, TokensTable
from strongroom.repository.gateways.work import (
    IntentsTable,
    JobsTable,
    MarksTable,
    UploadsTable,
)
from strongroom.repository.marks_alone import IsWanted
from strongroom.repository.portable import PortableRows
from strongroom.repository.postgres_address import Passwords
from strongroom.repository.reach import EVERYTHING, ROWS, Reach
from strongroom.repository.revision import REVISION
from strongroom.repository.rows import NOBODY, Owner
from strongroom.repository.tables import schema_version
from strongroom.repository.watching import Watch
from strongroom.repository.whole_rows import WholeRows
from strongroom.system import durable


class Transaction:
    """The tables within one transaction."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection = connection
        self.sites = SitesTable(connection)
        self.users = UsersTable(connection)
        self.groups = GroupsTable(connection)
        self.projects = ProjectsTable(connection)
        self.contents = ContentsTable(connection)
        self.credentials = CredentialsTable(connection)
        self.tokens = TokensTable(connection)
        self.sessions = SessionsTable(connection)
        self.uploads = UploadsTable(connection)
        self.jobs = JobsTable(connection, owner)
        self.intents = IntentsTable(connection, owner)
        self.marks = MarksTable(connection)
        self.fence = FenceTable(connection)
        self.meks = MekGuards(connection)
        self.nodes = NodesTable(connection)
        self.service_mounts = ServiceMountsTable(connection)
        self.service_keys = ServiceKeysTable(connection)
        self.service_secrets = ServiceSecretsTable(connection)
        self.service_material = ServiceMaterial(connection)
        self.service_policies = ServicePoliciesTable(connection)
        self.service_tokens = ServiceTokensTable(connection)
        self.service_roles = ServiceRolesTable(connection)
        self.service_secret_ids = ServiceSecretIdsTable(connection)
        self.rows = PortableRows(connection)
        self.whole = WholeRows(connection)

    def hold(self, reach: Reach) -> None:
        """From here on also exclude the writers of a name; for a transaction that began with the reach `ROWS`.

        What was read before may have changed meanwhile, and is read again.
        """
        postgres.hold(self._connection, reach)

    def storage_keys(self) -> set[str]:
        """The storage keys of all files that a row names: content, upload parts and intents."""
        known = self.contents.storage_keys() | self.uploads.storage_keys()
        return known | self.intents.storage_keys()

    def named(self, storage_keys: Collection[str]) -> frozenset[str]:
        """The files among these that content or the part of an upload has; found by index, whatever there is beside."""
        return self.contents.named(storage_keys) | self.uploads.named(storage_keys)


class _Fences(threading.local):
    """The locks under whose epochs the transactions of a thread are made."""

    epochs: Mapping[str, int] = MappingProxyType({})


class Shared(NamedTuple):
    """The parts of a node that a repository asks which other nodes write as well.

    Attributes:
        before_upgrade: Called before tables of an older revision are brought up to date; raises if they may not be.
        epochs: Returns the tokens of the locks under which the calling thread works, by name.
    """

    before_upgrade: Callable[[], None]
    epochs: Callable[[], Mapping[str, int]]


#: Adds to a transaction what is to be written with every one.
BeforeCommit = Callable[[Transaction], None]


class Repository:
    """The database of one installation, for any number of threads and processes.

    The contract (tests/contract/repository) that services rely on, whichever database stands behind it:

    - **Writers go one after the other**, unless they say how far they reach (`repository.reach`). What a writing
      transaction reads within its reach is still true when it commits: counts, names and states that were read first
      decide what is written (the number of an upload's next part, a free content URL, a quota, whether a job is
      queued already). SQLite takes its write lock at the beginning, whatever the reach; PostgreSQL the locks of the
      reach.
    - A transaction is all or nothing, and durable when its block has ended without an error. If it cannot be found out
      whether it took place, the error says so (`OutcomeUnknown`), and no other error leaves that open but a
      `StorageError` of the disk.
    - A refused statement (`ConflictError`) changes nothing, and the transaction may go on without it.
    - Readers see one state, that of their beginning, and wait for nobody.
    - Names are unique and are found in any case of letters, as `folding.fold` says and not the database; so are
      the orders of lists: by code points, and by id where all else is alike. No other rule of a language counts.
    - An error's class is decided by the database's code, and no value of a statement gets into its words.
    """

    def __init__(
        self,
        url: str | URL,
        file_modes: durable.FileModes = durable.PRIVATE,
        before_commit: BeforeCommit = lambda _: None,
        *,
        passwords: Passwords | None = None,
        owner: Owner = NOBODY,
        shared: Shared | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: The address of the database.
            file_modes: Mode and group of SQLite's files.
            before_commit: Called at the end of each transaction that may write, in it.
            passwords: For PostgreSQL: returns the passwords to try for each new connection.
            owner: This process, as the owner of the jobs and intents that it writes.
            shared: The parts that know of other nodes which write the database; None if there are none.
        """
        self._shared = shared
        self._owner = owner
        self._url = url
        self._before_commit = before_commit
        self._file_modes = file_modes
        self._passwords = passwords
        self._fences = _Fences()
        self._schema_lock = threading.Lock()
        self._schema_checked = False

    @cached_property
    def _database(self) -> database.Database:
        return database.open_database(self._url, self._passwords)

    @property
    def _engine(self) -> Engine:
        return self._database.engine

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self._database.look)

    @contextmanager
    def transaction(self, reach: Reach = EVERYTHING) -> Iterator[Transaction]:
        """A transaction that may write; writers go one after the other, as far as they reach.

        Args:
            reach: The writers that it excludes; all others unless named.

        Raises:
            StorageError: The database is locked, full, damaged or missing.
            OutcomeUnknown: The connection broke at the commit, and the outcome could not be found out.
            ConflictError: The change breaks a rule of the schema.
            CoordinationError: A lock under which this thread works was lost, and another holder has written since.
        """
        self._check_schema()
        epochs = {**(self._shared.epochs() if self._shared else {}), **self._fences.epochs}
        with self._begin(read_only=False, reach=reach) as connection:
            tx = Transaction(connection, self._owner)
            for name, epoch in sorted(epochs.items()):
                tx.fence.pass_under(name, epoch)
            yield tx
            self._before_commit(tx)

    @contextmanager
    def fenced(self, name: str, epoch: int) -> Iterator[None]:
        """Have each writing transaction of the calling thread, until the end of the block, refused if a lock was lost.

        Whoever writes under a later epoch of the lock shuts out those of an earlier one, for good.

        Args:
            name: The lock.
            epoch: The token of the lease under which the thread works.
        """
        before = self._fences.epochs
        self._fences.epochs = {**before, name: epoch}
        try:
            yield
        finally:
            self._fences.epochs = before

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that only reads: a consistent view, without waiting for writers.

        Raises:
            StorageError: The database is damaged or missing.
        """
        self._check_schema()
        with self._begin(read_only=True) as connection:
            yield Transaction(connection, self._owner)

    def check_usable(self, mek_id: str) -> None:
        """Refuse a MEK that is being retired as of now, for what is written elsewhere than in rows.

        Raises:
            StateError: Nothing new may be written under the MEK.
            StorageError: The database is damaged or missing.
        """
        with self.reading() as tx:
            tx.meks.check_usable(mek_id)

    def state(self) -> Hashable:
        """A value that is another one as soon as anybody has committed anything, here or on another node.

        Rows that were read after a state was asked for are the present ones as long as the state is equal.

        Raises:
            StorageError: The database cannot be asked.
        """
        self._check_schema()
        try:
            return self._watch.state()
        except SQLAlchemyError as error:
            raise database.translated(error, self._url) from error

    def replace_mark(self, name: str, value: str, is_wanted: IsWanted) -> bool:
        """Set a mark in a transaction of its own, if that is wanted in the place of the one that is there.

        What is written with every other transaction is not written with this one, which such a writer may well make.

        Args:
            name: The name of the mark.
            value: The text to set.
            is_wanted: Decides by the present text; it is asked anew if another writer came first.

        Raises:
            StorageError: The database is locked, full, damaged or missing.
            OutcomeUnknown: The connection broke at the commit, and the outcome could not be found out.
        """
        self._check_schema()
        with self._begin(read_only=False, reach=ROWS) as connection:
            return MarksTable(connection).replace(name, value, is_wanted)

    def has_schema(self) -> bool:
        """Whether the database has tables of ours, of whatever revision.

        Raises:
            StorageError: The database cannot be read.
        """
        with self._begin(read_only=True) as connection:
            return revision_of(connection) is not None

    def ensure_schema(self) -> None:
        """Create the database if it is missing, and bring its schema up to date, all or nothing.

        Raises:
            StorageError: The database cannot be created or written.
            StateError: The schema belongs to a newer program, or other nodes work by the older one.
        """
        from strongroom.repository.migrations import runner

        database.create_file(self._url, self._file_modes)
        self._ask_before_upgrade()
        # the mark of a commit needs a table that may be missing; and making the schema twice changes nothing
        with self._begin(read_only=False, marked=False) as connection:
            self._database.check(connection)
            postgres.take_time(connection)
            present = revision_of(connection)
            if present not in {None, *runner.revisions()}:
                raise _foreign_schema(present)
            if present != REVISION:
                revision = runner.upgrade(connection, present)
                connection.execute(delete(schema_version))
                connection.execute(insert(schema_version).values(revision=revision))

    def _ask_before_upgrade(self) -> None:
        if self._shared is None:
            return
        from strongroom.repository.migrations import runner

        with self._begin(read_only=True) as connection:
            present = revision_of(connection)
        if present in runner.revisions() and present != REVISION:
            self._shared.before_upgrade()

    def close(self) -> None:
        """Close all connections."""
        if "_database" in self.__dict__:
            self._watch.close()
            self._database.close()

    @contextmanager
    def _begin(
        self, *, read_only: bool, reach: Reach = EVERYTHING, marked: bool = True
    ) -> Iterator[Connection]:
        try:
            begun = (
                self._database.reading()
                if read_only
                else self._database.writing(reach, marked=marked)
            )
            with begun as connection:
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
                self._database.check(connection)
                revision = revision_of(connection)
            if revision != REVISION:
                self._upgrade(revision)
            self._schema_checked = True

    def _upgrade(self, present: str | None) -> None:
        """Bring the schema of an older version up to date; done by the first command of the new version."""
        from strongroom.repository.migrations import runner

        if present not in runner.revisions():
            raise _foreign_schema(present)
        self.ensure_schema()


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables of ours; None if there are none."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(select(schema_version.c.revision)).scalar_one_or_none()


def _foreign_schema(revision: str | None) -> StateError:
    return StateError(
        f"the repository has schema {revision or 'none'}, this program needs {REVISION}",
        hint="use the program version that wrote it, or restart 'strongroom serve' to upgrade it",
    )
