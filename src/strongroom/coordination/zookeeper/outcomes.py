"""How a put whose answer was lost becomes one that was made, or one that was not and cannot be any more.

Each put creates a marker in its transaction. Whoever wants to know its outcome tries to create the same marker himself:
if it is there, the put was made; if he creates it, the transaction can only fail from then on, however late ZooKeeper
gets it. A look alone would not do: a request may wait in a network after its answer was given up (ADR 32).
"""

from typing import Final

from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation
from strongroom.coordination.zookeeper.session import Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import CoordinationError, FormatError
from strongroom.ids import id_bytes

_MADE: Final = b"made"
_WITHDRAWN: Final = b"withdrawn"
KEPT_MS: Final = 2 * 60 * 60 * 1000
"""How long a marker is kept. The session of its put, without which ZooKeeper carries out nothing, is long gone then."""
_TOLD_MS: Final = KEPT_MS // 2
"""The age up to which an outcome is told. The rest is for clocks that differ, since a put is dated by its sender."""


class Outcomes:
    """The markers of the puts."""

    def __init__(self, session: Session, tree: Tree) -> None:
        self._session = session
        self._tree = tree

    def marking(self, put_id: str) -> Operation:
        """The operation that marks a put as made; it stands in the put's transaction."""
        return Operation(Kind.CREATE, self._tree.marker(put_id), _MADE)

    def was_made(self, put_id: str, deadline: Deadline) -> bool:
        """Whether a put of the last minutes was made; one that was not cannot be made any more.

        Raises:
            CoordinationError: No server answers in time.
        """
        path = self._tree.marker(put_id)
        try:
            self._session.ask(lambda client: client.create_async(path, _WITHDRAWN), deadline)
        except exceptions.NodeExistsError:
            # the put's, or that of an attempt of ours whose answer was lost
            found = requests.read(self._session, path, deadline)
            return found is not None and found.value == _MADE
        return False

    def outcome(self, put_id: str, deadline: Deadline) -> bool:
        """The same for a put of any age.

        Raises:
            CoordinationError: No server answers in time, the id is none of a put, or the put's marker may have been
                collected.
        """
        try:
            sent_ms = int.from_bytes(id_bytes(put_id)[:6], "big")
        except FormatError as error:
            raise CoordinationError(f"{put_id[:80]!r} is no id of a put") from error
        if self.was_made(put_id, deadline):
            return True
        marker = requests.read(self._session, self._tree.marker(put_id), deadline)
        if marker is None or marker.age_ms - sent_ms > _TOLD_MS:
            raise CoordinationError(
                f"ZooKeeper no longer knows whether the put {put_id} was made",
                hint="look at the present state",
            )
        return False
