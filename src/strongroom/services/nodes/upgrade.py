"""`strongroom upgrade`: brings a node of an older format to the formats of this release (docs/format/format-2.md 11).

The upgrade is a list of parts. Each may be repeated, and does nothing where its work is done, so that the next run
finishes what a killed one began. When all parts are done the floors of the configuration-key records rise: from then on
nothing of the older formats is taken, and every other command works. Until then each of them names this one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import NamedTuple

from strongroom.canonical import ASCII, Kind
from strongroom.clock import Clock, format_utc
from strongroom.configuration_keys import generations
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.coordination.upgrading import UpgradingCoordinator
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events
from strongroom.ids import new_id
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.services.keys import regeneration

JOURNAL = "journal/upgrade"
_VERSION = 1
_KIND = Kind("the journal of the upgrade", ASCII, 1 << 16)

Report = Callable[[str], None]


class Part(NamedTuple):
    """A part of a node that comes to another format.

    Attributes:
        sentence: The work in words, for people.
        run: Does the work, given the person or process that asks; repeated, it does nothing.
    """

    sentence: str
    run: Callable[[str], None]


@dataclass(frozen=True)
class Journal:
    """An upgrade under way.

    Attributes:
        run: The id of the run that began it.
        backup: The file of the backup that was made before; empty if none was wanted.
    """

    run: str
    backup: str

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _KIND.dumps({**asdict(self), "v": _VERSION})

    @classmethod
    def parse(cls, data: bytes) -> "Journal":
        """Parse the bytes of a journal.

        Raises:
            FormatError: The bytes are not canonical, of another version, or have wrong members.
        """
        fields = _KIND.loads(data)
        fields.check_version("v", _VERSION)
        fields.check_names(("backup", "run", "v"))
        return cls(fields.id("run"), fields.text("backup"))


@dataclass(frozen=True)
class Receipt:
    """The receipt of an upgrade; ids and names only.

    Attributes:
        run: The id of the run; empty if nothing had to be done.
        installation_id: The installation.
        node_id: The node.
        backup: The file of the backup that was made before; empty if none was wanted.
        steps: The steps that were done, in their order.
        resumed: Whether the run finished an upgrade that was interrupted.
        at: The time of its end.
        events: How many events the log has, the one of the upgrade the last of them.
    """

    run: str
    installation_id: str
    node_id: str
    backup: str
    steps: tuple[str, ...]
    resumed: bool
    at: str
    events: int


@dataclass(frozen=True)
class UpgradePorts:
    """The ports through which a node is upgraded.

    Attributes:
        configuration: The node's configuration.
        open_keys: Opens the configuration keys anew at each call.
        changing_keys: Holds the lock of keys.
        check_keys: Refuses keys that are not in order.
        coordinator: The entries, of either format.
        event_log: The event log.
        check_log: Refuses an event log that was changed.
        count_events: Returns how many events the log has.
        back_up: Makes a backup for the person or process that asks; returns its file.
        parts: The parts that follow the records, in their order.
        clock: Gives the time of the receipt.
        node_id: The node.
    """

    configuration: PresentConfiguration
    open_keys: Callable[[], ConfigurationKeys]
    changing_keys: Callable[[], AbstractContextManager[object]]
    check_keys: Callable[[], None]
    coordinator: UpgradingCoordinator
    event_log: EventLog
    check_log: Callable[[], None]
    count_events: Callable[[], int]
    back_up: Callable[[str], str]
    parts: Sequence[Part]
    clock: Clock
    node_id: str


class UpgradeService:
    """The use case; the caller must ensure that nobody serves the node meanwhile."""

    def __init__(self, ports: UpgradePorts) -> None:
        self._ports = ports
        records = Part("write the configuration-key records anew, with a MAC", self._write_records)
        entries = Part("give every entry of the coordination service a MAC", self._seal_entries)
        self._parts = (records, entries, *ports.parts)

    @property
    def is_needed(self) -> bool:
        """Whether the node is of an older format, or an upgrade is unfinished."""
        present = self._ports.open_keys().present
        is_older = present.format != generations.FORMAT or present.floors != generations.TARGET
        return is_older or self._journal() is not None

    def plan(self, *, with_backup: bool) -> tuple[str, ...]:
        """The steps of `run` in words; looks whether it would be refused, and changes nothing.

        Raises:
            StateError: The keys are not in order now.
            IntegrityError: The event log was changed.
        """
        if not self.is_needed:
            return ()
        has_begun = self._journal() is not None
        if not has_begun:
            self._check()
        backup = ("make a backup",) if with_backup and not has_begun else ()
        sentences = (part.sentence for part in self._parts)
        return (*backup, *sentences, "take no older format any more")

    def run(self, actor: str, report: Report, *, with_backup: bool) -> Receipt:
        """Upgrade the node, or finish the upgrade that was interrupted.

        Args:
            actor: The person or process that asks, for the events.
            report: Called with a sentence before each step.
            with_backup: Whether to make a backup before anything is changed.

        Raises:
            StateError: The keys are not in order now; nothing was changed.
            IntegrityError: The event log was changed; nothing was changed.
            StrongroomError: A part cannot be done; a later run goes on from there.
        """
        if not self.is_needed:
            return self._receipt(Journal("", ""), (), is_resumed=False)
        found = self._journal()
        steps: list[str] = []

        def begin(sentence: str) -> None:
            steps.append(sentence)
            report(sentence)

        journal = found or self._begin(actor, begin, with_backup=with_backup)
        with self._ports.changing_keys():
            for part in self._parts:
                begin(part.sentence)
                part.run(actor)
            begin("take no older format any more")
            # the event comes first: if we die in between, the next run says it once more
            self._ports.event_log.append(
                [node_events.format_upgraded(actor, journal.run, journal.backup)]
            )
            self._ports.open_keys().raise_floors()
            self._end()
        return self._receipt(journal, tuple(steps), is_resumed=found is not None)

    # ---- beginning and end -----------------------------------------------------------------------

    def _check(self) -> None:
        self._ports.check_keys()
        self._ports.check_log()

    def _begin(self, actor: str, begin: Report, *, with_backup: bool) -> Journal:
        self._check()
        backup = ""
        if with_backup:
            begin("make a backup")
            backup = self._ports.back_up(actor)
        journal = Journal(new_id(), backup)
        self._ports.coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
        return journal

    def _journal(self) -> Journal | None:
        found = self._ports.coordinator.get(JOURNAL)
        return Journal.parse(found.value) if found else None

    def _end(self) -> None:
        found = self._ports.coordinator.get(JOURNAL)
        if found is not None:
            self._ports.coordinator.put({JOURNAL: Change(None, found.version)})

    def _receipt(self, journal: Journal, steps: tuple[str, ...], *, is_resumed: bool) -> Receipt:
        document = self._ports.configuration.document()
        return Receipt(
            journal.run,
            document.installation_id,
            self._ports.node_id,
            journal.backup,
            steps,
            is_resumed,
            format_utc(self._ports.clock.now()),
            self._ports.count_events(),
        )

    # ---- the first part --------------------------------------------------------------------------

    def _write_records(self, actor: str) -> None:
        del actor
        keys = self._ports.open_keys()
        active = self._ports.configuration.document().configuration_key_id
        coming = regeneration.coming_key(self._ports.coordinator)
        is_begun = coming in keys.present.ids and coming != active
        keys.upgrade(active, coming if is_begun else None)

    def _seal_entries(self, actor: str) -> None:
        del actor
        self._ports.coordinator.seal_all()
