"""One extract of a job: decides, changes its file, switches its row, and says what is wrong with it.

The order that makes a kill harmless: new file written, synced and read back (the vault's work);
then one transaction that writes the event and switches the row, if the row still names the old
file; the old file goes last. A rewrap changes the header page in place, which the vault does crash-
safe by itself. What lies in the store without a row after a kill is removed at a start
(`services.recovery`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.clock import Clock
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import NotFoundError, StateError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.extracts.vault import ExtractVault, StoredFile, Throttle
from strongroom.filestore.base import FileStore
from strongroom.jobs.model import JobKind, JobOptions
from strongroom.repository.rows import ContentRow, ContentState, JobRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services import extract_plan
from strongroom.services import jobs as job_service
from strongroom.services.extract_plan import Action
from strongroom.services.job_journal import JobJournal
from strongroom.services.job_pulse import Pulse

_ATTEMPTS: Final = 5
"""Times that one extract is looked at again because somebody else changed it."""


@dataclass(frozen=True)
class Ports:
    """What the work works on."""

    repository: Repository
    files: FileStore
    keys: EnvelopeKeys
    events: EventLog
    clock: Clock


class ItemWork:
    """What one job does to its extracts, one at a time; threads may share it."""

    def __init__(self, ports: Ports, job: JobRow) -> None:
        self._ports = ports
        self._journal = JobJournal(ports.repository, ports.files, ports.clock)
        self._vault = ExtractVault(ports.files, ports.keys)
        self._job = job
        self._kind = JobKind(job.kind)
        self._new_data_key = JobOptions.from_dict(job.options).new_data_key
        self.left: dict[str, str] = {}
        """Files that had to go and are still there, by extract."""

    def decide(self, row: ContentRow) -> Action:
        """What the job has to do with a row.

        A header that cannot be read counts as not current: the attempt to change it tells what is
        wrong with it.
        """
        try:
            return self._decide(row)
        except StrongroomError:
            return self._action(row, current=False)

    def settle(self, content_id: str, pulse: Pulse) -> int | None:
        """Bring one extract into the wanted state.

        Returns:
            The plaintext bytes of an extract that this job changed, in this process or in one
            before it; None if it is no longer the job's business.

        Raises:
            StrongroomError: It cannot be changed; it is as it was.
            JobCancelledError: The job was cancelled; the extract is as it was.
            WorkerStopping: The process is to end; the extract is as it was.
        """
        for _ in range(_ATTEMPTS):
            pulse.check()
            row = self._row(content_id)
            if row is None or not job_service.scoped(self._kind, row):
                return None
            action = self.decide(row)
            if action is Action.LEAVE:
                # planned, and right by now: the work of a process before this one
                return row.plaintext_bytes
            try:
                if self._change(row, action, pulse):
                    return row.plaintext_bytes
            except NotFoundError:
                # its file went before it was opened: deleted or published anew, unless the row
                # still names it
                if self._row(content_id) == row:
                    raise
        raise _busy(content_id)

    def wrong(self, content_id: str, *, open_file: bool) -> str:
        """Why an extract is not in the wanted state; empty if it is, or is gone.

        Args:
            content_id: The extract.
            open_file: Also authenticate its header, key commitment and last segment, and compare
                its size.
        """
        for _ in range(_ATTEMPTS):
            row = self._row(content_id)
            if row is None or not job_service.scoped(self._kind, row):
                return ""
            try:
                if self._decide(row) is not Action.LEAVE:
                    return "not changed yet"
                if open_file:
                    self._vault.open(stored_file(row), Placement(row.site_id, row.id)).close()
            except StrongroomError as error:
                if not isinstance(error, NotFoundError) or self._row(content_id) == row:
                    return error.message
            else:
                return ""
        return _busy(content_id).message

    def tidy(self) -> None:
        """Forget the files that went: their intents are kept until here, to spare a commit for each."""
        self._journal.forget_dropped()

    def remove(self, left: Mapping[str, str]) -> dict[str, str]:
        """Try once more to remove files that are in nobody's way; returns why each is still there."""
        reasons = {one: self._journal.drop(key, kept="") for one, key in left.items()}
        self.tidy()
        return {
            content_id: f"its file from before cannot be removed: {reason}"
            for content_id, reason in reasons.items()
            if reason
        }

    def _change(self, row: ContentRow, action: Action, pulse: Pulse) -> bool:
        """Make the new file and let the row have it; False if the row names another file meanwhile."""
        new = self._written(row, action, pulse.throttle(row.id, row.plaintext_bytes))
        # if this raises, nobody knows whether the row was switched: no file may go then
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

        vault = ExtractVault(self._ports.files, self._ports.keys, intent=announce)
        place = Placement(row.site_id, row.id)
        try:
            new = _applied(vault, action, stored_file(row), place, throttle)
            if new.mek_id and new.mek_id != self._ports.keys.active_mek_id:
                # rotated while it was written; asked when the file is in the store, where a retire
                # counts it: either the retire saw it, or it is seen here
                new = vault.rewrap(new, place)
        except BaseException:
            for storage_key in planned:
                self._journal.drop(storage_key, kept=row.storage_key)
            raise
        return new

    def _switch(self, row: ContentRow, action: Action, new: StoredFile) -> bool:
        state = extract_plan.settled_state(encrypted=new.encrypted)
        with self._ports.repository.transaction() as tx:
            if not tx.contents.switch_file(row.id, row.storage_key, new, state):
                return False
            self._journal.switched(tx, old=stored_file(row), new=new)
            # before the commit: an event of a change that was not made is harmless, a change
            # without one is not
            self._ports.events.append([_event(self._job.actor, row, action, new)])
        return True

    def _decide(self, row: ContentRow) -> Action:
        if not row.file_id or self._kind is JobKind.DECRYPT:
            return self._action(row, current=False)
        active = self._ports.keys.active_mek_id
        meks = self._vault.mek_ids(row.storage_key)
        return self._action(row, current=meks == {active} and row.mek_id == active)

    def _action(self, row: ContentRow, *, current: bool) -> Action:
        return extract_plan.decide(
            self._kind,
            ContentState(row.state),
            encrypted=bool(row.file_id),
            current=current,
            new_data_key=self._new_data_key,
        )

    def _row(self, content_id: str) -> ContentRow | None:
        with self._ports.repository.reading() as tx:
            return tx.contents.find(content_id)


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
            return events.extract_encrypted(actor, row.site_id, row.id, new.mek_id, size=size)
        case Action.DECRYPT:
            return events.extract_decrypted(actor, row.site_id, row.id, size=size)
        case Action.REENCRYPT:
            return events.extract_rekeyed(actor, row.site_id, row.id, new.mek_id, size=size)
        case Action.REWRAP | Action.LEAVE:
            return events.extract_rewrapped(
                actor, row.site_id, row.id, before=row.mek_id, after=new.mek_id
            )


def _busy(content_id: str) -> StateError:
    return StateError(
        f"extract {content_id} was changed by others {_ATTEMPTS} times", hint="start the job again"
    )
