"""The way of one secret into its component: the state machine of a rotation (R7).

Every stage may be cut and made again; what is known in between stands in the journal
(docs/format/rotation-journal.md §2.6).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from strongroom.config.rotation import RotationJournal
from strongroom.consumers.base import Consumer, Credential
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    IntegrityError,
    KeyNotFoundError,
    NotFoundError,
    StrongroomError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.secrets import enc
from strongroom.services.rotation_journal import Found, RotationJournals, is_promoted
from strongroom.services.rotation_scope import Outcome

if TYPE_CHECKING:
    from strongroom.services.configuration import ConfigurationService

Stage = Literal["intend", "admit", "login", "promote", "withdraw", "prove-new", "prove-dead"]
_OWN_FAILURES = (ConsumerError, NotFoundError, IntegrityError, KeyNotFoundError)
"""What concerns one secret only; anything else (a full disk, a lost race) ends the run."""


@dataclass
class _Work:
    """One rotation on its way, and how far it came."""

    actor: str
    consumer: Consumer
    found: Found | None = None
    stage: Stage = "intend"


class RotationSteps:
    """Takes the parameters of one consumer from intent to the old value's death."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        journals: RotationJournals,
        log: EventLog,
    ) -> None:
        self._configuration = configuration
        self._journals = journals
        self._log = log

    def left(self, consumer: Consumer) -> Found | None:
        """The rotation of this consumer that was cut; one of another consumer does not count (§2.8)."""
        described = consumer.describe()
        found = self._journals.find(described.parameters)
        return found if found and found.journal.consumer == described.id else None

    def configured(self, consumer: Consumer) -> Credential:
        """What the configuration says that this consumer accepts.

        Raises:
            NotFoundError: A parameter is not set.
        """
        described = consumer.describe()
        values = self._configuration.document().values
        opened = {name: self._configuration.open_secret(name) for name in described.parameters}
        logins = {name: values[name] for name in described.alternates if name in values}
        return Credential(opened, logins)

    def rotate(
        self, actor: str, run: str, consumer: Consumer, fresh: Mapping[str, SecretBytes]
    ) -> Outcome:
        """A new value for this consumer, from the start."""
        work = _Work(actor, consumer)
        try:
            self._finish(work, self._begin(work, run, fresh))
        except _OWN_FAILURES as error:
            return self._failed(work, error)
        return _outcome(work)

    def finish(self, actor: str, consumer: Consumer, found: Found) -> Outcome:
        """Go on where a rotation was cut, with the value that it had chosen."""
        work = _Work(actor, consumer)
        try:
            self._finish(work, found)
        except _OWN_FAILURES as error:
            return self._failed(work, error)
        return _outcome(work)

    def _begin(self, work: _Work, run: str, fresh: Mapping[str, SecretBytes]) -> Found:
        described = work.consumer.describe()
        document = self._configuration.document()
        old = {name: document.values.get(name) for name in described.parameters}
        missing = sorted(name for name, text in old.items() if text is None)
        if missing and described.ends_old:
            raise NotFoundError(
                f"the secret {missing[0]!r} is not set, so {described.id} cannot be reached",
                hint="set the value that the component has now, and apply it",
            )
        turns = {name: document.values.get(name, "") for name in described.alternates}
        journal = RotationJournal(
            consumer=described.id,
            run=run,
            new={
                name: self._configuration.seal_secret(name, fresh[name].reveal())
                for name in described.parameters
            },
            old={} if missing else {name: text for name, text in old.items() if text},
            new_logins={
                name: next(one for one in pair if one != turns[name])
                for name, pair in described.alternates.items()
            },
            old_logins={name: text for name, text in turns.items() if text},
        )
        found = self._journals.begin(journal)
        self._log.append(encrypted(work.actor, journal.new))
        return found

    def _finish(self, work: _Work, found: Found) -> None:
        work.found = found
        new, old = self._credentials(found.journal)
        if not is_promoted(found):
            work.stage = "admit"
            work.consumer.admit(new, old)
            work.stage = "login"
            work.consumer.login(new)
            work.stage = "promote"
            work.found = found = self._journals.promote(found)
        if not found.journal.attempts:  # again if it was killed before it was told
            self._tell(work, "promoted")
            self._configuration.project()
        work.stage = "withdraw"
        work.consumer.withdraw(old, new)
        work.stage = "prove-new"
        work.consumer.login(new)
        work.stage = "prove-dead"
        self._prove_dead(work.consumer, old)
        self._tell(work, "withdrawn")
        self._journals.finish(found)

    @staticmethod
    def _prove_dead(consumer: Consumer, old: Credential) -> None:
        described = consumer.describe()
        if not described.ends_old:
            return
        try:
            consumer.login(old)
        except ConsumerRefusedError:
            return
        raise ConsumerError(
            f"{described.where} still accepts the old value",
            hint="see who may log in there without a password, and rotate again",
        )

    def _failed(self, work: _Work, error: StrongroomError) -> Outcome:
        kind = type(error).__name__
        attempt = 1
        described = work.consumer.describe()
        refused = isinstance(error, ConsumerRefusedError) and work.stage == "login"
        if work.found is not None and refused and not described.ends_old:
            # given by an administrator, mistyped, and learnt by nobody (§2.9)
            self._journals.remove(work.found)
        elif work.found is not None:
            work.found = self._journals.failed(work.found, f"{kind} at {work.stage}")
            attempt = work.found.journal.attempts
        self._log.append(
            [
                events.secret_rotation_failed(
                    work.actor, name, described.id, step=work.stage, error=kind, attempt=attempt
                )
                for name in described.parameters
            ]
        )
        return _outcome(work, error)

    def _tell(self, work: _Work, step: str) -> None:
        described = work.consumer.describe()
        self._log.append(
            [
                events.secret_rotated(work.actor, name, described.id, step=step)
                for name in described.parameters
            ]
        )

    def _credentials(self, journal: RotationJournal) -> tuple[Credential, Credential]:
        return (
            Credential(self._opened(journal.new), journal.new_logins),
            Credential(self._opened(journal.old), journal.old_logins),
        )

    def _opened(self, texts: Mapping[str, str]) -> dict[str, SecretBytes]:
        return {name: self.open_text(name, text) for name, text in texts.items()}

    def open_text(self, name: str, text: str) -> SecretBytes:
        """The value of a sealed text, under whichever configuration key it names."""
        key = self._configuration.open_key(enc.key_id_of(text))
        return SecretBytes(enc.open_value(key, name, text))


def encrypted(actor: str, sealed: Mapping[str, str]) -> list[Event]:
    """One event for each new sealed value (C-23)."""
    return [
        events.secret_encrypted(actor, name, enc.key_id_of(text)) for name, text in sealed.items()
    ]


def _outcome(work: _Work, error: StrongroomError | None = None) -> Outcome:
    described = work.consumer.describe()
    if error is None:
        return Outcome(described.parameters, described.id, "rotated")
    promoted = work.found is not None and is_promoted(work.found)
    state: Literal["kept", "unfinished"] = "unfinished" if promoted else "kept"
    parameters, told = described.parameters, (error.message, error.hint)
    return Outcome(parameters, described.id, state, work.stage, *told)
