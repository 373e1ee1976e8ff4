"""The locks of the product: each is declared here with the scope in which it keeps others off; pure.

A lock of scope *node* keeps off other processes of the same node, which share a machine and so a kernel. A lock of
scope *cluster* keeps off every process of every node. On a single node both are the same.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from strongroom.errors import UsageError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Scope(Enum):
    """How far a lock reaches."""

    #: Processes of one node. The kernel holds it: it needs no coordination service, and is never lost.
    NODE = auto()
    #: Processes of all nodes. The coordination service holds it: it may be lost, which the next put notices.
    CLUSTER = auto()


BACKUP_LOCK: Final = "backup"
"""Held while a backup is made, and while files are moved away: neither looks at a store that the other changes."""
DECLARED: Final[Mapping[str, Scope]] = {
    "backup": Scope.CLUSTER,
    "configuration": Scope.CLUSTER,
    "controller": Scope.CLUSTER,
    "extracts": Scope.CLUSTER,
    "key-files": Scope.NODE,
    "kms": Scope.CLUSTER,
    "maintenance": Scope.CLUSTER,
    "recover": Scope.CLUSTER,
    "restore": Scope.CLUSTER,
    "secret-rotation": Scope.CLUSTER,
    "service-passwords": Scope.CLUSTER,
    "services-file": Scope.NODE,
    "topology": Scope.CLUSTER,
    "witnessed": Scope.NODE,
}
"""The scope of each lock with a fixed name."""
DECLARED_PREFIXES: Final[Mapping[str, Scope]] = {"backgrounder-": Scope.NODE}
"""The scope of the locks whose names begin so, and end with the id of a node."""


def scope_of(name: str) -> Scope:
    """The scope of a lock; an undeclared one keeps off everybody, which is the safe error.

    Raises:
        UsageError: The text is no name of a lock.
    """
    check_name(name)
    if name in DECLARED:
        return DECLARED[name]
    scopes = (one for prefix, one in DECLARED_PREFIXES.items() if name.startswith(prefix))
    return next(scopes, Scope.CLUSTER)


def check_name(name: str) -> None:
    """Refuse a name that could lead out of the folder of locks.

    Raises:
        UsageError: The text is no name of a lock.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name[:80]!r} is no name of a lock")
