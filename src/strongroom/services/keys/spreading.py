"""Has every other active node open a new KMS store before it comes into force (docs/format/key-changes.md).

A rotation that one node proves and another cannot open would leave that one without its keys. So the store is staged
first; each node opens it by its own access to the root and says so under its signature. Only then it is put. Here is the
side of whoever makes the change; `trial_of_change` is the other one.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.clock import format_utc
from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.floors import Point
from strongroom.errors import ConflictError, StrongroomError
from strongroom.eventlog.events import node_events
from strongroom.ids import new_id
from strongroom.joining import acknowledgements
from strongroom.kms import staged
from strongroom.kms.staged import Content, StagedState, StagedStore
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S
from strongroom.services.keys.words import Expected, SpreadPorts, Words

if TYPE_CHECKING:
    from strongroom.joining.registry import RegisteredNode

_CANNOT: Final = "not every node can open the new keys, so nothing was changed"
_HINT: Final = "start it, or go on without, and it proves the keys before it serves again"


class Draft(NamedTuple):
    """A change that was built and proved here.

    Attributes:
        actor: The person or process that asks, for the events.
        installation_id: The installation.
        epoch: The epoch of the new store.
        present: The store that is in force.
        key_id: The configuration key under which the new store will lie.
        content: The new store, and the settings of roots that belong to it.
    """

    actor: str
    installation_id: str
    epoch: int
    present: Point
    key_id: str
    content: Content


class Spread:
    """The other nodes, as a change of the KMS store sees them."""

    def __init__(self, node_id: str, ports: SpreadPorts) -> None:
        self._node_id = node_id
        self._coordinator = ports.coordinator
        self._ports = ports
        self._words = Words(ports)

    def settle(self, actor: str) -> int:
        """Withdraw what a change that was killed has left staged; returns the highest epoch that was used, 0 for none.

        The caller holds the lock of keys: a store that is staged then is nobody's any more. That it did not come into
        force is certain, since the put that does so takes the entry away.
        """
        found = self._staged()
        if found is None:
            return 0
        change, entry = found
        if change.state is StagedState.STAGED:
            self._withdraw(actor, change, entry.version, "the command that made it was killed")
        return change.epoch

    @contextmanager
    def acknowledged(self, draft: Draft) -> Iterator[Mapping[str, Change]]:
        """Have every other active node open a store; the block puts it, together with the changes that are given.

        If the block fails, the store is withdrawn. That the nodes are the same ones still is looked at last, under the
        lock by which they come and go (key-changes.md 1.3).

        Raises:
            NodesError: A node cannot open the store, or does not answer; nothing was changed.
        """
        nodes = self._ports.peers.active_others()
        if not nodes:
            found = self._staged()
            yield {staged.ENTRY: Change(None, found[1].version)} if found else {}
            return
        self._words.check_alive(nodes, _HINT)
        change, version = self._stage(draft, nodes)
        try:
            staged_ = hashlib.sha256(change.serialize()).hexdigest()
            tried = dict.fromkeys(change.nodes, staged_)
            expected = Expected(draft.installation_id, change.change_id, change.present, tried)
            said = self._words.wait(expected, nodes, _CANNOT)
            # nodes come and go under this lock only
            with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
                self._check_same_nodes(change)
                self._words.check_same_processes(said.boots)
                yield {staged.ENTRY: Change(None, version), **said.removals}
        except BaseException as error:
            cause = error.message if isinstance(error, StrongroomError) else type(error).__name__
            # if the store was put all the same, its entry is gone, and this finds nothing to withdraw
            with suppress(StrongroomError):
                self._withdraw(draft.actor, change, version, cause)
            raise

    # ---- inside ----------------------------------------------------------------------------------

    def _staged(self) -> tuple[StagedStore, Versioned] | None:
        entry = self._coordinator.get(staged.ENTRY)
        return None if entry is None else (staged.parse(entry.value), entry)

    def _check_same_nodes(self, change: StagedStore) -> None:
        if _registry(self._ports.peers.active_others()) != change.registry:
            raise ConflictError(
                "the nodes of the installation changed meanwhile, so nothing was changed",
                hint="run the command again",
            )

    def _stage(self, draft: Draft, nodes: "Sequence[RegisteredNode]") -> tuple[StagedStore, int]:
        names = tuple(one.node_id for one in nodes)
        key = self._ports.open_key(draft.key_id)
        change = StagedStore(
            change_id=new_id(),
            state=StagedState.STAGED,
            at=self._now(),
            by=self._node_id,
            nodes=names,
            registry=_registry(nodes),
            epoch=draft.epoch,
            present=draft.present,
            key_id=draft.key_id,
            sealed=b"",
        ).with_content(draft.content, draft.installation_id, key)
        told = node_events.kms_change_staged(
            draft.actor, change.change_id, epoch=change.epoch, nodes=", ".join(names)
        )
        self._ports.event_log.append([told])
        before = self._coordinator.version(staged.ENTRY)
        left = self._coordinator.list(acknowledgements.PREFIX)
        self._coordinator.put(
            {
                staged.ENTRY: Change(change.serialize(), before),
                **{name: Change(None, one.version) for name, one in left.items()},
            }
        )
        return change, before + 1

    def _withdraw(self, actor: str, change: StagedStore, version: int, cause: str) -> None:
        """Take a staged store back, before its event: a kill in between leaves one that is withdrawn without event."""
        told = node_events.kms_change_withdrawn(
            actor, change.change_id, epoch=change.epoch, cause=cause
        )
        left = self._coordinator.list(acknowledgements.PREFIX)
        gone = change.withdrawn(self._now()).serialize()
        self._coordinator.put(
            {
                staged.ENTRY: Change(gone, version),
                **{name: Change(None, one.version) for name, one in left.items()},
            }
        )
        self._ports.event_log.append([told])

    def _now(self) -> str:
        return format_utc(self._ports.clock.now())


def _registry(nodes: "Sequence[RegisteredNode]") -> str:
    """A digest over the entries of nodes."""
    entries = (hashlib.sha256(one.serialize()).digest() for one in nodes)
    return hashlib.sha256(b"".join(entries)).hexdigest()
