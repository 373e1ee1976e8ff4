"""Content that goes together with its site or project: its files noted, its end told.

The files themselves go after the transaction, by `stored_files`; what is noted here goes at the next start
at the latest, also if the process is killed in between.
"""

from collections.abc import Collection, Iterable

from strongroom.eventlog import events
from strongroom.eventlog.base import Event
from strongroom.repository.rows import DELETE_INTENT, ContentRow, IntentRow
from strongroom.repository.unit_of_work import Transaction


def files_of(content: Iterable[ContentRow]) -> set[str]:
    """The file store's keys of content."""
    return {row.storage_key for row in content if row.storage_key}


def note(tx: Transaction, files: Collection[str], now: str) -> list[str]:
    """Note, in the transaction that takes the rows away, that files have to go; returns them in order."""
    for storage_key in sorted(files):
        tx.intents.insert(IntentRow(storage_key, "", "", DELETE_INTENT, now))
    return sorted(files)


def told(actor: str, content: Iterable[ContentRow]) -> list[Event]:
    """The events of content that is deleted: with a file goes the only copy of its data key."""
    return [
        events.extract_deleted(actor, row.site_id, row.id, file_id=row.file_id) for row in content
    ]
