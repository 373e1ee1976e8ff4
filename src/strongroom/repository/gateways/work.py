"""Uploads, jobs, intents and marks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from strongroom.repository import tables
from strongroom.repository.gateways.base import (
    UNKNOWN,
    Field,
    TableGateway,
    fixed,
    number,
    pieces,
    present_in,
    upsert,
)
from strongroom.repository.marks_alone import IsWanted
from strongroom.repository.rows import (
    NOBODY,
    IntentRow,
    JobRow,
    Owner,
    Page,
    Query,
    UploadPartRow,
    UploadRow,
)
from strongroom.system.compat import override

_UPLOAD = tables.uploads.c
_PART = tables.upload_parts.c
_JOB = tables.jobs.c
_INTENT = tables.intents.c
_MARK = tables.marks.c
# shown for every job: the middle of the clients' scale, since jobs here have no priority
PRIORITY = 50
QUEUED, RUNNING, CANCELLED = "queued", "running", "cancelled"  # the words of jobs.model.JobState


class UploadsTable(TableGateway[UploadRow]):
    """Chunked uploads and their parts."""

    table = tables.uploads
    row_type = UploadRow
    noun = "upload"

    def add_part(self, part: UploadPartRow, last_at: str) -> int:
        """Insert the row of a part that is whole and synced; returns the upload's bytes including the part.

        Raises:
            ConflictError: The part's number is taken, or the upload is gone.
        """
        with self._conflicts({}):
            self._connection.execute(insert(tables.upload_parts).values(**asdict(part)))
            self._connection.execute(
                update(self.table)
                .where(_UPLOAD.id == part.upload_id)
                .values(bytes=_UPLOAD.bytes + part.plaintext_bytes, last_at=last_at)
            )
        return self.get(part.upload_id).bytes

    def parts(self, upload_id: str) -> list[UploadPartRow]:
        """The parts of an upload in their order."""
        statement = select(tables.upload_parts).where(_PART.upload_id == upload_id)
        found = self._connection.execute(statement.order_by(_PART.number)).mappings()
        return [UploadPartRow(**row) for row in found]

    def last_part(self, upload_id: str) -> UploadPartRow | None:
        """The latest part of an upload; None if no part has come yet."""
        statement = select(tables.upload_parts).where(_PART.upload_id == upload_id)
        latest = statement.order_by(_PART.number.desc()).limit(1)
        found = self._connection.execute(latest).mappings().first()
        return None if found is None else UploadPartRow(**found)

    def list_idle(self, last_before: str, limit: int) -> list[UploadRow]:
        """Some uploads without a new part since a time, the oldest first."""
        idle = select(self.table).where(_UPLOAD.last_at < last_before)
        return self._all(idle.order_by(_UPLOAD.last_at, _UPLOAD.id).limit(limit))

    def is_any_later(self, last_after: str) -> bool:
        """Whether the last part of an upload came after a time."""
        later = select(_UPLOAD.id).where(_UPLOAD.last_at > last_after).limit(1)
        return self._connection.execute(later).first() is not None

    def bring_back(self, last_after: str, now: str) -> int:
        """Give uploads whose last part came after a time the present time; returns how many."""
        return self._change(_UPLOAD.last_at > last_after, {"last_at": now})

    def count_of_user(self, user_id: str, site_id: str) -> int:
        """How many uploads a user has open on a site."""
        return self._count(_UPLOAD.user_id == user_id, _UPLOAD.site_id == site_id)

    def named(self, storage_keys: Iterable[str]) -> frozenset[str]:
        """The parts among these files, by index."""
        return present_in(self._connection, _PART.storage_key, storage_keys)

    def storage_keys(self, site_id: str | None = None) -> set[str]:
        """The storage keys of parts, of a site or of all."""
        statement = select(_PART.storage_key)
        if site_id is not None:
            of_site = select(_UPLOAD.id).where(_UPLOAD.site_id == site_id)
            statement = statement.where(_PART.upload_id.in_(of_site))
        return set(self._connection.execute(statement).scalars())


class JobsTable(TableGateway[JobRow]):
    """Jobs; their ids are the workflows' ids."""

    table = tables.jobs
    row_type = JobRow
    noun = "job"

    def __init__(self, connection: Connection, owner: Owner) -> None:
        super().__init__(connection)
        self._owner = owner

    def page(self, site_id: str | None = None, query: Query | None = None) -> Page[JobRow]:
        """Jobs, newest first, of one site or all."""
        # percent done, as the clients filter by it
        percent = case((_JOB.total == 0, 0), else_=_JOB.done * 100 / _JOB.total)
        fields = {
            "id": Field(_JOB.id),
            "kind": Field(_JOB.kind),
            "state": Field(_JOB.state),
            "luid": Field(_JOB.id),
            "title": Field(_JOB.title),
            "notes": Field(_JOB.note),
            "priority": fixed(PRIORITY),
            "args": UNKNOWN,
            "subtitle": UNKNOWN,
            "progress": Field(percent, number),
            "created_at": Field(_JOB.created_at),
            "started_at": Field(_JOB.started_at),
            "finished_at": Field(_JOB.finished_at),
        }
        conditions = [] if site_id is None else [_JOB.site_id == site_id]
        return self._page(conditions, query or Query(sort=(("created_at", True),)), fields)

    def queued(self, limit: int | None = None, after: JobRow | None = None) -> list[JobRow]:
        """Queued jobs, oldest first; only those behind a given job, if one is given."""
        statement = select(self.table).where(_JOB.state == QUEUED)
        if after is not None:
            place = tuple_(literal(after.created_at), literal(after.id))
            statement = statement.where(tuple_(_JOB.created_at, _JOB.id) > place)
        return self._all(statement.order_by(_JOB.created_at, _JOB.id).limit(limit))

    def queue_mark(self) -> tuple[int, str]:
        """The number of queued jobs and the newest of them, which differ whenever the queue has changed."""
        statement = select(func.count(), func.max(_JOB.id)).where(_JOB.state == QUEUED)
        count, newest = self._connection.execute(statement).one()
        return count, newest or ""

    def open_of_site(self, site_id: str, about: Collection[str] = ()) -> list[JobRow]:
        """Jobs of a site that have not ended, oldest first.

        Args:
            site_id: The site.
            about: Ids of items: only jobs on one of these, and jobs on several or all items; empty for every job.
        """
        statement = select(self.table).where(
            _JOB.site_id == site_id, _JOB.state.in_([QUEUED, RUNNING])
        )
        if about:
            one_of = _JOB.content_id.in_(sorted(about))
            statement = statement.where(or_(_JOB.content_id.is_(None), one_of))
        return self._all(statement.order_by(_JOB.created_at, _JOB.id))

    def running_on(self, site_id: str) -> list[JobRow]:
        """Running jobs of a site, oldest first."""
        statement = select(self.table).where(_JOB.site_id == site_id, _JOB.state == RUNNING)
        return self._all(statement.order_by(_JOB.created_at, _JOB.id))

    def queued_alike(self, kind: str, site_id: str, content_id: str | None) -> list[JobRow]:
        """Queued jobs of this kind, on one item or (None) on several or all."""
        statement = select(self.table).where(
            _JOB.site_id == site_id, _JOB.state == QUEUED, _JOB.content_id == content_id
        )
        statement = statement.where(_JOB.kind == kind)
        return self._all(statement.order_by(_JOB.created_at, _JOB.id))

    def newest_open(self, site_id: str) -> str:
        """When the newest open job of a site was enqueued; empty without an open job."""
        statement = select(func.max(_JOB.created_at)).where(
            _JOB.site_id == site_id, _JOB.state.in_([QUEUED, RUNNING])
        )
        return self._connection.execute(statement).scalar_one() or ""

    def to_forget(self, before: str, most: int, limit: int) -> Sequence[str]:
        """Jobs that ended before a time, and the oldest ended ones beyond a number; some of them.

        Args:
            before: The time; UTC, K-12 form.
            most: How many ended jobs may stay; so many entries of an index are passed over.
            limit: How many jobs to find of each sort.
        """
        ended = select(_JOB.id).where(_JOB.finished_at.is_not(None))
        newest_first = ended.order_by(_JOB.finished_at.desc(), _JOB.id.desc())
        beyond = newest_first.offset(most).limit(limit)
        old = ended.where(_JOB.finished_at < before).limit(limit)
        return sorted(
            {one for ids in (old, beyond) for one in self._connection.execute(ids).scalars()}
        )

    def forget(self, job_ids: Iterable[str]) -> int:
        """Delete jobs that have ended; returns how many there were."""
        return sum(
            self._connection.execute(
                delete(self.table).where(_JOB.id.in_(piece), _JOB.finished_at.is_not(None))
            ).rowcount
            for piece in pieces(job_ids)
        )

    def claim(self, job_id: str, started_at: str) -> bool:
        """Set a queued job to running, for this process; False if it is not queued any more.

        Args:
            job_id: The job.
            started_at: The present time; a job that was given back keeps the time of its first beginning.
        """
        queued = (_JOB.id == job_id) & (_JOB.state == QUEUED)
        first = func.coalesce(_JOB.started_at, started_at)
        return self._own(queued, self._owner, {"state": RUNNING, "started_at": first}) == 1

    def adopt(self) -> int:
        """Take over the running jobs of the dead processes of this node and place; returns how many.

        From here on the dead ones, if they live after all, change nothing of these jobs.
        """
        of_others = [
            job.owner
            for job in self._all(select(self.table).where(_JOB.state == RUNNING))
            if job.owner != self._owner and self._is_mine(job.owner)
        ]
        return sum(
            self._own((_JOB.state == RUNNING) & _is_of(one), self._owner, {})
            for one in dict.fromkeys(of_others)
        )

    def give_back(self, job_id: str, before: Owner) -> bool:
        """Queue a running job again for whichever process takes it; False if it has ended, or is not that owner's any more.

        From here on the owner, if it lives after all, changes nothing of the job. What it has done stays done, and the
        job its place in the order.

        Args:
            job_id: The job.
            before: The process that has worked on it.
        """
        this = (_JOB.id == job_id) & (_JOB.state == RUNNING) & _is_of(before)
        return self._own(this, NOBODY, {"state": QUEUED}) == 1

    def is_held(self, job_id: str) -> bool:
        """Whether this process still works on a job; if so, nobody takes it over before the transaction's end."""
        running = (_JOB.id == job_id) & (_JOB.state == RUNNING) & _is_of(self._owner)
        statement = select(_JOB.id).where(running).with_for_update(read=True)
        return self._connection.execute(statement).first() is not None

    def is_mine(self, job: JobRow) -> bool:
        """Whether a running job is worked on in this process's place of its node."""
        return self._is_mine(job.owner)

    def is_of_node(self, job: JobRow) -> bool:
        """Whether a running job is worked on by this node."""
        return job.owner_node in {"", self._owner.node_id}

    def _is_mine(self, owner: Owner) -> bool:
        return owner.node_id in {"", self._owner.node_id} and owner.place == self._owner.place

    def _own(self, condition: ColumnElement[bool], owner: Owner, changes: Mapping[str, Any]) -> int:
        statement = update(self.table).where(condition)
        statement = statement.values(
            owner_node=owner.node_id,
            owner_boot=owner.boot_id,
            owner_epoch=_JOB.owner_epoch + 1,
            **changes,
        )
        return self._connection.execute(statement).rowcount

    def progress(
        self, job_id: str, *, done: int, total: int, bytes_done: int, bytes_total: int | None = None
    ) -> bool:
        """Store the progress of a running job; False if the job was cancelled, has ended, or another process has it."""
        changes: dict[str, object] = {"done": done, "total": total, "bytes_done": bytes_done}
        if bytes_total is not None:
            changes["bytes_total"] = bytes_total
        running = (_JOB.id == job_id) & (_JOB.state == RUNNING) & _is_of(self._owner)
        return self._change(running, changes) == 1 and not self.get(job_id).cancel_requested

    def finish(
        self,
        job_id: str,
        state: str,
        *,
        finished_at: str,
        receipt: Mapping[str, object] | None = None,
        note: str = "",
        ours: bool = False,
    ) -> bool:
        """End a job; False if it had ended already, or, with `ours`, if another process has it."""
        open_still = (_JOB.id == job_id) & _JOB.state.in_([QUEUED, RUNNING])
        if ours:
            open_still &= _is_of(self._owner)
        changes = {"state": state, "finished_at": finished_at, "receipt": receipt, "note": note}
        return self._change(open_still, changes) == 1

    def request_cancel(self, job_id: str, now: str) -> JobRow:
        """Cancel a job: a queued one ends at once, a running one at its next step; an ended one stays as it is.

        Raises:
            NotFoundError: No job has that id.
        """
        this = _JOB.id == job_id
        ended = {"state": CANCELLED, "cancel_requested": True, "finished_at": now}
        self._change(this & (_JOB.state == QUEUED), ended)
        self._change(this & (_JOB.state == RUNNING), {"cancel_requested": True})
        return self.get(job_id)

    def cancel_of_site(self, site_id: str, now: str) -> None:
        """Cancel all jobs of a site."""
        for job in self.open_of_site(site_id):
            self.request_cancel(job.id, now)

    def list(
        self,
        *,
        site_id: str | None = None,
        states: Collection[str] | None = None,
        limit: int | None = None,
    ) -> list[JobRow]:
        """Jobs, newest first."""
        statement = select(self.table).order_by(_JOB.created_at.desc(), _JOB.id.desc())
        if site_id is not None:
            statement = statement.where(_JOB.site_id == site_id)
        if states is not None:
            statement = statement.where(_JOB.state.in_(list(states)))
        return self._all(statement.limit(limit))


def _is_of(owner: Owner) -> ColumnElement[bool]:
    return (_JOB.owner_node == owner.node_id) & (_JOB.owner_boot == owner.boot_id)


class IntentsTable(TableGateway[IntentRow]):
    """Intents: files that are being written or deleted."""

    table = tables.intents
    row_type = IntentRow
    noun = "intent"
    key = "storage_key"

    def __init__(self, connection: Connection, owner: Owner) -> None:
        super().__init__(connection)
        self._owner = owner

    @override
    def insert(self, row: IntentRow) -> IntentRow:
        """Add an intent, of this process.

        Raises:
            ConflictError: The file has an intent.
        """
        mine = {"node_id": self._owner.node_id, "boot_id": self._owner.boot_id}
        return super().insert(replace(row, **mine))

    def list_of(self, node_id: str) -> "list[IntentRow]":
        """The intents of one node's processes, oldest first."""
        statement = select(self.table).where(_INTENT.node_id == node_id)
        return self._all(statement.order_by(_INTENT.created_at, _INTENT.storage_key))

    def is_own(self, storage_key: str) -> bool:
        """Whether the intent of a file is there, and still this process's."""
        found = self.find(storage_key)
        return found is not None and Owner(found.node_id, found.boot_id) == self._owner

    def nodes(self) -> set[str]:
        """The nodes that have intents."""
        return set(self._connection.execute(select(_INTENT.node_id).distinct()).scalars())

    def list_own(self) -> "list[IntentRow]":
        """The intents of this node's processes, oldest first; and those of an older program, which was alone."""
        of_node = _INTENT.node_id.in_(["", self._owner.node_id])
        statement = select(self.table).where(of_node)
        return self._all(statement.order_by(_INTENT.created_at, _INTENT.storage_key))

    def list(self) -> list[IntentRow]:
        """All intents, oldest first."""
        return self._all(select(self.table).order_by(_INTENT.created_at, _INTENT.storage_key))

    def named(self, storage_keys: Iterable[str]) -> frozenset[str]:
        """The files among these that have an intent, by index."""
        return present_in(self._connection, _INTENT.storage_key, storage_keys)

    def storage_keys(self) -> set[str]:
        """The storage keys of all intents."""
        return set(self._connection.execute(select(_INTENT.storage_key)).scalars())


class MarksTable:
    """Single named values, such as the highest epoch of the KMS store seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, name: str) -> str | None:
        """The value of a mark; None if it is not set."""
        statement = select(_MARK.value).where(_MARK.name == name)
        return self._connection.execute(statement).scalar_one_or_none()

    def set(self, name: str, value: str) -> None:
        """Set a mark, whatever it was."""
        upsert(self._connection, tables.marks, {"name": name}, {"value": value})

    def replace(self, name: str, value: str, is_wanted: IsWanted) -> bool:
        """Set a mark if that is wanted in the place of the one that is there; whether it was set.

        Args:
            name: The name of the mark.
            value: The text to set.
            is_wanted: Decides by the present text; it is asked anew if another writer came first.
        """
        while is_wanted(present := self.find(name)):
            if self._exchange(name, present, value):
                return True
        return False

    def _exchange(self, name: str, present: str | None, value: str) -> bool:
        """Set a mark only if it still has this text, or none; a writer that has not committed is waited for."""
        if present is None:
            return upsert(self._connection, tables.marks, {"name": name}, {"value": value}, false())
        same = update(tables.marks).where(_MARK.name == name, _MARK.value == present)
        return self._connection.execute(same.values(value=value)).rowcount == 1

    def remove(self, name: str) -> None:
        """Remove a mark; nothing if it is not set."""
        self._connection.execute(delete(tables.marks).where(_MARK.name == name))

    def all(self, names: Collection[str]) -> dict[str, str]:
        """The values of those of these marks that are set."""
        statement = select(_MARK.name, _MARK.value).where(_MARK.name.in_(names))
        return {row.name: row.value for row in self._connection.execute(statement)}
