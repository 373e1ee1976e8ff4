"""The attempts of a regeneration, one after the other and each by whichever node goes on (docs/format/key-changes.md 4.8).

A step changes the key files of one node, and gives them to the others at its end. If that node dies in between, or is
paused, another one goes on without what lies on that disk. Therefore each attempt first takes numbers and names of its own,
and gives every node the records that its node has: whatever an attempt before has left on a disk is behind them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from enum import Enum, auto

from strongroom.clock import Clock
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import StateError
from strongroom.ids import new_id
from strongroom.keystore import master_key
from strongroom.services.keys import key_recipients, regeneration, store_journals
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.keys.key_holders import KeyHolders
from strongroom.services.keys.regeneration import JOURNAL, Journal


class Progress(Enum):
    """How far a run has come with its new keys."""

    #: Neither is there.
    NONE = auto()
    #: The new master key was added, on the disk of the node that worked on the run.
    MASTER_KEY = auto()
    #: The new configuration key was added as well, and every node has both.
    ADDED = auto()


class Attempts:
    """The attempts of this node; nothing of it changes anything on a single node."""

    def __init__(
        self, holders: KeyHolders, keeper: StoreKeeper, coordinator: Coordinator, clock: Clock
    ) -> None:
        self._holders = holders
        self._others = holders.others
        self._keeper = keeper
        self._coordinator = coordinator
        self._clock = clock

    def guarded(self, check: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `check` before each change of this node's key files; it raises if the lock has passed to another node."""
        if self._others is None:
            return nullcontext()
        return self._holders.directory.guarded(check)

    def alone(self) -> AbstractContextManager[None]:
        """Take the keys that lie there for this node, and let no other process of it take any until the end of the block."""
        return nullcontext() if self._others is None else self._others.alone()

    def begin(self, journal: Journal) -> Journal:
        """Put the journal of a new run; returns it as it was put."""
        return self._put(self._numbered(journal), 0)

    def go_on(self, journal: Journal, progress: Progress) -> Journal:
        """Put the journal of the next attempt; returns it as it was put.

        A key that this node has not got is replaced by one of another name: the key under the former name lies on the
        disk of another node.

        Args:
            journal: The journal that was found.
            progress: How far it has come.
        """
        if self._others is None or not journal.keys:
            return journal
        aliases, ids = self._holders.directory.load().aliases, self._present().ids
        if journal.alias not in aliases or journal.key_id not in ids:
            journal = replace(journal, key_id=new_id())
        if journal.alias not in aliases:
            taken = (*aliases, journal.alias)
            alias = master_key.new_master_key(self._clock.now(), taken).alias
            is_made = progress is not Progress.NONE
            journal = replace(journal, alias=alias, step=journal.step - is_made)
        return self._put(self._numbered(journal), self._coordinator.version(JOURNAL))

    def equal(self, journal: Journal, actor: str) -> None:
        """Give every other node the records of this one, above all that an attempt before may have written.

        Raises:
            NodesError: A node has not taken them.
        """
        if self._others is None:
            return
        active = self._keeper.configuration.document().configuration_key_id
        self._holders.open_keys().advance(journal.generation, active, journal.key_id)
        self._holders.give(actor)

    def check_here(self, journal: Journal, present: KeyRecords) -> None:
        """Refuse to go on with new keys that every node was given, and that this one has not got.

        Raises:
            StateError: The keys are not here.
        """
        if self._others is None:
            return
        aliases, node = self._holders.directory.load().aliases, journal.node or "another node"
        if journal.key_id not in present.ids or journal.alias not in aliases:
            raise StateError(
                f"the new keys of the regeneration that {node} works on are not on this node",
                hint=f"run the same command on {node}; or start this node anew, so that it takes what is kept for it",
            )

    # ---- inside ----------------------------------------------------------------------------------

    def _present(self) -> KeyRecords:
        return self._holders.open_keys().present

    def _numbered(self, journal: Journal) -> Journal:
        if self._others is None or not journal.keys:
            return journal
        if self._coordinator.version(store_journals.RECOVER):
            raise StateError(
                "a recovery was begun and not finished, which makes new keys by itself",
                hint="run 'strongroom recover' again on the node where it began",
            )
        number = regeneration.above(
            self._coordinator,
            self._present().generation,
            journal.generation,
            key_recipients.begun(self._coordinator),
        )
        return replace(journal, node=self._others.node_id, generation=number)

    def _put(self, journal: Journal, version: int) -> Journal:
        changes = {JOURNAL: Change(journal.serialize(), version)}
        if self._others is None or not journal.keys:
            self._coordinator.put(changes)
            return journal
        # nodes with records of before read this put, and nothing that was given by then is taken here any more
        with self._others.for_all():
            self._coordinator.put({**changes, **self._others.own_removed()})
        return journal
