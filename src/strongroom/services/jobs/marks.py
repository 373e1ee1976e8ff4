"""The extracts that a job covers, and the pending states in their rows that announce the job (E-12).

A job for named extracts looks these up by key. A job for a whole site marks its rows by a few statements, whatever their
number. When a job ends, only the rows that it covered get a new state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from strongroom.jobs import plan
from strongroom.jobs.model import JobKind, JobOptions, JobState
from strongroom.repository.gateways.content import Sort
from strongroom.repository.rows import ContentRow, ContentState, JobRow
from strongroom.repository.unit_of_work import Transaction

_ANY_FILE: Final = "a file"
ROWS_AT_ONCE: Final = 500
"""Rows, or ids, in one statement; databases limit the number of parameters."""


@dataclass(frozen=True)
class Scope:
    """The extracts that a job covers, read once from the job's row.

    Attributes:
        kind: The kind of the job.
        site_id: The site of the extracts.
        only: The ids of the extracts; empty for every extract of the site.
        running: Whether the job has begun.
    """

    kind: JobKind
    site_id: str
    only: frozenset[str]
    running: bool = False

    @classmethod
    def of(cls, job: JobRow) -> Self:
        """The scope of a job, from its row."""
        only = frozenset(JobOptions.from_dict(job.options).content_ids)
        # a job that was given back to the queue has begun, too: its marks still say the truth
        begun = job.state == JobState.RUNNING or job.total > 0
        return cls(JobKind(job.kind), job.site_id, only, begun)

    @property
    def is_whole_site(self) -> bool:
        """Whether the job covers every extract of the site."""
        return not self.only

    def covers(self, content_id: str) -> bool:
        """Whether the job covers this extract."""
        return not self.only or content_id in self.only

    def meets(self, other: "Scope") -> bool:
        """Whether both scopes may cover the same extract."""
        if self.site_id != other.site_id:
            return False
        return not self.only or not other.only or not self.only.isdisjoint(other.only)

    def looks_at(self, row: ContentRow) -> bool:
        """Whether the job covers the row, and the row's file is of a sort that the job handles."""
        return (
            self.covers(row.id)
            and bool(row.storage_key)
            and plan.in_scope(self.kind, encrypted=bool(row.file_id), has_extract=row.has_extract)
        )

    def batch(self, tx: Transaction, after_id: str = "") -> list[ContentRow]:
        """The next rows that the job covers, behind an id and in the order of ids; empty at the end."""
        if not self.only:
            return tx.contents.list_for_site(self.site_id, after_id=after_id, limit=ROWS_AT_ONCE)
        named = sorted(one for one in self.only if one > after_id)
        for first in range(0, len(named), ROWS_AT_ONCE):
            found = tx.contents.list_by_ids(self.site_id, named[first : first + ROWS_AT_ONCE])
            if found:
                return found
        return []

    def rows(self, tx: Transaction) -> Iterator[ContentRow]:
        """All rows that the job covers, in the order of ids."""
        after_id = ""
        while found := self.batch(tx, after_id):
            yield from found
            after_id = found[-1].id


@dataclass(frozen=True)
class Marked:
    """The amount of a job's work.

    Attributes:
        count: How many extracts the job looks at.
        changing_bytes: Plaintext bytes of the extracts that it will change, by their rows.
    """

    count: int
    changing_bytes: int


def mark_pending(
    tx: Transaction, scope: Scope, *, only_settled: bool, active_mek_id: str = ""
) -> Marked:
    """Set the pending state of a job in the rows that it will change.

    Args:
        tx: The transaction of the caller.
        scope: The extracts of the job.
        only_settled: Leave rows alone that are pending for another job; False when the job begins.
        active_mek_id: The active MEK, to count the extracts that are not under it.
    """
    if scope.is_whole_site:
        return _mark_site(tx, scope, only_settled=only_settled, active_mek_id=active_mek_id)
    count = size = 0
    for row in scope.rows(tx):
        if not scope.looks_at(row):
            continue
        count += 1
        if plan.changes(scope.kind, row.file_id, current=row.mek_id == active_mek_id):
            size += row.plaintext_bytes
        state = _pending(scope.kind, row)
        settled = ContentState(row.state) not in plan.PENDING
        if state in plan.PENDING and state != row.state and (settled or not only_settled):
            tx.contents.set_state(row.id, [row.state], state)
    return Marked(count, size)


def _mark_site(tx: Transaction, scope: Scope, *, only_settled: bool, active_mek_id: str) -> Marked:
    """The same for all rows of a site, by a statement for each sort: a site may have very many, and all writers wait."""
    count = size = 0
    kind = scope.kind
    for sort, tally in tx.contents.tally(scope.site_id, active_mek_id).items():
        facts = {"encrypted": sort.encrypted, "has_extract": bool(sort.has_extract)}
        if not plan.in_scope(kind, **facts):
            continue
        count += tally.number
        file_id = _ANY_FILE if sort.encrypted else ""
        if plan.changes(kind, file_id, current=True):
            size += tally.bytes
        elif plan.changes(kind, file_id, current=False):
            size += tally.other_bytes
        state = plan.pending_state(kind, **facts)
        if state in plan.PENDING:
            others = set(ContentState) - {state}
            marked = others - set(plan.PENDING) if only_settled else others
            tx.contents.set_states(scope.site_id, sort, marked, state)
    return Marked(count, size)


def settle(tx: Transaction, ended: Scope) -> None:
    """Set the states of the rows that an ended job covered: pending for the oldest open job that covers them, or settled."""
    about = ended.only if len(ended.only) <= ROWS_AT_ONCE else ()
    waiting = _Waiting([Scope.of(job) for job in tx.jobs.open_of_site(ended.site_id, about)])
    if ended.is_whole_site and not waiting.is_anybody:
        for encrypted in (True, False):
            settled = plan.settled_state(encrypted=encrypted)
            tx.contents.set_states(ended.site_id, Sort(encrypted, None), plan.PENDING, settled)
        return
    for row in ended.rows(tx):
        state = waiting.state_of(row)
        if state != row.state:
            tx.contents.set_state(row.id, [row.state], state)


class _Waiting:
    """The open jobs of a site, indexed by extract."""

    def __init__(self, scopes: list[Scope]) -> None:
        self._whole = [(age, scope) for age, scope in enumerate(scopes) if scope.is_whole_site]
        self._named: dict[str, list[tuple[int, Scope]]] = {}
        for age, scope in enumerate(scopes):
            for content_id in scope.only:
                self._named.setdefault(content_id, []).append((age, scope))
        self.is_anybody = bool(scopes)

    def state_of(self, row: ContentRow) -> ContentState:
        """The state that the oldest open job that covers a row gives to it; settled if no open job does."""
        about = sorted(self._whole + self._named.get(row.id, []), key=lambda one: one[0])
        for _, scope in about:
            state = _pending(scope.kind, row)
            # A re-encryption leaves no trace in the row but its pending state: a row without that state, covered by a
            # running re-encryption, is done already.
            done = scope.running and scope.kind is JobKind.REENCRYPT and state != row.state
            if state in plan.PENDING and scope.looks_at(row) and not done:
                return state
        return plan.settled_state(encrypted=bool(row.file_id))


def _pending(kind: JobKind, row: ContentRow) -> ContentState:
    return plan.pending_state(kind, encrypted=bool(row.file_id), has_extract=row.has_extract)
