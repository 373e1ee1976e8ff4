"""Pins of backups that do not hold their extracts: what is deleted stays until a time (docs/format/object-store.md §6.3)."""

from datetime import datetime, timedelta
from typing import Final

from strongroom.canonical import UTF_8, Kind
from strongroom.clock import format_utc, parse_utc
from strongroom.errors import NotFoundError, StateError
from strongroom.filestore.base import LastingPin
from strongroom.ids import is_id
from strongroom.objectstore.base import Bucket, Listed, MissingError
from strongroom.system.plural import counted

FOLDER: Final = "pin/backup"
SLACK: Final = timedelta(hours=1)
"""A note so much older than a pin is kept for it as well: the clocks of a store's servers may differ."""
_VERSION: Final = 1
_KIND: Final = Kind("the pin of a backup", UTF_8, 4096)


def write(bucket: Bucket, pin_id: str, *, file: str, until: datetime) -> None:
    """Keep what is there now, and is deleted later, until a time.

    Raises:
        StorageError: The store refuses, or does not answer.
    """
    bucket.write(
        _place(pin_id), _KIND.dumps({"file": file, "until": format_utc(until), "v": _VERSION})
    )


def release(bucket: Bucket, pin_id: str) -> None:
    """End a pin before its time.

    Raises:
        NotFoundError: There is no pin of this id.
        StorageError: The store refuses, or does not answer.
    """
    if not is_id(pin_id) or _read(bucket, pin_id) is None:
        raise NotFoundError(
            f"no backup {pin_id[:80]!r} has a pin in {bucket.address.shown}",
            hint="'strongroom backup pins list' shows them",
        )
    bucket.delete(_place(pin_id))


def listed(bucket: Bucket) -> list[LastingPin]:
    """The pins in the order of their ids, those too whose time is over.

    Raises:
        FormatError: An object among the pins is none.
        StorageError: The store refuses, or does not answer.
    """
    now = bucket.now()
    found = (_found(bucket, one, now) for one in bucket.list(FOLDER))
    return [one for one in found if one is not None]


def protected_since(bucket: Bucket) -> datetime | None:
    """From when on deletions are kept by a pin in force; None without one. Pins whose time is over are removed.

    Raises:
        FormatError: An object among the pins is none: nothing may be swept then.
        StorageError: The store refuses, or does not answer.
    """
    earliest = None
    for pin in listed(bucket):
        if not pin.in_force:
            bucket.delete(_place(pin.id))
        elif earliest is None or pin.made_at < earliest:
            earliest = pin.made_at
    return None if earliest is None else earliest - SLACK


def check_none(bucket: Bucket) -> None:
    """Refuse while a pin is in force; one whose time is over holds nothing.

    Raises:
        StateError: A pin is in force.
        FormatError: An object among the pins is none.
        StorageError: The store refuses, or does not answer.
    """
    held = [one for one in listed(bucket) if one.in_force]
    if held:
        last = max(held, key=lambda one: one.until)
        raise StateError(
            f"extracts of {counted(len(held), 'backup')} are pinned in {bucket.address.text}, those of"
            f" {last.file} until {format_utc(last.until)}",
            hint="wait so long, or give such backups up: 'strongroom backup pins release'",
        )


def _place(pin_id: str) -> str:
    return f"{FOLDER}/{pin_id}"


def _found(bucket: Bucket, one: Listed, now: datetime) -> LastingPin | None:
    pin_id = one.name.removeprefix(f"{FOLDER}/")
    if not is_id(pin_id):
        raise _KIND.damaged(f"its name is {one.name[:200]}")
    said = _read(bucket, pin_id)
    if said is None:
        return None
    file, until = said
    return LastingPin(pin_id, file, one.changed, until, in_force=until > now)


def _read(bucket: Bucket, pin_id: str) -> tuple[str, datetime] | None:
    """The file and the end of a pin; None if it was released meanwhile."""
    try:
        fields = _KIND.loads(bucket.read(_place(pin_id)).data)
    except MissingError:
        return None
    fields.check_version("v", _VERSION)
    fields.check_names(("file", "until", "v"))
    return fields.text("file"), parse_utc(fields.time("until"))
