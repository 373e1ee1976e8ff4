"""Gives the keys of the keystore to the other nodes while they are changed (docs/format/key-changes.md 4).

Keystore and records lie on each node, and are changed on one. After each step that changes them the others get them, each
in a bundle that it alone can open, and say that they have written and opened them; only then the run goes on.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.coordination.base import Change
from strongroom.coordination.floors import Point
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.joining import acknowledgements, key_bundles
from strongroom.joining.key_bundles import KeyBundle, Occasion
from strongroom.joining.node_keys import NodeKeys
from strongroom.services.keys.words import Expected, SpreadPorts, Words

if TYPE_CHECKING:
    from strongroom.joining.registry import RegisteredNode

Around = Callable[[], AbstractContextManager[None]]
_CANNOT: Final = "not every node has taken the new keys; the same command goes on from here"
_HINT: Final = "start it, or go on without, and bring it in anew afterwards"
_DOING: Final = "a change of the key files"


class PresentKeys(NamedTuple):
    """The key files of this node as they are now.

    Attributes:
        bundle: The bytes.
        installation_id: The installation.
        generation: The generation of the records.
        alias: The newest master key.
    """

    bundle: KeyBundle
    installation_id: str
    generation: int
    alias: str


class SpreadKeys:
    """The other nodes, as a change of the key files sees them."""

    def __init__(
        self,
        ports: SpreadPorts,
        present: Callable[[], PresentKeys],
        point: Callable[[], Point],
        own: Callable[[], NodeKeys],
        puts: tuple[Around, Around],
        alone: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Take the ports.

        Args:
            ports: The ports of a change that is spread.
            present: Reads the key files of this node.
            point: Epoch and digest of the present KMS store.
            own: The keys of this node.
            puts: Lets a put be read by nodes whose records are older; and by none of these any more.
            alone: Takes the keys that lie there for this node, and lets no other process of it take any meanwhile.
        """
        self._ports = ports
        self._present = present
        self._point = point
        self._own = own
        self.for_all, self._having_given = puts
        self.alone = alone
        self._words = Words(ports)

    @property
    def is_needed(self) -> bool:
        """Whether there are other nodes."""
        return bool(self._ports.peers.active_others() or self._ports.peers.stale_others())

    @property
    def node_id(self) -> str:
        """The id of this node."""
        return self._ports.peers.node_id

    def own_removed(self) -> dict[str, Change]:
        """The removal of the keys that lie there for this node."""
        name = key_bundles.entry(self.node_id)
        version = self._ports.coordinator.version(name)
        return {name: Change(None, version)} if version else {}

    def check(self) -> None:
        """Refuse a change of the key files that another node could not follow.

        Raises:
            StateError: A node is joining.
            NodesError: A node is not alive.
        """
        self._ports.peers.check_can_follow(_DOING)
        self._words.check_alive(self._ports.peers.active_others(), _HINT)

    def give(self, actor: str) -> None:
        """Give every other node the present keys, and wait until each active one has them on its disk; may be repeated.

        The bundle of a node that is stale stays until that one takes it, or there is a newer one.

        Raises:
            NodesError: A node has not taken them.
        """
        nodes, stale = self._ports.peers.active_others(), self._ports.peers.stale_others()
        if nodes or stale:
            self._give(actor, nodes, stale)
        else:
            self._finish({})

    def _give(
        self, actor: str, nodes: "Sequence[RegisteredNode]", stale: "Sequence[RegisteredNode]"
    ) -> None:
        self.check()
        present, own = self._present(), self._own()
        occasion = Occasion(new_id(), present.generation, self._point())
        bundles = {
            one.node_id: key_bundles.seal(
                present.bundle, occasion, (one.node_id, one.keys), own
            ).serialize()
            for one in (*nodes, *stale)
        }
        coordinator = self._ports.coordinator
        told = [
            key_events.key_moved(actor, "master", present.alias, place=one.node_id)
            for one in (*nodes, *stale)
        ]
        self._ports.event_log.append(told)
        left = {
            **coordinator.list(key_bundles.PREFIX),
            **coordinator.list(acknowledgements.KEYS_PREFIX),
        }
        changes = {name: Change(None, one.version) for name, one in left.items()}
        for node_id, raw in bundles.items():
            name = key_bundles.entry(node_id)
            changes[name] = Change(raw, left[name].version if name in left else 0)
        with self.for_all():
            coordinator.put(changes)
        staged = {name: hashlib.sha256(raw).hexdigest() for name, raw in bundles.items()}
        expected = Expected(
            present.installation_id,
            occasion.change_id,
            occasion.present,
            staged,
            acknowledgements.KEYS_PREFIX,
        )
        if not nodes:
            self._finish({})
            return
        said = self._words.wait(expected, nodes, _CANNOT)
        # a bundle for a node that is stale stays
        gone = {
            name: Change(None, coordinator.version(name))
            for name in (key_bundles.entry(one.node_id) for one in nodes)
        }
        self._finish({**said.removals, **gone})

    def _finish(self, removals: Mapping[str, Change]) -> None:
        """From here on entries are of the generation that every node has, or takes before it reads any."""
        with self._having_given():
            self._ports.coordinator.put(removals)
