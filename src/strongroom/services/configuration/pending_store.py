"""The pending transaction in the coordination service: opened, and replaced as a whole (C-07).

This module takes no lock and judges no change; `services.configuration.service` does both.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from strongroom.config import versions
from strongroom.config.document import ConfigDocument, check_length
from strongroom.coordination import floors
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import secret_events
from strongroom.secrets import catalog as secrets
from strongroom.secrets.committed import ValueKey

if TYPE_CHECKING:
    from strongroom.config.pending import PendingChanges

Values = Mapping[str, str | None]
"""New values by name: secrets in the clear, None for a return to the default."""


class Decided(NamedTuple):
    """The changes to put into the transaction, and the events beside those of encrypted secrets."""

    values: Values
    also: Sequence[Event] = ()


class Stored(NamedTuple):
    """The transaction as it is stored.

    Attributes:
        pending: The changes.
        version: The entry's version for compare-and-set; begins at 1 again after a discard.
        revision: A digest of the changes, by which `apply` checks that they are those that were shown to the operator
            (format/pending-changes.md §4.5). The version would not do: after a discard the same number comes again.
    """

    pending: "PendingChanges"
    version: int
    revision: str


Decide = Callable[[ConfigDocument, "PendingChanges"], Decided]
"""Returns checked changes, given the present document and transaction; an empty result changes nothing."""

Check = Callable[[Collection[str], Callable[[str], SecretBytes | None]], None]
"""Raises to refuse changes before they are applied; gets their names, and a function that returns a value as it would be."""
OpenValue = Callable[[ConfigDocument, str, str], SecretBytes]


class PendingStore:
    """Reads and replaces the one pending transaction."""

    def __init__(
        self,
        coordinator: Coordinator,
        event_log: EventLog,
        key_of: Callable[[ConfigDocument, str], SecretBytes],
    ) -> None:
        """Take the ports; `key_of` opens a configuration key of the document's installation."""
        self.checks: list[Check] = []
        self._coordinator = coordinator
        self._event_log = event_log
        self._key_of = key_of

    def check(
        self, pending: "PendingChanges", document: ConfigDocument, open_value: OpenValue
    ) -> None:
        """Call every registered check with these changes; a check that refuses them raises."""
        future = pending.promote(document)

        def find(name: str) -> SecretBytes | None:
            text = future.values.get(name)
            return None if text is None else open_value(future, name, text)

        for check in self.checks:
            check(pending.changes.keys(), find)

    def load(
        self, document: ConfigDocument, keys: Mapping[str, SecretBytes] | None = None
    ) -> Stored | None:
        """The transaction; None if nothing is pending.

        Args:
            document: The present configuration.
            keys: Configuration keys by id that open it instead of the keystore's.

        Raises:
            IntegrityError: The transaction does not open by those keys, or was applied or discarded already.
        """
        from strongroom.config.pending import open_pending, point_of_pending, revision_of

        entry = self._coordinator.get(versions.PENDING)
        if entry is None:
            return None
        floors.check_pending(
            point_of_pending(entry.value),
            floor=document.pending_floor,
            document_version=document.version,
        )
        open_key = keys.__getitem__ if keys is not None else partial(self._key_of, document)
        opened = open_pending(entry.value, open_key, document.installation_id)
        return Stored(opened, entry.version, revision_of(entry.value))

    @staticmethod
    def number_of(data: bytes) -> int:
        """The number of a stored transaction; 0 of one that is damaged, which can only be thrown away."""
        from strongroom.config.pending import point_of_pending

        try:
            return point_of_pending(data).number
        except FormatError:
            return 0

    def stage(self, document: ConfigDocument, decide: Decide, actor: str) -> Stored:
        """Put changes into the transaction by one compare-and-set; secrets are encrypted before they are stored.

        Raises:
            UsageError: The transaction, or the configuration after it, would be too long.
        """
        from strongroom.config.pending import PendingChanges, revision_of

        first = PendingChanges(document.version, document.pending_floor)
        present = self.load(document) or Stored(first, 0, "")
        decided = decide(document, present.pending)
        if not decided.values:
            return present
        key_id = document.configuration_key_id
        key = self._key_of(document, key_id)
        sealing = ValueKey(document.installation_id, key_id, key)
        pending = present.pending.with_changes(_sealed(sealing, decided.values))
        data = pending.seal(key, key_id, document.installation_id)
        check_length(data, "the pending transaction")
        check_length(pending.promote(document).serialize(), "the configuration")
        encrypted = [
            secret_events.secret_encrypted(actor, name, key_id)
            for name, value in decided.values.items()
            if value is not None and secrets.is_secret(name)
        ]
        # The events come before the put. If we die in between, the log names a change that was not made; a change that
        # the log does not name would be worse.
        self._event_log.append([*encrypted, *decided.also])
        self._coordinator.put({versions.PENDING: Change(data, present.version)})
        return Stored(pending, present.version + 1, revision_of(data))


def _sealed(key: ValueKey, values: Values) -> Values:
    return {
        name: key.seal(name, value.encode())
        if value is not None and secrets.is_secret(name)
        else value
        for name, value in values.items()
    }
