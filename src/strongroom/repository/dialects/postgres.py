"""PostgreSQL's error codes, SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).

The code decides, else its class, which is its first two characters.

An error without a code comes from the client library: there is no connection, or a value is nothing that PostgreSQL
could hold, such as a text with the character NUL.
"""

from collections.abc import Mapping
from typing import Final

from strongroom.repository.dialects.causes import Cause

_CODES: Final[Mapping[str, Cause]] = {
    "23505": Cause.NOT_UNIQUE,
    "23P01": Cause.NOT_UNIQUE,
    "23503": Cause.NO_REFERENCE,
    "23001": Cause.NO_REFERENCE,
    "22021": Cause.TEXT,  # bytes that are no character
    "22P05": Cause.TEXT,  # a character that the encoding has not
    "25006": Cause.READ_ONLY,
    "55P03": Cause.LOCKED,
    "57014": Cause.LOCKED,  # cancelled, by the limit of a statement
    "25P03": Cause.LOCKED,  # ended, by the limit of an idle transaction
    "53100": Cause.NO_ROOM,
    "53300": Cause.TOO_MANY,
    "42501": Cause.NOT_ADMITTED,
    "XX001": Cause.DAMAGED,
    "XX002": Cause.DAMAGED,
}
_CLASSES: Final[Mapping[str, Cause]] = {
    "08": Cause.UNREACHABLE,
    "23": Cause.RULE,
    "28": Cause.NOT_ADMITTED,
    "3D": Cause.CANNOT_OPEN,
    "40": Cause.LOCKED,  # a deadlock, or a conflict of serialization
    "57": Cause.UNREACHABLE,  # the server stops, or starts
    "58": Cause.NO_ROOM,
}
TOLD: Final[Mapping[Cause, tuple[str, str]]] = {
    Cause.LOCKED: ("the repository is locked by another transaction", "try again"),
    Cause.NO_ROOM: (
        "the disk of the repository is full",
        "free some space on the machine of PostgreSQL",
    ),
    Cause.DAMAGED: ("the repository is damaged", "restore it from a backup"),
    Cause.READ_ONLY: (
        "the repository may not be written: this PostgreSQL only reads",
        "name the primary server, not a standby",
    ),
    Cause.CANNOT_OPEN: (
        "PostgreSQL has no such database",
        "create it with the encoding UTF8 and the collation C",
    ),
    Cause.UNREACHABLE: (
        "PostgreSQL, which holds the repository, cannot be reached",
        "check that it runs, and the address and certificates by which it is reached",
    ),
    Cause.NOT_ADMITTED: (
        "PostgreSQL does not admit the repository's user",
        "check the user's name, password and rights",
    ),
    Cause.TOO_MANY: (
        "PostgreSQL has no connection left",
        "try again, or raise its max_connections",
    ),
}
_ABOUT_VALUES: Final = frozenset({"21", "22", "23"})
"""The classes of errors whose words may repeat a value of the statement."""


def is_of_postgres(error: BaseException) -> bool:
    """Whether the driver's error is one of PostgreSQL's driver."""
    return hasattr(error, "sqlstate")


def cause_of(error: BaseException) -> Cause:
    """The cause of the driver's error, by its code."""
    code = getattr(error, "sqlstate", None)
    if code is None:
        return _without_code(error)
    return _CODES.get(code) or _CLASSES.get(code[:2]) or Cause.OTHER


def _without_code(error: BaseException) -> Cause:
    classes = {kind.__name__ for kind in type(error).__mro__}  # the classes of PEP 249
    if "DataError" in classes:
        return Cause.TEXT
    if classes & {"OperationalError", "InterfaceError"}:
        return Cause.UNREACHABLE
    return Cause.OTHER


def words_of(error: BaseException) -> str:
    """The driver's words as far as they repeat no value of a statement; else the code and the rule's name."""
    code = getattr(error, "sqlstate", None)
    told = getattr(error, "diag", None)
    if code is None or told is None:
        return "" if _without_code(error) is Cause.TEXT else str(error)
    if code[:2] in _ABOUT_VALUES:
        return f"{code} {told.constraint_name or ''}".strip()
    return f"{code} {told.message_primary or ''}".strip()
