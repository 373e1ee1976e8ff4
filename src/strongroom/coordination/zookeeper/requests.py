"""Requests to ZooKeeper that say what they are: reads behind a sync, and transactions that are looked through.

ZooKeeper answers reads from the server that is connected, which may be behind. A `sync` before the read, on the same
session, makes the server catch up first.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any, NamedTuple

from strongroom.coordination.zookeeper.session import Request, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline
from strongroom.coordination.zookeeper.tree import MAX_MULTI_BYTES
from strongroom.errors import UsageError

#: Of the operations of a refused transaction, those beside the one that was refused.
_BESIDE = (exceptions.RolledBackError, exceptions.RuntimeInconsistency)
_OVERHEAD_BYTES = 128
"""Bytes of a transaction that an operation takes beside path and value: header, ACL."""

Wake = Callable[[Any], None]


class Kind(Enum):
    """Kinds of operations in a transaction."""

    CREATE = auto()
    CREATE_EPHEMERAL = auto()
    SET = auto()
    DELETE = auto()
    CHECK = auto()


class Operation(NamedTuple):
    """An operation of a transaction.

    Attributes:
        kind: The kind.
        path: The node.
        value: The node's bytes, where the kind has some.
        version: ZooKeeper's version that the node must have; -1 for any.
    """

    kind: Kind
    path: str
    value: bytes = b""
    version: int = -1


class Node(NamedTuple):
    """A node as it was read.

    Attributes:
        value: The node's bytes.
        version: ZooKeeper's version, 0 after the creation.
        changed: The transaction that changed it last; of two reads the same means the same node and value.
        age_ms: Milliseconds since the epoch at its creation, by ZooKeeper's leader.
        touched_ms: The same for its last change.
        born: The transaction that created it.
    """

    value: bytes
    version: int
    changed: int
    age_ms: int
    touched_ms: int
    born: int


class Refused(Exception):  # noqa: N818  an outcome, and never shown
    """A transaction was not carried out.

    Attributes:
        operation: The operation that was refused.
        index: The place of the operation in the transaction.
        reason: The reason, an exception of kazoo.
    """

    def __init__(self, operation: Operation, index: int, reason: Exception) -> None:
        super().__init__(f"{operation.kind.name} {operation.path}: {type(reason).__name__}")
        self.operation = operation
        self.index = index
        self.reason = reason


def read(session: Session, path: str, deadline: Deadline | None = None) -> Node | None:
    """A node as the last finished write left it; None if it does not exist.

    Raises:
        CoordinationError: No server answers in time.
    """
    return read_together(session, [path], deadline)[0]


def read_together(
    session: Session, paths: Sequence[str], deadline: Deadline | None = None
) -> list[Node | None]:
    """Several nodes, by requests that are under way together; not as of one moment.

    Raises:
        CoordinationError: No server answers in time.
    """
    found = _synced(session, [_reading(path) for path in paths], deadline)
    return [None if one is None else _node(*one) for one in found]


def version(session: Session, path: str, deadline: Deadline | None = None) -> int | None:
    """ZooKeeper's version of a node as the last finished write left it; None if it does not exist.

    Raises:
        CoordinationError: No server answers in time.
    """
    (found,) = _synced(session, [lambda client: client.exists_async(path)], deadline)
    return None if found is None else found.version


def children(session: Session, path: str, deadline: Deadline | None = None) -> list[str]:
    """The names of a node's children, sorted; none if it does not exist.

    Raises:
        CoordinationError: No server answers in time.
    """
    (found,) = _synced(session, [lambda client: client.get_children_async(path)], deadline)
    return sorted(found or ())


def watch(session: Session, path: str, wake: Wake) -> bool:
    """Have `wake` called at the next change of a node, at the loss of the connection, or never; whether the node exists.

    The same `wake` may be given again and again: kazoo keeps it once.

    Raises:
        CoordinationError: No server answers in time.
    """
    return session.ask(lambda client: client.exists_async(path, watch=wake)) is not None


def transact(session: Session, operations: Sequence[Operation], deadline: Deadline) -> None:
    """Carry out all operations, or none.

    Raises:
        UsageError: The operations are too large; nothing was sent.
        CoordinationError: There is no connection; nothing was sent.
        Lost: The operations were sent, and no answer came.
        Refused: The ensemble refused an operation, and carried out none.
    """
    check_size(operations)
    answers = session.send(lambda client: _sent(client, operations), deadline)
    for index, (operation, answer) in enumerate(zip(operations, answers, strict=True)):
        # `commit` returns errors among its answers, and raises none
        if isinstance(answer, Exception) and not isinstance(answer, _BESIDE):
            raise Refused(operation, index, answer)


def size(operations: Sequence[Operation]) -> int:
    """About how many bytes the operations take in ZooKeeper's protocol and log; rather too many."""
    return sum(len(one.path) + len(one.value) + _OVERHEAD_BYTES for one in operations)


def check_size(operations: Sequence[Operation]) -> None:
    """Refuse a transaction that ZooKeeper would refuse by cutting the connection.

    Raises:
        UsageError: The operations are too large.
    """
    found = size(operations)
    if found > MAX_MULTI_BYTES:
        raise UsageError(
            f"{len(operations)} changes of {found} bytes are too many for one put in ZooKeeper"
            f" (at most {MAX_MULTI_BYTES})",
            hint="nothing was changed; put less at once",
        )


def create_missing(session: Session, path: str) -> None:
    """Create an empty node, unless it exists.

    Raises:
        CoordinationError: No server answers in time, or the parent does not exist.
    """
    try:
        session.ask(lambda client: client.create_async(path))
    except exceptions.NodeExistsError:
        return


def create_all(session: Session, values: Mapping[str, bytes]) -> None:
    """Create several nodes, by requests that are under way together; one that exists stays as it is.

    Raises:
        CoordinationError: No server answers in time.
        NoNodeError: A parent does not exist.
    """
    session.ask(lambda client: _Created(client, values))


def remove(session: Session, path: str, version_of: int = -1) -> bool:
    """Remove a node; whether it is gone. It stays if it has another version, or children."""
    try:
        session.ask(lambda client: client.delete_async(path, version=version_of))
    except exceptions.NoNodeError:
        return True
    except (exceptions.BadVersionError, exceptions.NotEmptyError):
        return False
    return True


def _synced(session: Session, requests: Sequence[Request], deadline: Deadline | None) -> list[Any]:
    answers: list[Any] = session.ask(lambda client: _Synced(client, requests), deadline)
    return answers


class _Synced:
    """The answers to reads that stand behind a sync on the same session; None where a node does not exist."""

    def __init__(self, client: Any, requests: Sequence[Request]) -> None:
        # the path of a sync has no meaning to ZooKeeper
        self._sync = client.sync_async("/")
        self._results = [one(client) for one in requests]

    def get(self, timeout: float) -> list[Any]:
        """Wait for all answers."""
        until = Deadline(timeout)
        self._sync.get(timeout=until.left)
        return [self._answer(one, until) for one in self._results]

    @staticmethod
    def _answer(result: Any, until: Deadline) -> Any:
        try:
            return result.get(timeout=until.left)
        except exceptions.NoNodeError:
            return None


class _Created:
    """The answers to creations of nodes that may exist."""

    def __init__(self, client: Any, values: Mapping[str, bytes]) -> None:
        self._results = [client.create_async(path, value) for path, value in values.items()]

    def get(self, timeout: float) -> None:
        """Wait for all answers."""
        until = Deadline(timeout)
        for one in self._results:
            with suppress(exceptions.NodeExistsError):
                one.get(timeout=until.left)


def _reading(path: str) -> Request:
    return lambda client: client.get_async(path)


def _node(value: bytes, stat: Any) -> Node:
    return Node(value, stat.version, stat.mzxid, stat.ctime, stat.mtime, stat.czxid)


def _sent(client: Any, operations: Sequence[Operation]) -> Any:
    transaction = client.transaction()
    for one in operations:
        if one.kind is Kind.CREATE:
            transaction.create(one.path, one.value)
        elif one.kind is Kind.CREATE_EPHEMERAL:
            transaction.create(one.path, one.value, ephemeral=True)
        elif one.kind is Kind.SET:
            transaction.set_data(one.path, one.value, one.version)
        elif one.kind is Kind.DELETE:
            transaction.delete(one.path, one.version)
        else:
            transaction.check(one.path, one.version)
    return transaction.commit_async()
