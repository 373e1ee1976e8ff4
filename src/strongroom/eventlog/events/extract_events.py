"""Events about encrypted files, and about the data keys that were handed out for files (C-23)."""

from strongroom.eventlog.base import Detail, Event
from strongroom.eventlog.events.making import event

EXTRACT_ENCRYPTED = "EXTRACT_ENCRYPTED"
EXTRACT_DECRYPTED = "EXTRACT_DECRYPTED"
EXTRACT_REKEYED = "EXTRACT_REKEYED"
EXTRACT_REWRAPPED = "EXTRACT_REWRAPPED"
EXTRACT_DELETED = "EXTRACT_DELETED"
DATA_KEY_REVEALED = "DATA_KEY_REVEALED"
DATA_KEY_GENERATED = "DATA_KEY_GENERATED"
DATA_KEY_UNWRAPPED = "DATA_KEY_UNWRAPPED"
FILE_ENCRYPTED = "FILE_ENCRYPTED"
FILE_DECRYPTED = "FILE_DECRYPTED"
FILE_REWRAPPED = "FILE_REWRAPPED"
EXTRACTS_MOVED = "EXTRACTS_MOVED"


def extract_encrypted(
    actor: str, site_id: str, extract_id: str, mek_id: str, *, size: int
) -> Event:
    """An extract was encrypted; `size` is in plaintext bytes."""
    return _extract(EXTRACT_ENCRYPTED, actor, site_id, extract_id, mek_id=mek_id, bytes=size)


def extract_decrypted(actor: str, site_id: str, extract_id: str, *, size: int) -> Event:
    """An extract was turned into plain data, for good."""
    return _extract(EXTRACT_DECRYPTED, actor, site_id, extract_id, bytes=size)


def extract_reencrypted(
    actor: str, site_id: str, extract_id: str, mek_id: str, *, size: int
) -> Event:
    """An extract got a new data key."""
    return _extract(EXTRACT_REKEYED, actor, site_id, extract_id, mek_id=mek_id, bytes=size)


def extract_rewrapped(
    actor: str, site_id: str, extract_id: str, *, before: str, after: str
) -> Event:
    """An extract's data key was wrapped by another MEK; the extract's bytes stay."""
    return _extract(EXTRACT_REWRAPPED, actor, site_id, extract_id, before=before, after=after)


def file_encrypted(actor: str, file_id: str, mek_id: str, *, size: int) -> Event:
    """A standalone file was encrypted; `size` is in plaintext bytes."""
    return event(FILE_ENCRYPTED, actor, file_id=file_id, mek_id=mek_id, bytes=size)


def file_decrypted(actor: str, file_id: str, mek_id: str) -> Event:
    """A file was decrypted by a standalone command, which gave its content to the actor."""
    return event(FILE_DECRYPTED, actor, file_id=file_id, mek_id=mek_id)


def file_rewrapped(actor: str, file_id: str, *, before: str, after: str) -> Event:
    """A file's data key was wrapped by another MEK by a standalone command."""
    return event(FILE_REWRAPPED, actor, file_id=file_id, before=before, after=after)


def extract_deleted(actor: str, site_id: str, extract_id: str, *, file_id: str) -> Event:
    """An extract was deleted, and with its file the only wrapped copy of its data key; a plain one has no `file_id`."""
    return _extract(EXTRACT_DELETED, actor, site_id, extract_id, file_id=file_id)


def data_key_revealed(actor: str, file_id: str, mek_id: str) -> Event:
    """A file's data key was shown."""
    return event(DATA_KEY_REVEALED, actor, file_id=file_id, mek_id=mek_id)


def data_key_generated(actor: str, file_id: str, mek_id: str) -> Event:
    """A client got a fresh data key and the header page of a new file, which it encrypts by itself."""
    return event(DATA_KEY_GENERATED, actor, file_id=file_id, mek_id=mek_id)


def data_key_unwrapped(actor: str, file_id: str, mek_id: str) -> Event:
    """A client got a file's data key, by which it decrypts the file by itself."""
    return event(DATA_KEY_UNWRAPPED, actor, file_id=file_id, mek_id=mek_id)


def extracts_moved(actor: str, *, before: str, after: str, files: int, size: int) -> Event:
    """The files of all extracts lie in another store from now on; `size` is what the last run copied, in bytes."""
    details: dict[str, Detail] = {"before": before, "after": after}
    return event(EXTRACTS_MOVED, actor, **details, files=files, bytes=size)


def _extract(event_id: str, actor: str, site_id: str, extract_id: str, **details: Detail) -> Event:
    return event(event_id, actor, site_id=site_id, extract_id=extract_id, **details)
