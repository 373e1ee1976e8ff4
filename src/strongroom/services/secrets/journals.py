"""The journals of secret rotations: begun, promoted, marked as failed or removed, each by one transaction.

A component and the configuration cannot be changed in one transaction. The journal holds old and new value, encrypted,
until both agree: a process killed at any moment leaves the journal, and with it a value by which the component can be
reached. This module talks to no component and decides nothing; `services.secrets.rotate` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import SKEW, Clock, format_utc, parse_utc
from strongroom.config import versions
from strongroom.config.rotation import (
    KEPT,
    PREFIX,
    RECORDS,
    RotationJournal,
    RotationRecord,
    RotationStep,
    parse_kept,
    parse_records,
    serialize_kept,
    serialize_records,
)
from strongroom.coordination import floors
from strongroom.coordination.base import Change, Coordinator, Versioned
from strongroom.secrets import catalog, enc

if TYPE_CHECKING:
    from strongroom.config.document import ConfigDocument
    from strongroom.services.configuration.present import PresentConfiguration

MAX_AUTOMATIC_TRIES = 8
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)


class StoredJournal(NamedTuple):
    """A stored journal, and its entry's version for compare-and-set."""

    journal: RotationJournal
    version: int


class RotationJournals:
    """All journals, and the records of finished rotations (docs/format/rotation-journal.md).

    The records are one coordination entry, written in the same transaction that makes a new value the configured one,
    so that the time of the last rotation is never wrong.
    """

    def __init__(
        self, configuration: "PresentConfiguration", coordinator: Coordinator, clock: Clock
    ) -> None:
        self._configuration = configuration
        self._coordinator = coordinator
        self._clock = clock

    def find(self, parameters: "tuple[str, ...]") -> StoredJournal | None:
        """The journal of parameters that rotate together.

        Raises:
            FormatError: The journal is damaged.
            IntegrityError: The journal is of a rotation that is over, or of a later configuration.
        """
        entry = self._coordinator.get(PREFIX + min(parameters))
        return self._found(entry) if entry else None

    def all(self) -> list[StoredJournal]:
        """Every journal."""
        entries = self._coordinator.list(PREFIX)
        keys = [PREFIX + name for name in catalog.SECRETS]
        return [self._found(entries[key]) for key in keys if key in entries]

    def records(self) -> dict[str, RotationRecord]:
        """When each secret was last rotated; a secret that was never rotated is missing."""
        entry = self._coordinator.get(RECORDS)
        return parse_records(entry.value) if entry else {}

    def begin(self, journal: RotationJournal) -> StoredJournal:
        """Store a new journal, before any component gets the new value (§2.1)."""
        # Version 0 refuses to replace another journal: that one may hold the only value that its component accepts
        # (§2.8).
        return self._store(StoredJournal(journal, 0), journal)

    def promote(self, found: StoredJournal) -> StoredJournal:
        """Make the new value the configured one, with journal and record, in one transaction (§2.2, §2.3)."""
        promoted = found.journal.promoted
        values = {**promoted.new, **promoted.new_logins}

        def also(document: "ConfigDocument") -> Mapping[str, Change]:
            return {
                promoted.key: Change(promoted.serialize(), found.version),
                RECORDS: self._with_records(
                    promoted.new, promoted.run, promoted.consumer, document
                ),
            }

        self._configuration.compare_and_put(
            lambda document: document.with_values(values), also=also
        )
        return StoredJournal(promoted, found.version + 1)

    def promote_unused(self, values: Mapping[str, str], run: str) -> None:
        """Set new values and their records in one transaction, for secrets that no component uses."""
        self._configuration.compare_and_put(
            lambda document: document.with_values(values),
            also=lambda document: {RECORDS: self._with_records(values, run, "", document)},
        )

    def failed(self, found: StoredJournal, problem: str) -> StoredJournal:
        """Count a failure, and store the time of the next automatic try, with growing pauses (§2.7)."""
        attempts = found.journal.attempts + 1
        pause = min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)
        noted = replace(
            found.journal,
            attempts=attempts,
            not_before=format_utc(self._clock.now() + pause),
            problem=problem,
        )
        return self._store(found, noted)

    def remove(self, found: StoredJournal) -> None:
        """Delete a journal; kept earlier values stay, since the component may still have one of them (§4.2)."""
        self._coordinator.put({found.journal.key: Change(None, found.version)})

    def finish(self, found: StoredJournal) -> None:
        """Delete the journal of a finished rotation and the kept earlier values, in one transaction (§4.2)."""
        changes = {found.journal.key: Change(None, found.version)}
        kept = self.kept()
        left = {name: texts for name, texts in kept.items() if name not in found.journal.new}
        if left != kept:
            data = serialize_kept(left) if left else None
            changes[KEPT] = versions.set_entry(self._coordinator, KEPT, data)
        self._coordinator.put(changes)

    def of_others(self, parameters: Iterable[str], consumer: str) -> list[StoredJournal]:
        """Journals of some of these parameters that belong to another consumer (§2.8)."""
        asked = set(parameters)
        return [
            found
            for found in self.all()
            if found.journal.consumer != consumer and asked & found.journal.new.keys()
        ]

    def kept(self) -> dict[str, tuple[str, ...]]:
        """Earlier values that a component may still have, encrypted, by parameter (§4)."""
        entry = self._coordinator.get(KEPT)
        return parse_kept(entry.value) if entry else {}

    def keep_previous(self, parameters: Iterable[str]) -> None:
        """Keep values that only the previous version of the configuration holds, since the next put deletes it (§4.1).

        Such a value may be the one that the component has: somebody may have set another in the configuration by hand.
        """
        previous = versions.load_previous(self._coordinator)
        if previous is None:
            return
        present, before = self._configuration.document(), self.kept()
        kept = dict(before)
        for name in parameters:
            text = previous.values.get(name, "")
            known = (present.values.get(name), *kept.get(name, ()))
            if enc.is_enc(text) and text not in known:
                kept[name] = (text, *kept.get(name, ()))
        if kept != before:
            entry = versions.set_entry(self._coordinator, KEPT, serialize_kept(kept))
            self._coordinator.put({KEPT: entry})

    def is_due(self, journal: RotationJournal) -> bool:
        """Whether an automatic try is due (§2.7)."""
        if journal.attempts >= MAX_AUTOMATIC_TRIES:
            return False
        now = self._clock.now()
        if not journal.not_before:
            return True
        left = parse_utc(journal.not_before) - now
        # No pause is that long: the time was written while the clock was ahead, and to wait for it could take years,
        # see findings K23.
        return left <= timedelta(0) or left > _LONGEST_PAUSE + SKEW

    def _store(self, found: StoredJournal, journal: RotationJournal) -> StoredJournal:
        self._coordinator.put({journal.key: Change(journal.serialize(), found.version)})
        return StoredJournal(journal, found.version + 1)

    def _with_records(
        self, names: Iterable[str], run: str, consumer: str, document: "ConfigDocument"
    ) -> Change:
        """The records with one for each of these secrets, which this document is the first to say."""
        now = format_utc(self._clock.now())
        changed = dict.fromkeys(names, RotationRecord(now, run, consumer, document.version))
        records = serialize_records({**self.records(), **changed})
        return versions.set_entry(self._coordinator, RECORDS, records)

    def _found(self, entry: Versioned) -> StoredJournal:
        """A stored journal, refused if it is not of this time (entries.md 3.3)."""
        journal = RotationJournal.parse(entry.value)
        records = {name: record.point for name, record in self.records().items()}
        version = self._configuration.document().version
        floors.check_rotation(journal.point, records, document_version=version)
        return StoredJournal(journal, entry.version)


def is_promoted(found: StoredJournal) -> bool:
    """Whether the new value is the configured one."""
    return found.journal.step is RotationStep.PROMOTED
