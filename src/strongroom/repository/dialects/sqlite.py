"""SQLite's result codes (https://www.sqlite.org/rescode.html): the extended code, else the primary one that it begins with."""

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


def cause_of(error: BaseException) -> Cause:
    """The cause of the driver's error, by its code."""
    name = getattr(error, "sqlite_errorname", "")
    primary = "_".join(name.split("_")[:2])
    return _CAUSES.get(name) or _CAUSES.get(primary) or Cause.OTHER
