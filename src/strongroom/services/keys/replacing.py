"""Commands that replace what every node of a cluster serves, and that no node begins, nor becomes active, meanwhile.

Each holds a lock of its own. The command takes the lock before it looks who is served, and a server is announced before
it looks at the locks: so one of the two sees the other. A node that says that it is active does so under the lock of the
registry, under which the command has made it stale: what it said before is taken back, and later it says nothing.

A node that had no session then sees neither lock nor command. So each leaves a mark behind, before it replaces anything,
that is another one than that of the command before (docs/format/nodes.md 2.9).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.canonical import ASCII, dumps
from strongroom.clock import Clock, format_utc
from strongroom.coordination import proving
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import StateError
from strongroom.ids import new_id

RECOVER_LOCK: Final = "recover"
RESTORE_LOCK: Final = "restore"
MARK: Final = "topology/replaced"


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


def leave_mark(coordinator: Coordinator, lock: str, node_id: str, clock: Clock) -> None:
    """Write that all nodes serve something else from now on; the caller holds the lock, and has replaced nothing as yet.

    Args:
        coordinator: The coordination service of the cluster, whose entries the caller proves.
        lock: `RECOVER_LOCK` or `RESTORE_LOCK`, which names the command as well.
        node_id: The node whose command it is.
        clock: Gives the time of the mark.

    Raises:
        ConflictError: The lock is lost.
        CoordinationError: The coordination service cannot be asked.
    """
    said = {"at": format_utc(clock.now()), "by": node_id, "command": lock, "id": new_id(), "v": 1}
    coordinator.put({MARK: Change(dumps(said, ASCII), coordinator.version(MARK))})


def find_mark(store: Coordinator) -> bytes:
    """The newest mark, to be compared with one that was seen before; empty before the first one.

    The MAC is not looked at: behind a recovery nobody proves the mark who was not there.

    Args:
        store: The coordination service, whose entries nobody has proved.

    Raises:
        FormatError: The entry is damaged.
        CoordinationError: The coordination service cannot be asked.
    """
    found = proving.unproved(store, MARK)
    return b"" if found is None else found.signed_payload
