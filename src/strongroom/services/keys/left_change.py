"""Withdraws a staged KMS store whose command was killed: a duty of the controller (docs/format/key-changes.md 1.6)."""

from strongroom.coordination.base import Coordinator
from strongroom.errors import ConflictError
from strongroom.eventlog.base import SYSTEM
from strongroom.kms import staged
from strongroom.kms.staged import StagedState
from strongroom.services.keys.keeper import LOCK
from strongroom.services.keys.spreading import Spread


def withdraw(coordinator: Coordinator, spread: Spread) -> bool:
    """Withdraw what is staged if nobody holds the lock of keys; returns whether there was anything.

    Args:
        coordinator: The coordination service.
        spread: The other nodes, as a change of the store sees them.

    Raises:
        StrongroomError: Nothing could be read or written; the next look tries again.
    """
    entry = coordinator.get(staged.ENTRY)
    if entry is None or staged.parse(entry.value).state is not StagedState.STAGED:
        return False
    try:
        with coordinator.lock(LOCK, wait_s=0):
            spread.settle(SYSTEM)
    except ConflictError:
        # the command that staged it is still at work
        return False
    return True
