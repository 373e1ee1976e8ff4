"""The causes of database errors, the same for every database."""

from enum import Enum, auto


class Cause(Enum):
    """The cause of a failed statement or transaction; found by the database's error code, never by its message."""

    NOT_UNIQUE = auto()
    # the row that is referred to is missing, or a deleted row is still referred to
    NO_REFERENCE = auto()
    RULE = auto()  # any other rule of the schema
    TEXT = auto()  # a text that the database cannot hold
    LOCKED = auto()
    NO_ROOM = auto()
    DAMAGED = auto()
    READ_ONLY = auto()
    CANNOT_OPEN = auto()
    UNREACHABLE = auto()
    NOT_ADMITTED = auto()
    TOO_MANY = auto()  # connections
    OTHER = auto()
