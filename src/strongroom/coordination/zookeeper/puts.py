"""Puts: one transaction for all entries, under the fences of the locks, whose outcome is always found out if it can be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from strongroom.coordination.base import Change
from strongroom.coordination.leases import lease_lost
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.blobs import Blobs
from strongroom.coordination.zookeeper.outcomes import Outcomes
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline, Limits
from strongroom.coordination.zookeeper.tree import (
    INLINE_BYTES,
    MAX_MULTI_BYTES,
    MAX_VALUE_BYTES,
    BlobRef,
    Tree,
    record,
)
from strongroom.errors import ConflictError, CoordinationError, OutcomeUnknown, UsageError
from strongroom.ids import new_ordered_id

_PLACE_OF_BLOB: Final = BlobRef(bytes(32), 0)
Fences = Callable[[], Sequence[Operation]]
_CHANGED = (exceptions.BadVersionError, exceptions.NodeExistsError, exceptions.NoNodeError)


class Puts:
    """Writes the entries of an installation."""

    def __init__(self, session: Session, tree: Tree, limits: Limits) -> None:
        self._session = session
        self._tree = tree
        self._limits = limits
        self._blobs = Blobs(session, tree)
        self._outcomes = Outcomes(session, tree)

    def put(self, changes: Mapping[str, Change], fences: Fences) -> None:
        """Apply all changes, or none.

        Args:
            changes: The new values by key.
            fences: Gives the checks of the locks under which the put happens, as they are held now.

        Raises:
            ConflictError: A key has another version, or a fence does not hold.
            UsageError: A value, or all of them, are too large; nothing was sent.
            CoordinationError: No server answers in time; nothing was changed.
            OutcomeUnknown: The outcome could not be found out in time.
        """
        blobs = _chosen_blobs(changes)
        self._check_size(changes, blobs, fences())
        # without a connection nothing is sent, which is known sooner than what came of something
        self._session.reach(Deadline(self._limits.read_s))
        # large values have limits of their own, by their chunks
        self._stored(changes, blobs)
        deadline = Deadline(self._limits.put_s)
        while not self._try(changes, blobs, fences(), deadline):
            if deadline.is_over:
                self._session.fail(deadline)

    def _try(
        self,
        changes: Mapping[str, Change],
        blobs: frozenset[str],
        fences: Sequence[Operation],
        deadline: Deadline,
    ) -> bool:
        """Send a put once; whether it was made. If not, it will not be, and may be sent again."""
        put_id = new_ordered_id()
        contents, checks = self._stored(changes, blobs)
        if deadline.is_over:
            self._session.fail(deadline)
        operations = [*fences, *checks, *self._own(put_id), *self._entries(changes, contents)]
        try:
            requests.transact(self._session, operations, deadline)
        except Refused as refused:
            self._judge(refused, changes)
            return False
        except Lost as lost:
            return self._found_out(put_id, deadline, lost)
        return True

    def _found_out(self, put_id: str, deadline: Deadline, lost: Lost) -> bool:
        try:
            return self._outcomes.was_made(put_id, deadline)
        except CoordinationError as error:
            raise OutcomeUnknown(
                f"a change was sent to ZooKeeper at {self._session.where}, and it is not known whether it was made:"
                f" {error.message} ({lost})",
                hint="when ZooKeeper answers again, look at the present state before the command is run again",
                change_id=put_id,
            ) from error

    def _own(self, put_id: str) -> tuple[Operation, ...]:
        return self._outcomes.marking(put_id), Operation(Kind.SET, self._tree.entries)

    def _stored(
        self, changes: Mapping[str, Change], blobs: frozenset[str]
    ) -> tuple[dict[str, BlobRef], list[Operation]]:
        """Store the large values; the references, and the checks that nobody collects them."""
        contents: dict[str, BlobRef] = {}
        checks: dict[str, Operation] = {}
        for key in sorted(blobs):
            value = changes[key].value
            if value is not None:
                contents[key], check = self._blobs.write(value)
                checks[check.path] = check
        return contents, list(checks.values())

    def _entries(
        self, changes: Mapping[str, Change], contents: Mapping[str, BlobRef]
    ) -> Iterator[Operation]:
        for key, change in changes.items():
            path, before = self._tree.entry(key), change.expected_version - 1
            if change.value is not None:
                raw = record(key, change.expected_version + 1, contents.get(key, change.value))
                kind = Kind.SET if change.expected_version else Kind.CREATE
                yield Operation(kind, path, raw, before)
                continue
            if not change.expected_version:
                # ZooKeeper has no check that a node is missing
                yield Operation(Kind.CREATE, path)
            yield Operation(Kind.DELETE, path, version=max(before, 0))

    def _check_size(
        self, changes: Mapping[str, Change], blobs: frozenset[str], fences: Sequence[Operation]
    ) -> None:
        for key, change in changes.items():
            if change.value is not None and len(change.value) > MAX_VALUE_BYTES:
                raise UsageError(
                    f"the entry {key!r} would have {len(change.value)} bytes, and ZooKeeper is given"
                    f" {MAX_VALUE_BYTES} at most",
                    hint="nothing was changed",
                )
        contents = dict.fromkeys(blobs, _PLACE_OF_BLOB)
        checks = [Operation(Kind.CHECK, self._tree.blob(bytes(32)))] * len(blobs)
        own = self._own(new_ordered_id())
        requests.check_size([*fences, *checks, *own, *self._entries(changes, contents)])

    def _judge(self, refused: Refused, changes: Mapping[str, Change]) -> None:
        """Raise what a refused transaction means; nothing if it may be sent again.

        Raises:
            ConflictError: A key has another version, or a fence does not hold.
            KazooException: ZooKeeper refused for another reason.
        """
        path = refused.operation.path
        if not isinstance(refused.reason, _CHANGED):
            raise refused.reason
        if path.startswith(f"{self._tree.locks}/"):
            name = path.removeprefix(f"{self._tree.locks}/").partition("/")[0]
            raise lease_lost(name) from refused
        if path.startswith(f"{self._tree.entries}/"):
            key = self._tree.key(path.rpartition("/")[2])
            raise self._conflict(key, changes[key]) from refused
        if not path.startswith(f"{self._tree.blobs}/"):
            raise refused.reason

    def _conflict(self, key: str, change: Change) -> ConflictError:
        found = "another version"
        with suppress(CoordinationError):
            version = requests.version(self._session, self._tree.entry(key))
            found = f"version {0 if version is None else version + 1}"
        return ConflictError(
            f"somebody else changed {key!r}: it has {found}, not {change.expected_version}",
            hint="look at the present state and try again",
        )


def _chosen_blobs(changes: Mapping[str, Change]) -> frozenset[str]:
    """The keys whose values are to be blobs: the large ones, and, while the rest is too much for one put, the next."""
    lengths = {key: len(one.value) for key, one in changes.items() if one.value is not None}
    chosen = {key for key, length in lengths.items() if length > INLINE_BYTES}
    rest = sorted(((length, key) for key, length in lengths.items() if key not in chosen))
    # the other half is for paths, digests and headers
    while sum(length for length, _ in rest) > MAX_MULTI_BYTES // 2:
        chosen.add(rest.pop()[1])
    return frozenset(chosen)
