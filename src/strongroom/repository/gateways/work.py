"""Uploads, jobs, intents and marks: what is under way."""

from collections.abc import Collection, Mapping
from dataclasses import asdict

from sqlalchemy import Connection, case, insert, select, update

from strongroom.repository import tables
from strongroom.repository.gateways.base import Field, TableGateway, number
from strongroom.repository.rows import (
    IntentRow,
    JobRow,
    Page,
    Query,
    UploadPartRow,
    UploadRow,
)

_UPLOAD = tables.uploads.c
_PART = tables.upload_parts.c
_JOB = tables.jobs.c
_INTENT = tables.intents.c
_MARK = tables.marks.c
QUEUED, RUNNING, CANCELLED = "queued", "running", "cancelled"  # the words of jobs.model.JobState


class UploadsTable(TableGateway[UploadRow]):
    """Chunked uploads and their parts."""

    table = tables.uploads
    row_type = UploadRow
    noun = "upload"

    def add_part(self, part: UploadPartRow, last_at: str) -> int:
        """Count a part that is whole and synced; returns the upload's bytes with it.

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

    def list_idle(self, last_before: str) -> list[UploadRow]:
        """Uploads that nobody continued since."""
        return self._all(select(self.table).where(_UPLOAD.last_at < last_before))

    def list_for_site(self, site_id: str) -> list[UploadRow]:
        """Uploads of a site."""
        return self._all(select(self.table).where(_UPLOAD.site_id == site_id))

    def storage_keys(self, site_id: str | None = None) -> set[str]:
        """The file store's keys of parts, of one site or all."""
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

    def page(self, site_id: str | None = None, query: Query | None = None) -> Page[JobRow]:
        """Jobs, newest first, of one site or all."""
        # percent done, as the clients filter by it
        percent = case((_JOB.total == 0, 0), else_=_JOB.done * 100 / _JOB.total)
        fields = {
            "id": Field(_JOB.id),
            "kind": Field(_JOB.kind),
            "state": Field(_JOB.state),
            "title": Field(_JOB.title),
            "progress": Field(percent, number),
            "created_at": Field(_JOB.created_at),
            "started_at": Field(_JOB.started_at),
            "finished_at": Field(_JOB.finished_at),
        }
        conditions = [] if site_id is None else [_JOB.site_id == site_id]
        return self._page(conditions, query or Query(sort=(("created_at", True),)), fields)

    def queued(self, limit: int | None = None) -> list[JobRow]:
        """Jobs that wait for a worker, oldest first."""
        statement = select(self.table).where(_JOB.state == QUEUED)
        return self._all(statement.order_by(_JOB.created_at, _JOB.id).limit(limit))

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

    def claim(self, job_id: str, started_at: str) -> bool:
        """Take a queued job; says whether it was still there to be taken."""
        condition = (_JOB.id == job_id) & (_JOB.state == QUEUED)
        return self._change(condition, {"state": RUNNING, "started_at": started_at}) == 1

    def progress(
        self, job_id: str, *, done: int, total: int, bytes_done: int, note: str | None = None
    ) -> bool:
        """Write how far a running job is; says whether to go on (not if cancelled or ended)."""
        changes: dict[str, object] = {"done": done, "total": total, "bytes_done": bytes_done}
        if note is not None:
            changes["note"] = note
        running = (_JOB.id == job_id) & (_JOB.state == RUNNING)
        return self._change(running, changes) == 1 and not self.get(job_id).cancel_requested

    def finish(
        self,
        job_id: str,
        state: str,
        *,
        finished_at: str,
        receipt: Mapping[str, object] | None = None,
        note: str = "",
    ) -> bool:
        """End a job that has not ended; says whether it had not."""
        open_still = (_JOB.id == job_id) & _JOB.state.in_([QUEUED, RUNNING])
        changes = {"state": state, "finished_at": finished_at, "receipt": receipt, "note": note}
        return self._change(open_still, changes) == 1

    def request_cancel(self, job_id: str, now: str) -> JobRow:
        """Ask a job to stop: a queued one ends at once, a running one at its next step.

        A job that has ended stays as it is.

        Raises:
            NotFoundError: There is no such job.
        """
        this = _JOB.id == job_id
        ended = {"state": CANCELLED, "cancel_requested": True, "finished_at": now}
        self._change(this & (_JOB.state == QUEUED), ended)
        self._change(this & (_JOB.state == RUNNING), {"cancel_requested": True})
        return self.get(job_id)

    def cancel_of_site(self, site_id: str, now: str) -> None:
        """Ask all jobs of a site to stop."""
        for job in self.list(site_id=site_id, states=[QUEUED, RUNNING]):
            self.request_cancel(job.id, now)


class IntentsTable(TableGateway[IntentRow]):
    """Files being written (architecture, section 9 rule 4)."""

    table = tables.intents
    row_type = IntentRow
    noun = "intent"
    key = "storage_key"

    def list(self) -> list[IntentRow]:
        """All intents, oldest first."""
        return self._all(select(self.table).order_by(_INTENT.created_at, _INTENT.storage_key))

    def storage_keys(self) -> set[str]:
        """The file store's keys of files being written."""
        return set(self._connection.execute(select(_INTENT.storage_key)).scalars())


class MarksTable:
    """Single named values, such as the highest epoch of the KMS store seen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, name: str) -> str | None:
        """The mark's value, or None."""
        statement = select(_MARK.value).where(_MARK.name == name)
        return self._connection.execute(statement).scalar_one_or_none()

    def set(self, name: str, value: str) -> None:
        """Set a mark."""
        changed = self._connection.execute(
            update(tables.marks).where(_MARK.name == name).values(value=value)
        )
        if changed.rowcount == 0:
            self._connection.execute(insert(tables.marks).values(name=name, value=value))
