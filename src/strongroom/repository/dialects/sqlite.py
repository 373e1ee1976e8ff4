"""SQLite's result codes (https://www.sqlite.org/rescode.html): the extended code, else the primary one that it begins with."""

from collections.abc import Mapping
from typing import Final

from strongroom.repository.dialects.causes import Cause
from strongroom.system import disk

_CAUSES = {
    "SQLITE_CONSTRAINT_UNIQUE": Cause.NOT_UNIQUE,
    "SQLITE_CONSTRAINT_PRIMARYKEY": Cause.NOT_UNIQUE,
    "SQLITE_CONSTRAINT_ROWID": Cause.NOT_UNIQUE,
    "SQLITE_CONSTRAINT_FOREIGNKEY": Cause.NO_REFERENCE,
    "SQLITE_CONSTRAINT": Cause.RULE,
    "SQLITE_BUSY": Cause.LOCKED,
    "SQLITE_LOCKED": Cause.LOCKED,
    "SQLITE_FULL": Cause.NO_ROOM,
    "SQLITE_CORRUPT": Cause.DAMAGED,
    "SQLITE_NOTADB": Cause.DAMAGED,
    # a file that is shorter than its header says; until SQLite 3.46 the code was SQLITE_CORRUPT
    disk.CUT_SHORT: Cause.DAMAGED,
    "SQLITE_READONLY": Cause.READ_ONLY,
    "SQLITE_CANTOPEN": Cause.CANNOT_OPEN,
}

TOLD: Final[Mapping[Cause, tuple[str, str]]] = {
    Cause.LOCKED: ("the repository is locked by another process", "try again"),
    Cause.NO_ROOM: ("the disk of the repository is full", disk.FREE_SPACE),
    Cause.DAMAGED: ("the repository is damaged", "restore it from a backup"),
    Cause.READ_ONLY: ("the repository may not be written", "check owner and mode of the file"),
    Cause.CANNOT_OPEN: ("the repository cannot be opened", "check the path, its owner and mode"),
}


def cause_of(error: BaseException) -> Cause:
    """The cause of the driver's error, by its code."""
    name = getattr(error, "sqlite_errorname", "")
    primary = "_".join(name.split("_")[:2])
    return _CAUSES.get(name) or _CAUSES.get(primary) or Cause.OTHER
