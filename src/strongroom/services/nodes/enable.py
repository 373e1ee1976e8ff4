"""The move of a single node's entries and rows to the services of a cluster: copied, compared, and only then in force.

Nothing of the node changes before its file of services is written, in one step. Until then a failure or a kill leaves a
single node as it was, and some copies outside that nobody reads; the next attempt begins anew there. Afterwards the
node is one of a cluster, and the next attempt does what is left.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from strongroom.coordination import locks
from strongroom.coordination.base import Coordinator, EntryStore, Versioned
from strongroom.coordination.locks import Scope
from strongroom.errors import ConflictError, IntegrityError, StateError
from strongroom.repository.reach import EVERYTHING
from strongroom.repository.unit_of_work import Repository
from strongroom.repository.whole_rows import Extent

MARK: Final = "arriving"
"""The mark of the repository that names the attempt which brought its rows."""
_UNFINISHED: Final[Mapping[str, str]] = {
    "journal/regenerate": "tsm security regenerate-internal-tokens",
    "journal/recover": "strongroom recover",
}
_LOCK_WAIT_S: Final = 5.0


class EntryTarget(EntryStore, Protocol):
    """The coordination service of the cluster, as a place to bring entries to."""

    def check_arrival(self, run: str) -> None:
        """Refuse a tree that is in use."""
        ...

    def bring(self, run: str, found: Mapping[str, Versioned]) -> None:
        """Bring all entries, at their versions."""
        ...

    def end_arrival(self, run: str) -> None:
        """Forget an attempt that is done."""
        ...


class Frozen(Protocol):
    """The embedded databases while nobody can write to them."""

    def refuse_for_good(self) -> None:
        """Have them refuse every later change."""
        ...


@dataclass(frozen=True)
class EnablePorts:
    """The stores that a move works on, and its steps on the disk.

    Attributes:
        locks: The coordination service of the node, for its locks.
        entries: The store of the node's entries.
        repository: The node's repository.
        target_entries: The cluster's coordination service.
        target_repository: The cluster's repository.
        prove: Proves all entries of a store by their MACs.
        compare: Returns sentences on how the node contradicts its anchors; none if nothing was put back.
        frozen: Keeps all writers out of the embedded databases.
        begin: Writes the journal.
        commit: Writes the file of services.
    """

    locks: Coordinator
    entries: EntryStore
    repository: Repository
    target_entries: EntryTarget
    target_repository: Repository
    prove: Callable[[EntryStore], None]
    compare: Callable[[], tuple[str, ...]]
    frozen: Callable[[], AbstractContextManager[Frozen]]
    begin: Callable[[], None]
    commit: Callable[[], None]


class Extents(NamedTuple):
    """How much there is to move.

    Attributes:
        entries: The number of entries.
        entry_bytes: The bytes of the entries.
        writes: How often ZooKeeper is to count, for the entries' versions.
        rows: The number of rows.
        row_bytes: The bytes of the rows.
    """

    entries: int
    entry_bytes: int
    writes: int
    rows: int
    row_bytes: int


class EnableService:
    """Moves one node."""

    def __init__(self, ports: EnablePorts, run: str) -> None:
        """Take the ports.

        Args:
            ports: The stores that the move works on, and its steps on the disk.
            run: The id of the attempt: that of the journal, if an earlier one has not ended.
        """
        self._ports = ports
        self._run = run

    def plan(self) -> Extents:
        """Look at what is to be moved and at where it is to go; nothing is changed.

        Raises:
            StateError: Something of the node is unfinished.
            ConflictError: The services of the cluster are in use.
            IntegrityError: An entry of the node is refused, or the node contradicts its anchors.
        """
        self._check_finished()
        ports = self._ports
        ports.prove(ports.entries)
        self._check_anchors()
        ports.target_entries.check_arrival(self._run)
        self._check_rows(None)
        found = ports.entries.list("")
        rows = _extents(ports.repository)
        return Extents(
            len(found),
            sum(len(one.value) for one in found.values()),
            sum(one.version for one in found.values()),
            sum(one.rows for one in rows.values()),
            sum(one.size for one in rows.values()),
        )

    def run(self, report: Callable[[str], None]) -> Extents:
        """Copy, compare and put in force.

        Args:
            report: Is told each step.

        Raises:
            StateError: Something of the node is unfinished.
            ConflictError: The services of the cluster are in use, or a command works on the node.
            CoordinationError: ZooKeeper does not answer; nothing is in force.
            StorageError: PostgreSQL or the disk refuses; nothing is in force.
            IntegrityError: The copies that arrived differ from what was sent; nothing is in force.
        """
        plan, ports = self.plan(), self._ports
        with ExitStack() as stack:
            for name, scope in locks.DECLARED.items():
                if scope is Scope.CLUSTER:
                    stack.enter_context(ports.locks.lock(name, wait_s=_LOCK_WAIT_S))
            frozen = stack.enter_context(ports.frozen())
            # looked at once more, now that nobody can begin something
            self._check_finished()
            ports.begin()
            report("copying the entries to ZooKeeper")
            self._bring_entries()
            report("copying the rows to PostgreSQL")
            self._bring_rows()
            report("putting the services of the cluster in force")
            ports.commit()
            frozen.refuse_for_good()
        return plan

    def _check_finished(self) -> None:
        there = self._ports.entries.list("journal/")
        for name, command in _UNFINISHED.items():
            if name in there:
                raise StateError(
                    f"something was interrupted, and {name} is still there",
                    hint=f"finish it first: {command}",
                )

    def _check_anchors(self) -> None:
        """Refuse to bring what was put back: the anchors are copied too, and the cluster would begin with a refusal."""
        found = self._ports.compare()
        if found:
            raise IntegrityError(
                f"the state was put back or changed: {found[0]}",
                hint="find out who put it back: 'strongroom anchor verify' says more",
            )

    def _bring_entries(self) -> None:
        source, target = self._ports.entries, self._ports.target_entries
        found = dict(source.list(""))
        target.bring(self._run, found)
        if dict(target.list("")) != found:
            raise IntegrityError("the entries in ZooKeeper are not those of this node")
        self._ports.prove(target)

    def _bring_rows(self) -> None:
        source, target = self._ports.repository, self._ports.target_repository
        target.ensure_schema()
        with source.reading() as old, target.transaction(EVERYTHING) as new:
            self._check_rows(new.marks.find(MARK))
            new.whole.replace(old.whole.rows)
            for name in old.whole.names():
                if old.whole.extent(name) != new.whole.extent(name):
                    raise IntegrityError(
                        f"the rows of {name} in PostgreSQL are not those of this node"
                    )
            # in the same transaction: rows without this mark are those of a cluster that lives
            new.marks.set(MARK, self._run)

    def _check_rows(self, mark: str | None) -> None:
        """Refuse a repository with rows that another attempt, or nobody who may, has brought."""
        target = self._ports.target_repository
        if not target.has_schema():
            return
        with target.reading() as tx:
            mark = mark or tx.marks.find(MARK)
            is_used = not tx.whole.is_empty("sites")
        if mark not in {None, self._run}:
            raise ConflictError(
                "another attempt to bring a node into this database of PostgreSQL has not ended",
                hint="finish it on the machine that began it; if that one is gone, make the database anew",
            )
        if is_used and mark is None:
            raise ConflictError(
                "there is an installation in this database of PostgreSQL already",
                hint="name an empty database",
            )


def _extents(repository: Repository) -> dict[str, Extent]:
    with repository.reading() as tx:
        return {name: tx.whole.extent(name) for name in tx.whole.names()}
