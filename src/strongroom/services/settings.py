"""Exporting and importing settings (C-12 … C-20, requirements 3.5): all of the configuration as one text.

Each secret that an export opens leaves an event before the text is handed out. An import judges every key before it
stages anything, and what it stages is one pending transaction: the old one, or the old one with everything accepted.
Whoever reads and writes files is the caller; neither the keystore nor a key of the hierarchy comes here
(Q-09, format/settings.md §2.2).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from strongroom.config import import_rules, texts, transfer
from strongroom.config.document import ConfigDocument
from strongroom.config.import_rules import Outcome, Rules, Verdict
from strongroom.config.transfer import Settings
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.secrets import catalog as secrets
from strongroom.secrets import enc
from strongroom.services.pending_store import Decided

if TYPE_CHECKING:
    from strongroom.config.pending import PendingChanges
    from strongroom.config.views import PendingView
    from strongroom.crypto.age import SealTo
    from strongroom.services.configuration import ConfigurationService

_MOST_SUGGESTIONS = 200
_NAMES_BYTES = 8_000
"""Of names in one event: half of its longest line (docs/format/events.md)."""


@dataclass(frozen=True)
class Collected:
    """Settings as text, plain or sealed.

    Attributes:
        text: The bytes; secret, unless they are sealed.
        keys: How many parameters are in it.
        secrets: How many of those are secrets.
    """

    text: SecretBytes
    keys: int
    secrets: int


class ImportOptions(NamedTuple):
    """What of a text is imported.

    Attributes:
        configuration: Its keys and entities.
        topology: Its topology.
        force: Also ordinary keys that nobody knows.
    """

    configuration: bool = True
    topology: bool = True
    force: bool = False


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Attributes:
        verdicts: One for each key, entity and part.
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
    """The settings of one installation on their way out and in."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        event_log: EventLog,
        topology: Mapping[str, Sequence[str]],
    ) -> None:
        """Take the ports.

        Args:
            configuration: Whose settings.
            event_log: Takes the events.
            topology: The services of each node.
        """
        self._configuration = configuration
        self._events = event_log
        self._topology = transfer.topology_of(topology)

    def export(
        self, actor: str, target: str, to: "SealTo", *, with_secrets: bool = True
    ) -> Collected:
        """The text for a file, sealed if there is somebody to seal it to.

        Args:
            actor: Who exports.
            target: Where it goes, for the event.
            to: Whom it is sealed to.
            with_secrets: Whether secrets are in it.
        """
        from strongroom.crypto import age

        found = self.collect(actor, f"settings export to {target}", with_secrets=with_secrets)
        if not with_secrets:
            told = events.exported_without_secrets(actor, target=target, keys=found.keys)
        elif to.is_empty:
            told = events.exported_plaintext(actor, target=target, keys=found.keys)
        else:
            found = Collected(
                SecretBytes(age.seal(found.text.reveal(), to)), found.keys, found.secrets
            )
            recipients = " ".join(to.recipients)
            told = events.exported_sealed(
                actor, target=target, keys=found.keys, recipients=recipients
            )
        self._events.append([told])
        return found

    def collect(self, actor: str, reason: str, *, with_secrets: bool = True) -> Collected:
        """The text of the applied configuration; each secret in it has left an event.

        Args:
            actor: Who asks.
            reason: Why, for the events.
            with_secrets: Whether secrets are in it.

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
        self._events.append([events.secret_revealed(actor, name, reason=reason) for name in opened])
        return Collected(SecretBytes(text), len(names), len(opened))

    def import_(self, data: bytes, options: ImportOptions, *, actor: str, source: str) -> Imported:
        """Judge a text key by key and, unless one is refused, put what is new into the pending transaction.

        Args:
            data: The text.
            options: What of it.
            actor: Who imports.
            source: Where it came from, for the event.

        Raises:
            FormatError: It is no text of settings.
            UsageError: So much cannot be pending.
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
            return Decided(accepted, list(_told(actor, source, accepted)))

        pending = self._configuration.stage(decide, actor=actor)
        is_staged = any(one.value is not None for one in verdicts)
        refused = any(one.outcome is Outcome.REFUSED for one in verdicts)
        return Imported(tuple(verdicts), pending if is_staged and not refused else None, kept)

    # ---- inside ----------------------------------------------------------------------------------

    def _shown(self, document: ConfigDocument, name: str) -> str:
        text = document.values[name]
        return texts.as_text(name, self._open(name, text)) if secrets.is_secret(name) else text

    def _open(self, name: str, text: str) -> bytes:
        return enc.open_value(self._configuration.open_key(enc.key_id_of(text)), name, text)

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


def _told(actor: str, source: str, accepted: Mapping[str, object]) -> Iterator[Event]:
    """One event, or several if the names do not fit into one line."""
    names: list[str] = []
    room = _NAMES_BYTES
    for name in accepted:
        if len(name) >= room:
            yield events.imported(actor, source=source, names=names)
            names, room = [], _NAMES_BYTES
        names.append(name)
        room -= len(name) + 1
    if names:
        yield events.imported(actor, source=source, names=names)
