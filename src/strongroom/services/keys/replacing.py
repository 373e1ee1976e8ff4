"""Commands that replace what every node of a cluster serves, and that no node begins, nor becomes active, meanwhile.

Each holds a lock of its own. The command takes the lock before it looks who is served, and a server is announced before
it looks at the locks: so one of the two sees the other. A node that says that it is active does so under the lock of the
registry, under which the command has made it stale: what it said before is taken back, and later it says nothing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.coordination.base import Coordinator
from strongroom.errors import StateError

RECOVER_LOCK: Final = "recover"
RESTORE_LOCK: Final = "restore"


class _Doing(NamedTuple):
    words: str
    noun: str


_DOING: Final[Mapping[str, _Doing]] = {
    RECOVER_LOCK: _Doing("recovers the keys, which replaces those that this node has", "recovery"),
    RESTORE_LOCK: _Doing("restores a backup, which replaces what this node would serve", "restore"),
}


def check_nobody_replaces(coordinator: Coordinator, *, but: str = "") -> None:
    """Refuse to begin, or to be active, while a command replaces what all nodes serve.

    Args:
        coordinator: The coordination service of the cluster.
        but: A lock that is not looked at, since the caller holds it.

    Raises:
        StateError: A node carries out one of these commands now.
        CoordinationError: The coordination service cannot be asked.
    """
    for lock, doing in _DOING.items():
        if lock != but and (holder := coordinator.holder(lock)):
            raise StateError(
                f"{holder} {doing.words}",
                hint=f"try again when the {doing.noun} on {holder} has ended",
            )
