"""The pending transaction in the coordination service: opened, and replaced as a whole (C-07).

It takes no lock and judges no change: `services.configuration` holds the lock and decides.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from strongroom.config import versions
from strongroom.config.document import ConfigDocument, check_length
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.secrets import catalog as secrets
from strongroom.secrets import enc

if TYPE_CHECKING:
    from strongroom.config.pending import PendingChanges

Values = Mapping[str, str | None]
"""New values by name: secrets in the clear, None for a return to the default."""


class Decided(NamedTuple):
    """What is to be put into the transaction, and what else there is to tell about it."""

    values: Values
    told: Sequence[Event] = ()


class Stored(NamedTuple):
    """The transaction as it lies.

    Attributes:
        pending: What will change.
        version: Of its entry: what a change of it is compared with; begins at 1 again after a discard.
        revision: What people are shown is compared by (format/pending-changes.md §4.5).
    """

    pending: "PendingChanges"
    version: int
    revision: str


Decide = Callable[[ConfigDocument, "PendingChanges"], Decided]
"""Gives the checked changes for the present document and transaction; none leaves everything as it is."""


class PendingStore:
    """Reads and replaces the one pending transaction."""

    def __init__(
        self,
        coordinator: Coordinator,
        event_log: EventLog,
        key_of: Callable[[ConfigDocument, str], SecretBytes],
    ) -> None:
        """Take the ports; `key_of` opens a configuration key of the document's installation."""
        self._coordinator = coordinator
        self._events = event_log
        self._key_of = key_of

    def load(self, document: ConfigDocument) -> Stored | None:
        """The transaction; None if nothing is pending.

        Raises:
            IntegrityError: It does not open.
        """
        from strongroom.config.pending import open_pending, revision_of

        entry = self._coordinator.get(versions.PENDING)
        if entry is None:
            return None
        opened = open_pending(
            entry.value, lambda key_id: self._key_of(document, key_id), document.installation_id
        )
        return Stored(opened, entry.version, revision_of(entry.value))

    def stage(self, document: ConfigDocument, decide: Decide, actor: str) -> Stored:
        """Put changes into the transaction, all by one compare-and-set; secrets are encrypted here and now.

        Raises:
            UsageError: The transaction, or the configuration that it would make, grows too long.
        """
        from strongroom.config.pending import PendingChanges, revision_of

        present = self.load(document) or Stored(PendingChanges(document.version), 0, "")
        decided = decide(document, present.pending)
        if not decided.values:
            return present
        key_id = document.configuration_key_id
        key = self._key_of(document, key_id)
        pending = present.pending.with_changes(_sealed(key, key_id, decided.values))
        data = pending.seal(key, key_id, document.installation_id)
        check_length(data, "the pending transaction")
        check_length(pending.promote(document).serialize(), "the configuration")
        encrypted = [
            events.secret_encrypted(actor, name, key_id)
            for name, value in decided.values.items()
            if value is not None and secrets.is_secret(name)
        ]
        # told before it is done: a change without its event would be worse than an event without its change
        self._events.append([*encrypted, *decided.told])
        self._coordinator.put({versions.PENDING: Change(data, present.version)})
        return Stored(pending, present.version + 1, revision_of(data))


def _sealed(key: SecretBytes, key_id: str, values: Values) -> Values:
    return {
        name: enc.seal_value(key, key_id, name, value.encode())
        if value is not None and secrets.is_secret(name)
        else value
        for name, value in values.items()
    }
