"""Guards by which the repository itself refuses a process that was cut off, and one row for each node.

A lock of the coordination service may be lost without its holder knowing. So the database checks what it can by itself:
the epoch of the lock under which somebody writes, and whether anything new may be written under a MEK. Every statement
here is one statement with its condition in it, so that it is right beside any other writer.
"""

from enum import StrEnum

from sqlalchemy import Connection, delete, select

from strongroom.errors import CoordinationError, StateError
from strongroom.repository import tables
from strongroom.repository.gateways.base import upsert
from strongroom.repository.postgres import hold
from strongroom.repository.reach import of_mek

_FENCE = tables.fence.c
_MEK = tables.meks.c
_PROOF = tables.kms_proofs.c
_HEAD = tables.event_heads.c
_LIFE = tables.incarnation.c
_ONLY = "incarnation"


class MekState(StrEnum):
    """Whether anything new may be written under a MEK."""

    USABLE = "usable"
    RETIRING = "retiring"
    RETIRED = "retired"


class FenceTable:
    """The highest epoch of each lock under which somebody wrote."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pass_under(self, name: str, epoch: int) -> None:
        """Go on under a lock's epoch, and from here on let nobody with an earlier epoch write.

        The row stays locked to the transaction's end, so that the next holder waits for this one's changes.

        Raises:
            CoordinationError: The lock was lost: somebody wrote under a later epoch.
        """
        later = _FENCE.epoch <= epoch
        if not upsert(self._connection, tables.fence, {"name": name}, {"epoch": epoch}, later):
            raise CoordinationError(
                f"the lock {name!r} was lost meanwhile: another holder has changed something",
                hint="nothing was changed here; look at the present state and try again",
            )

    def begin_anew(self) -> None:
        """Forget all epochs: whatever counts them was put back, and begins lower."""
        self._connection.execute(delete(tables.fence))


class MekGuards:
    """The MEKs under which nothing new may be written."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check_usable(self, mek_id: str) -> None:
        """Refuse a MEK that is being retired; whoever retires it waits for the end of this transaction.

        Called in the transaction in which a row names the MEK of what is new. A node that was cut off from the
        coordination service takes a MEK for active that others have rotated away and retired since; the row would name
        a key that nobody has.

        Args:
            mek_id: The MEK; empty if what is new is under none.

        Raises:
            StateError: Nothing new may be written under the MEK.
        """
        if not mek_id:
            return
        hold(self._connection, of_mek(mek_id), shared=True)
        if self.state(mek_id) is not MekState.USABLE:
            raise StateError(
                f"nothing new may be written under MEK {mek_id}: it is being retired",
                hint="try again, with the keys as they are now",
            )

    def state(self, mek_id: str) -> MekState:
        """The state of a MEK; one without a row is usable."""
        statement = select(_MEK.state).where(_MEK.id == mek_id)
        return MekState(self._connection.execute(statement).scalar_one_or_none() or "usable")

    def set_state(self, mek_id: str, state: MekState, epoch: int) -> bool:
        """Set the state of a MEK, when all who write under it have ended; False if it is retired for good."""
        hold(self._connection, of_mek(mek_id))
        values = {"state": state, "epoch": epoch}
        not_ended = (_MEK.state != MekState.RETIRED) & (_MEK.epoch <= epoch)
        return upsert(self._connection, tables.meks, {"id": mek_id}, values, not_ended)


class NodesTable:
    """The rows that are kept for each node, and the life of the installation to which this database belongs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find_proof(self, node_id: str) -> str | None:
        """The last proof of a node's keys; None without one."""
        statement = select(_PROOF.proof).where(_PROOF.node_id == node_id)
        return self._connection.execute(statement).scalar_one_or_none()

    def set_proof(self, node_id: str, proof: str) -> None:
        """Keep a proof of a node's keys; each node writes its own."""
        upsert(self._connection, tables.kms_proofs, {"node_id": node_id}, {"proof": proof})

    def find_head(self, node_id: str) -> tuple[int, str] | None:
        """How far a node's event log was seen, and the hash there; None if it never was."""
        statement = select(_HEAD.seq, _HEAD.hash).where(_HEAD.node_id == node_id)
        found = self._connection.execute(statement).one_or_none()
        return None if found is None else (found.seq, found.hash)

    def see_head(self, node_id: str, seq: int, digest: str) -> bool:
        """Keep how far a node's event log was seen; False if it was seen further before, or otherwise."""
        further = (_HEAD.seq < seq) | ((_HEAD.seq == seq) & (_HEAD.hash == digest))
        values = {"seq": seq, "hash": digest}
        return upsert(self._connection, tables.event_heads, {"node_id": node_id}, values, further)

    def incarnation(self) -> str | None:
        """The life of the installation to which this database belongs; None as long as there is one node."""
        statement = select(_LIFE.value).where(_LIFE.name == _ONLY)
        return self._connection.execute(statement).scalar_one_or_none()

    def set_incarnation(self, value: str) -> None:
        """Begin a new life, as after a restore."""
        upsert(self._connection, tables.incarnation, {"name": _ONLY}, {"value": value})
