"""Events about backups and what is restored from them (C-23)."""

from strongroom.eventlog.base import Event
from strongroom.eventlog.events.making import event

RESTORE = "RESTORE"
BACKUP_MADE = "BACKUP_MADE"
BACKUP_VERIFIED = "BACKUP_VERIFIED"
BACKUP_PIN_RELEASED = "BACKUP_PIN_RELEASED"


def backup_made(  # noqa: PLR0913 each is a field of the event
    actor: str,
    backup_id: str,
    *,
    name: str,
    rmk_id: str,
    mek_id: str,
    sealed: str,
    manifest: str,
) -> Event:
    """A backup was made.

    The detail `sha256` is the digest of the manifest, `mek_id` the key that wraps the backup's RMK, and `sealed` names
    the recipients or roots to which that RMK is sealed as well.
    """
    return event(
        BACKUP_MADE,
        actor,
        backup_id=backup_id,
        name=name,
        rmk_id=rmk_id,
        mek_id=mek_id,
        sealed=sealed,
        sha256=manifest,
    )


def backup_verified(actor: str, backup_id: str, *, opened: int, missing: int) -> Event:
    """The keys of a backup were opened to try them: `opened` extracts could be read with them, `missing` could not."""
    return event(BACKUP_VERIFIED, actor, backup_id=backup_id, opened=opened, missing=missing)


def backup_pin_released(actor: str, backup_id: str, *, name: str, place: str) -> Event:
    """The pin of a backup was ended before its time: extracts that the backup does not hold may go from then on."""
    return event(BACKUP_PIN_RELEASED, actor, backup_id=backup_id, name=name, place=place)


def restored(actor: str, *, source: str, backup_id: str, extracts: int, missing: int) -> Event:
    """A backup was restored; `missing` counts extracts whose keys it does not open."""
    return event(
        RESTORE, actor, source=source, backup_id=backup_id, extracts=extracts, missing=missing
    )
