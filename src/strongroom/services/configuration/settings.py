"""Exporting and importing settings (C-12 … C-20): all of the configuration as one text.

An export appends an event for each secret that it opens, before it returns the text. An import judges every key first;
if it refuses none, all accepted ones go into the pending transaction at once. The caller reads and writes the files.
Keystore and keys of the hierarchy are never exported (Q-09, format/settings.md §2.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from strongroom.config import import_rules, texts, transfer
from strongroom.config.document import ConfigDocument
from strongroom.config.import_rules import Outcome, Rules, Verdict
from strongroom.config.transfer import Settings
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import secret_events
from strongroom.secrets import catalog as secrets
from strongroom.services.configuration.pending_store import Decided

if TYPE_CHECKING:
    from strongroom.config.pending import PendingChanges
    from strongroom.config.views import PendingView
    from strongroom.crypto.age import SealTo
    from strongroom.services.configuration.service import ConfigurationService

_MOST_SUGGESTIONS = 200


@dataclass(frozen=True)
class Collected:
    """Settings as text, plain or sealed.

    Attributes:
        text: The bytes; they contain secrets in plain unless they are sealed.
        keys: How many parameters the text has.
        secrets: How many of those are secrets.
    """

    text: SecretBytes
    keys: int
    secrets: int


class ImportOptions(NamedTuple):
    """The parts of a text that are imported.

    Attributes:
        configuration: Import the keys and entities.
        topology: Import the topology.
        force: Import ordinary keys that are not in the catalogue, too.
    """

    configuration: bool = True
    topology: bool = True
    force: bool = False


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        verdicts: The verdict on each key, entity and part.
        pending: The pending transaction afterwards; None if nothing was staged.
        kept: How many changes were pending before and stay.
    """

    verdicts: tuple[Verdict, ...]
    pending: "PendingView | None"
    kept: int = 0

    def of(self, outcome: Outcome) -> list[Verdict]:
        """The verdicts of one outcome."""
        return [verdict for verdict in self.verdicts if verdict.outcome is outcome]


class SettingsService:
    """Exports and imports the settings of one installation."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        event_log: EventLog,
        topology: Mapping[str, Sequence[str]],
    ) -> None:
        """Take the ports.

        Args:
            configuration: The configuration that is exported and changed.
            event_log: The log to which exports are appended.
            topology: The services of each node.
        """
        self._configuration = configuration
        self._event_log = event_log
        self._topology = transfer.topology_of(topology)

    def export(
        self, actor: str, target: str, to: "SealTo", *, with_secrets: bool = True
    ) -> Collected:
        """The text for a file, sealed if recipients or a passphrase are given.

        Args:
            actor: The person or process that exports, for the events.
            target: The file or other destination of the text, for the event.
            to: Recipients or a passphrase; empty for a plain text.
            with_secrets: Whether the text contains secrets.
        """
        from strongroom.crypto import age

        found = self.collect(actor, f"settings export to {target}", with_secrets=with_secrets)
        exported: Sequence[Event]
        if not with_secrets:
            exported = [
                secret_events.exported_without_secrets(actor, target=target, keys=found.keys)
            ]
        elif to.is_empty:
            exported = [secret_events.exported_plaintext(actor, target=target, keys=found.keys)]
        else:
            found = Collected(
                SecretBytes(age.seal(found.text.reveal(), to)), found.keys, found.secrets
            )
            exported = secret_events.exported_sealed(
                actor, target=target, keys=found.keys, recipients=to.recipients
            )
        self._event_log.append(exported)
        return found

    def collect(self, actor: str, reason: str, *, with_secrets: bool = True) -> Collected:
        """The text of the applied configuration, after an event for each secret in it.

        Args:
            actor: The person or process that asks, for the events.
            reason: The reason that the events give.
            with_secrets: Whether the text contains secrets.

        Raises:
            IntegrityError: A secret does not open.
        """
        document = self._configuration.document()
        names = [
            name
            for name in sorted(document.values)
            if not secrets.is_key_hierarchy(name) and (with_secrets or not secrets.is_secret(name))
        ]
        opened = [name for name in names if secrets.is_secret(name)]
        keys = {name: self._shown(document, name) for name in names}
        text = transfer.serialize(Settings(keys, import_rules.entities(), self._topology))
        self._event_log.append(
            [secret_events.secret_revealed(actor, name, reason=reason) for name in opened]
        )
        return Collected(SecretBytes(text), len(names), len(opened))

    def import_(self, data: bytes, options: ImportOptions, *, actor: str, source: str) -> Imported:
        """Judge a text key by key and, if no key is refused, put the accepted values into the pending transaction.

        Args:
            data: The text.
            options: The parts of the text to import.
            actor: The person or process that imports, for the events.
            source: The file or other origin of the text, for the event.

        Raises:
            FormatError: The bytes are no text of settings.
            UsageError: The transaction would be too long.
            ConflictError: Another command holds the configuration.
        """
        settings = transfer.parse(data)
        verdicts: list[Verdict] = []
        kept = 0

        def decide(document: ConfigDocument, pending: "PendingChanges") -> Decided:
            nonlocal kept
            verdicts[:] = self._judged(settings, options, document, pending)
            if any(one.outcome is Outcome.REFUSED for one in verdicts):
                return Decided({})
            accepted = {one.key: one.value for one in verdicts if one.outcome is Outcome.ACCEPTED}
            kept = len(pending.changes.keys() - accepted.keys())
            return Decided(
                accepted, list(secret_events.imported(actor, source=source, names=list(accepted)))
            )

        pending = self._configuration.stage(decide, actor=actor)
        is_staged = any(one.value is not None for one in verdicts)
        refused = any(one.outcome is Outcome.REFUSED for one in verdicts)
        return Imported(tuple(verdicts), pending if is_staged and not refused else None, kept)

    # ---- inside ----------------------------------------------------------------------------------

    def _shown(self, document: ConfigDocument, name: str) -> str:
        text = document.values[name]
        return texts.as_text(name, self._open(name, text)) if secrets.is_secret(name) else text

    def _open(self, name: str, text: str) -> bytes:
        return self._configuration.open_text(name, text).reveal()

    def _judged(
        self,
        settings: Settings,
        options: ImportOptions,
        document: ConfigDocument,
        pending: "PendingChanges",
    ) -> list[Verdict]:
        found: list[Verdict] = []
        if options.configuration:
            suggests = len(settings.keys) <= _MOST_SUGGESTIONS
            rules = Rules(document, pending, self._open, options.force, suggests)
            found += import_rules.judge_entities(settings) + rules.judge_keys(settings)
        if options.topology:
            found += import_rules.judge_topology(settings, self._topology)
        return found
