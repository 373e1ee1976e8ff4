"""The work of a job on one extract: decide whether to change it, make the new file, switch the row, check the result.

A kill at any moment is harmless because of the order: the vault writes the new file, syncs it and reads it back; then
one transaction writes the event and switches the row, if the row still names the old file; the old file is deleted
last. A rewrap changes the header page in place, which the vault does safely by itself. A file without a row that a
killed process leaves is deleted at a start (`services.content.stored_files`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from strongroom.clock import Clock
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import (
    CoordinationError,
    NotFoundError,
    OutcomeUnknown,
    StateError,
    StorageUnavailableError,
    StrongroomError,
)
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import extract_events
from strongroom.extracts.vault import ExtractVault, StoredFile, Throttle
from strongroom.filestore.base import FileStore
from strongroom.jobs import plan
from strongroom.jobs.model import JobKind, JobOptions
from strongroom.jobs.plan import Action
from strongroom.repository.reach import of_site
from strongroom.repository.rows import ContentRow, ContentState, JobRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services.jobs.heartbeat import Heartbeat
from strongroom.services.jobs.journal import JobJournal
from strongroom.services.jobs.marks import Scope

PASSING: Final = (StorageUnavailableError, CoordinationError, OutcomeUnknown)
"""Errors that say nothing of a job or an extract: a service is away, and the job goes on when it is back."""
_NOT_CHANGED: Final = "not changed yet"
_ATTEMPTS: Final = 5
"""How often one extract is tried again because a user or another job changed it meanwhile."""


@dataclass(frozen=True)
class Ports:
    """The ports of the work."""

    repository: Repository
    files: FileStore
    keys: EnvelopeKeys
    event_log: EventLog
    clock: Clock


class ItemWork:
    """The work of one job on its extracts, one at a time; threads may share the object."""

    def __init__(self, ports: Ports, job: JobRow) -> None:
        self._ports = ports
        self._journal = JobJournal(ports.repository, ports.files, ports.clock)
        self._vault = ExtractVault(ports.files, ports.keys)
        self._job = job
        self.scope = Scope.of(job)
        self._kind = self.scope.kind
        options = JobOptions.from_dict(job.options)
        self._new_data_key = options.new_data_key
        # a whole site's headers take long to read: only with few files, or on request, is each header read
        self.looks_closely = options.verify or not self.scope.is_whole_site
        self.left: dict[str, str] = {}
        """Old files that could not be deleted, by extract."""

    def decide(self, row: ContentRow) -> Action:
        """The action that the job takes on a row.

        The row's MEK is trusted while the active MEK is the only one. After a rotation, or on request, the header is
        read, since a crash may have left row and header with different MEKs. An unreadable header counts as not
        current: the attempt to change the file then reports the error.
        """
        if self._is_believed(row):
            return self._by_row(row)
        try:
            return self._decide(row)
        except StrongroomError:
            return self._action(row, current=False)

    def settle(self, content_id: str, heartbeat: Heartbeat) -> int | None:
        """Bring one extract into the wanted state.

        Returns:
            The plaintext bytes of an extract that this job changed, in this process or in an earlier one; None if the
            extract was deleted, or left the job's scope.

        Raises:
            StrongroomError: The extract cannot be changed, and is as before.
            JobCancelledError: The job was cancelled; the extract is as before.
            WorkerStopping: The process shall end; the extract is as before.
        """
        for _ in range(_ATTEMPTS):
            heartbeat.check()
            row = self._row(content_id)
            if row is None or not self.scope.looks_at(row):
                return None
            action = self.decide(row)
            if action is Action.LEAVE:
                # the extract was planned because it had to be changed: an earlier process of this job has done that
                return row.plaintext_bytes
            try:
                if self._change(row, action, heartbeat):
                    return row.plaintext_bytes
                heartbeat.flush()  # whether the job is still this process's
            except NotFoundError:
                # the file was gone before it was opened, since a user deleted the extract or published it anew; only if
                # the row still names the file is the file lost
                if self._row(content_id) == row:
                    raise
        raise _busy(content_id)

    def wrong_by_row(self, row: ContentRow) -> str:
        """A sentence if an extract is not in the wanted state by its row; empty if it is."""
        return "" if self._by_row(row) is Action.LEAVE else _NOT_CHANGED

    def wrong(self, content_id: str, *, open_file: bool) -> str:
        """A sentence if an extract is not in the wanted state; empty if it is, or was deleted.

        Args:
            content_id: The extract.
            open_file: Also authenticate header, key commitment and last segment, and compare the size.

        Raises:
            StorageUnavailableError, CoordinationError, OutcomeUnknown: A service is away, and nobody knows.
        """
        for _ in range(_ATTEMPTS):
            row = self._row(content_id)
            if row is None or not self.scope.looks_at(row):
                return ""
            try:
                if self._decide(row) is not Action.LEAVE:
                    return _NOT_CHANGED
                if open_file:
                    self._vault.open(stored_file(row), Placement(row.site_id, row.id)).close()
            except PASSING:
                raise
            except StrongroomError as error:
                if not isinstance(error, NotFoundError) or self._row(content_id) == row:
                    return error.with_hint
            else:
                return ""
        return _busy(content_id).with_hint

    def tidy(self) -> None:
        """Delete the intents of deleted files, all in one commit."""
        self._journal.forget_dropped()

    def remove(self, left: Mapping[str, str]) -> dict[str, str]:
        """Try once more to delete old files; returns a sentence for each that cannot be deleted."""
        reasons = {one: self._journal.drop(key, kept="") for one, key in left.items()}
        self.tidy()
        return {
            content_id: f"its file from before cannot be removed: {reason}"
            for content_id, reason in reasons.items()
            if reason
        }

    def _change(self, row: ContentRow, action: Action, heartbeat: Heartbeat) -> bool:
        """Make the new file and switch the row to it; False if the row names another file by now, or the job was taken over."""
        new = self._written(row, action, heartbeat.throttle(row.id, row.plaintext_bytes))
        # If the switch raises, it is unknown whether the commit is durable, and which file the row names: neither file
        # may be deleted. Both have intents, by which the next start decides.
        if self._switch(row, action, new):
            self._drop(row.id, row.storage_key, kept=new.storage_key)
            return True
        self._drop(row.id, new.storage_key, kept=row.storage_key)
        return False

    def _drop(self, content_id: str, storage_key: str, *, kept: str) -> None:
        if self._journal.drop(storage_key, kept=kept):
            self.left[content_id] = storage_key

    def _written(self, row: ContentRow, action: Action, throttle: Throttle) -> StoredFile:
        planned: list[str] = []

        def announce(new: StoredFile) -> None:
            planned.append(new.storage_key)
            self._journal.announce(new)

        check = self._ports.repository.check_usable
        vault = ExtractVault(
            self._ports.files, self._ports.keys, intent=announce, check_usable=check
        )
        place = Placement(row.site_id, row.id)
        try:
            new = _applied(vault, action, stored_file(row), place, throttle)
            if new.mek_id and new.mek_id != self._ports.keys.active_mek_id:
                # Keys were rotated while the file was written. This is checked when the file is visible in the store,
                # where a retirement of the old MEK counts it: either that sees the file, or we see the rotation.
                new = vault.rewrap(new, place)
        except BaseException:
            for storage_key in planned:
                self._journal.drop(storage_key, kept=row.storage_key)
            raise
        return new

    def _switch(self, row: ContentRow, action: Action, new: StoredFile) -> bool:
        state = plan.settled_state(encrypted=new.encrypted)
        with self._ports.repository.transaction(of_site(row.site_id)) as tx:
            # a process that took over the job does this extract as well
            if not tx.jobs.is_held(self._job.id):
                return False
            if not self._journal.may_switch(tx, old=stored_file(row), new=new):
                return False
            tx.meks.check_usable(new.mek_id)
            if not tx.contents.switch_file(row.id, row.storage_key, new, state):
                return False
            self._journal.switched(tx, old=stored_file(row), new=new)
            # the event comes before the commit: an event of a change that was not made is harmless, a change without an
            # event is not
            self._ports.event_log.append([_event(self._job.actor, row, action, new)])
        return True

    def _decide(self, row: ContentRow) -> Action:
        if not row.file_id or self._kind is JobKind.DECRYPT:
            return self._action(row, current=False)
        active = self._ports.keys.active_mek_id
        if row.mek_id != active:
            return self._action(row, current=False)
        return self._action(row, current=self._vault.mek_ids(row.storage_key) == {active})

    def _is_believed(self, row: ContentRow) -> bool:
        if not row.file_id or self._kind is JobKind.DECRYPT:
            return True
        return not self.looks_closely and self._ring.known == {row.mek_id}

    def _by_row(self, row: ContentRow) -> Action:
        if not row.file_id or self._kind is JobKind.DECRYPT:
            return self._action(row, current=False)
        return self._action(row, current=row.mek_id == self._ring.active)

    @cached_property
    def _ring(self) -> "_Ring":
        """The MEKs at the beginning of this piece of work; the next piece sees a rotation that comes meanwhile."""
        return _Ring(self._ports.keys.active_mek_id, self._ports.keys.known_mek_ids())

    def _action(self, row: ContentRow, *, current: bool) -> Action:
        return plan.decide(
            self._kind,
            ContentState(row.state),
            encrypted=bool(row.file_id),
            current=current,
            new_data_key=self._new_data_key,
        )

    def _row(self, content_id: str) -> ContentRow | None:
        with self._ports.repository.reading() as tx:
            return tx.contents.find(content_id)


@dataclass(frozen=True)
class _Ring:
    active: str
    known: frozenset[str]


def stored_file(row: ContentRow) -> StoredFile:
    """The file that a row names."""
    return StoredFile(
        row.storage_key, row.file_id, row.mek_id, row.plaintext_bytes, row.stored_bytes
    )


def _applied(
    vault: ExtractVault, action: Action, old: StoredFile, place: Placement, throttle: Throttle
) -> StoredFile:
    match action:
        case Action.ENCRYPT:
            return vault.encrypt(old, place, throttle=throttle)
        case Action.DECRYPT:
            return vault.decrypt(old, place, throttle=throttle)
        case Action.REENCRYPT:
            return vault.reencrypt(old, place, throttle=throttle)
        case Action.REWRAP | Action.LEAVE:
            return vault.rewrap(old, place)


def _event(actor: str, row: ContentRow, action: Action, new: StoredFile) -> Event:
    size = row.plaintext_bytes
    match action:
        case Action.ENCRYPT:
            return extract_events.extract_encrypted(
                actor, row.site_id, row.id, new.mek_id, size=size
            )
        case Action.DECRYPT:
            return extract_events.extract_decrypted(actor, row.site_id, row.id, size=size)
        case Action.REENCRYPT:
            return extract_events.extract_reencrypted(
                actor, row.site_id, row.id, new.mek_id, size=size
            )
        case Action.REWRAP | Action.LEAVE:
            return extract_events.extract_rewrapped(
                actor, row.site_id, row.id, before=row.mek_id, after=new.mek_id
            )


def _busy(content_id: str) -> StateError:
    return StateError(
        f"extract {content_id} was changed by others {_ATTEMPTS} times", hint="start the job again"
    )
