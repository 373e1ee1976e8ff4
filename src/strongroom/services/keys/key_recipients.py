"""The recovery recipients of the configuration keys, changed on every node (docs/format/key-changes.md 4.10).

Their wraps lie in the records, on the disk of each node. Had a node of a cluster written them and died before it gave them,
the next change on another node would give other wraps the same number: each node would refuse the records of the other for
ever. So each change begins above all that another one can have written, as an attempt of a regeneration does.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from strongroom.canonical import ASCII, Kind
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.leases import Check
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.services.keys import regeneration

if TYPE_CHECKING:
    from strongroom.services.keys.spread_keys import SpreadKeys

JOURNAL: Final = "journal/recipients"
_KIND: Final = Kind("the journal of a change of recovery recipients", ASCII, 1 << 10)
_VERSION: Final = 1


class KeyRecipients:
    """The recovery recipients of the configuration keys of an installation."""

    def __init__(
        self,
        open_keys: Callable[[], ConfigurationKeys],
        directory: KeystoreDirectory,
        coordinator: Coordinator,
        others: "SpreadKeys | None" = None,
    ) -> None:
        """Take the ports.

        Args:
            open_keys: Reads the configuration keys anew.
            directory: The folders in which they lie.
            coordinator: Holds the journals.
            others: The other nodes of a cluster, which get the changed key files; None for a single node.
        """
        self.open_keys = open_keys
        self._directory = directory
        self._coordinator = coordinator
        self._others = others

    def check_others(self) -> None:
        """Refuse a change of the key files that another node could not follow.

        Raises:
            StateError: A node is joining.
            NodesError: A node is not alive.
        """
        if self._others is not None:
            self._others.check()

    def change(self, recipients: Sequence[str], actor: str, check: Check) -> bool:
        """Wrap every key for exactly these recipients, on every node; True if any record of this node changed.

        Args:
            recipients: The recipients.
            actor: The person or process that asks, for the events.
            check: Raises if the lock of keys has passed to another command: then no file is changed any more.

        Raises:
            NodesError: A node has not taken the keys; the same command, on any node, goes on.
            StateError: A regeneration is under way.
        """
        with self._directory.guarded(check):
            if self._others is None:
                return self.open_keys().set_recipients(recipients)
            if self._others.is_needed:
                self._begin(self._others)
            is_changed = self.open_keys().set_recipients(recipients)
            self._others.give(actor)
            self._end()
            return is_changed

    # ---- inside ----------------------------------------------------------------------------------

    def _begin(self, others: "SpreadKeys") -> None:
        """Write the records that are here under a number that no other change can have used."""
        others.check()
        with others.alone():
            keys = self.open_keys()
            present = keys.present
            present.check_settled()
            number = regeneration.above(
                self._coordinator, present.generation, begun(self._coordinator)
            )
            members = {"generation": number, "node": others.node_id, "v": _VERSION}
            put = Change(_KIND.dumps(members), self._coordinator.version(JOURNAL))
            with others.for_all():
                self._coordinator.put({JOURNAL: put, **others.own_removed()})
        keys.advance(number, present.active, "")

    def _end(self) -> None:
        version = self._coordinator.version(JOURNAL)
        if version:
            self._coordinator.put({JOURNAL: Change(None, version)})


def begun(coordinator: Coordinator) -> int:
    """The number above which the records of an unfinished change of recipients begin; 0 if there is none.

    Raises:
        FormatError: The journal is not canonical, of another version, or has wrong members.
    """
    entry = coordinator.get(JOURNAL)
    if entry is None:
        return 0
    found = _KIND.loads(entry.value)
    found.check_version("v", _VERSION)
    found.check_names(("generation", "node", "v"))
    found.text("node")
    return found.number("generation", least=1)
