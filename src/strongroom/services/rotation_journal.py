"""The journals of rotations: begun, promoted, marked as failed, removed, each by one transaction.

It holds no component's connection, and decides nothing: `services/secret_rotation` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock, format_utc
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
from strongroom.coordination.base import Change, Coordinator
from strongroom.secrets import catalog, enc

if TYPE_CHECKING:
    from strongroom.services.configuration import ConfigurationService

MAX_AUTOMATIC_TRIES = 8
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)


class Found(NamedTuple):
    """A journal as it lies there, and its version for compare-and-set."""

    journal: RotationJournal
    version: int


class RotationJournals:
    """All journals and the record (docs/format/rotation-journal.md).

    `records()` is where an inventory learns when a secret was last rotated: one coordination entry,
    written in the transaction that makes the new value the configured one.
    """

    def __init__(
        self, configuration: "ConfigurationService", coordinator: Coordinator, clock: Clock
    ) -> None:
        self._configuration = configuration
        self._coordinator = coordinator
        self._clock = clock

    def find(self, parameters: "tuple[str, ...]") -> Found | None:
        """The journal of parameters that rotate together.

        Raises:
            FormatError: It is damaged.
        """
        entry = self._coordinator.get(PREFIX + min(parameters))
        return Found(RotationJournal.parse(entry.value), entry.version) if entry else None

    def all(self) -> list[Found]:
        """Every journal."""
        found = [self.find((name,)) for name in catalog.SECRETS]
        return [one for one in found if one is not None]

    def records(self) -> dict[str, RotationRecord]:
        """When each secret was last rotated; a secret that never was is missing."""
        entry = self._coordinator.get(RECORDS)
        return parse_records(entry.value) if entry else {}

    def begin(self, journal: RotationJournal) -> Found:
        """Write the intent down, before anybody hears the new value (§2.1)."""
        # never over another one, which may hold the only valid value (§2.8)
        return self._store(Found(journal, 0), journal)

    def promote(self, found: Found) -> Found:
        """One transaction: the configuration says the new value, journal and record say so (§2.2, §2.3)."""
        promoted = found.journal.promoted
        record = RotationRecord(format_utc(self._clock.now()), promoted.run, promoted.consumer)
        also = {
            promoted.key: Change(promoted.serialize(), found.version),
            RECORDS: self._with_records(dict.fromkeys(promoted.new, record)),
        }
        values = {**promoted.new, **promoted.new_logins}
        self._configuration.compare_and_put(
            lambda document: document.with_values(values), also=also
        )
        return Found(promoted, found.version + 1)

    def promote_unused(self, values: Mapping[str, str], run: str) -> None:
        """One transaction for secrets that nobody but the configuration holds."""
        record = RotationRecord(format_utc(self._clock.now()), run, "")
        also = {RECORDS: self._with_records(dict.fromkeys(values, record))}
        self._configuration.compare_and_put(
            lambda document: document.with_values(values), also=also
        )

    def failed(self, found: Found, problem: str) -> Found:
        """Count a failure, and say when to try again without being asked (§2.7)."""
        attempts = found.journal.attempts + 1
        pause = min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)
        noted = replace(
            found.journal,
            attempts=attempts,
            not_before=format_utc(self._clock.now() + pause),
            problem=problem,
        )
        return self._store(found, noted)

    def remove(self, found: Found) -> None:
        """The rotation is over, or was refused; values from before stay (§4.2)."""
        self._coordinator.put({found.journal.key: Change(None, found.version)})

    def finish(self, found: Found) -> None:
        """The rotation is over, and nobody needs a value from before (§4.2): one transaction."""
        changes = {found.journal.key: Change(None, found.version)}
        kept = self.kept()
        left = {name: texts for name, texts in kept.items() if name not in found.journal.new}
        if left != kept:
            data = serialize_kept(left) if left else None
            changes[KEPT] = versions.set_entry(self._coordinator, KEPT, data)
        self._coordinator.put(changes)

    def of_others(self, parameters: Iterable[str], consumer: str) -> list[Found]:
        """Journals of some of these parameters that belong to another consumer (§2.8)."""
        asked = set(parameters)
        return [
            found
            for found in self.all()
            if found.journal.consumer != consumer and asked & found.journal.new.keys()
        ]

    def kept(self) -> dict[str, tuple[str, ...]]:
        """The values from before that a component may have still (§4)."""
        entry = self._coordinator.get(KEPT)
        return parse_kept(entry.value) if entry else {}

    def keep_previous(self, parameters: Iterable[str]) -> None:
        """Keep the values that stand only in the version before, which the next promotion ends (§4.1)."""
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
        """Whether to try without being asked (§2.7)."""
        if journal.attempts >= MAX_AUTOMATIC_TRIES:
            return False
        # moments of one form compare as texts
        return format_utc(self._clock.now()) >= journal.not_before

    def _store(self, found: Found, journal: RotationJournal) -> Found:
        self._coordinator.put({journal.key: Change(journal.serialize(), found.version)})
        return Found(journal, found.version + 1)

    def _with_records(self, changed: Mapping[str, RotationRecord]) -> Change:
        records = serialize_records({**self.records(), **changed})
        return versions.set_entry(self._coordinator, RECORDS, records)


def is_promoted(found: Found) -> bool:
    """Whether the configuration says the new value."""
    return found.journal.step is RotationStep.PROMOTED
