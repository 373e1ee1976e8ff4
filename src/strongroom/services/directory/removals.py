"""Deletes content together with its site or project: intents for its files, and events of its end.

The files themselves are deleted after the transaction, by `stored_files`. A process killed in between leaves the
intents, by which the next start deletes the files.
"""

from collections.abc import Collection, Iterable

from strongroom.eventlog.base import Event
from strongroom.eventlog.events import extract_events
from strongroom.repository.rows import DELETE_INTENT, ContentRow, IntentRow
from strongroom.repository.unit_of_work import Transaction


def files_of(content: Iterable[ContentRow]) -> set[str]:
    """The storage keys of content; an item without a file has none."""
    return {row.storage_key for row in content if row.storage_key}


def note(tx: Transaction, files: Collection[str], now: str) -> list[str]:
    """Write intents to delete files, in the transaction that removes their rows; returns the storage keys, sorted."""
    for storage_key in sorted(files):
        tx.intents.insert(IntentRow(storage_key, "", "", DELETE_INTENT, now))
    return sorted(files)


def events_of(actor: str, content: Iterable[ContentRow]) -> list[Event]:
    """The events of deleted content, since with an encrypted file the only wrapped copy of its data key is deleted."""
    return [
        extract_events.extract_deleted(actor, row.site_id, row.id, file_id=row.file_id)
        for row in content
    ]
