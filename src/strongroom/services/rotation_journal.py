"""The journals of rotations: begun, promoted, marked as failed, removed, each by one transaction.

It holds no component's connection, and decides nothing: `services/secret_rotation` does.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.config import versions
from strongroom.config.rotation import (
    PREFIX,
    RECORDS,
    RotationJournal,
    RotationRecord,
    RotationStep,
    parse_records,
    serialize_records,
)
from strongroom.coordination.base import Change, Coordinator
from strongroom.secrets import catalog

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
        # another consumer's leftover of the same parameters gives way (§2.8)
        version = self._coordinator.version(journal.key)
        return self._store(Found(journal, version), journal)

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
        """One transaction for secrets that nobody but the configuration holds; their leftover journals go (§2.8)."""
        record = RotationRecord(format_utc(self._clock.now()), run, "")
        leftover = {PREFIX + name for name in values}
        also = {
            key: versions.set_entry(self._coordinator, key, None)
            for key in leftover
            if self._coordinator.version(key)
        }
        also[RECORDS] = self._with_records(dict.fromkeys(values, record))
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
        """The rotation is over."""
        self._coordinator.put({found.journal.key: Change(None, found.version)})

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
