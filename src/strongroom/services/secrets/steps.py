"""The state machine of one rotation: brings a new value into a component and withdraws the old one (R7).

Stages: `admit` the new value in the component beside the old one, `login` with it, `promote` it to the configured
value, `withdraw` the old value, prove by logins that the new one works and the old one is dead. Each stage may be
repeated. A process killed in any of them leaves a journal with both values, and the next run continues from there
(docs/format/rotation-journal.md §2.6).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from strongroom.config.rotation import RotationJournal
from strongroom.consumers.base import Consumer, Credential, UnprovenLoginError
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    IntegrityError,
    KeyNotFoundError,
    NotFoundError,
    StrongroomError,
)
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import secret_events
from strongroom.secrets import committed
from strongroom.services.secrets.journals import RotationJournals, StoredJournal, is_promoted
from strongroom.services.secrets.scope import Accepts, Outcome

if TYPE_CHECKING:
    from strongroom.services.configuration.service import ConfigurationService

Stage = Literal["intend", "admit", "login", "promote", "withdraw", "prove-new", "prove-dead"]
_ACCEPTS: Mapping[tuple[bool, bool], Accepts] = {
    (True, True): "both",
    (True, False): "new",
    (False, True): "old",
    (False, False): "neither",
}
"""By whether the component accepted the new value, and whether the old one."""
_OWN_FAILURES = (ConsumerError, NotFoundError, IntegrityError, KeyNotFoundError)
"""Errors that concern one secret only, so that the others go on; any other error (a full disk) ends the run."""


@dataclass
class _Rotation:
    """A rotation in progress: its journal, and the stage that it has reached."""

    actor: str
    consumer: Consumer
    found: StoredJournal | None = None
    stage: Stage = "intend"


class RotationSteps:
    """Rotates the parameters of one consumer, from the intent to the proof that the old value is refused."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        journals: RotationJournals,
        event_log: EventLog,
    ) -> None:
        self._configuration = configuration
        self._journals = journals
        self._event_log = event_log

    def left(self, consumer: Consumer) -> StoredJournal | None:
        """The interrupted rotation of this consumer; None if there is none, or it belongs to another consumer (§2.8)."""
        described = consumer.describe()
        found = self._journals.find(described.parameters)
        return found if found and found.journal.consumer == described.id else None

    def configured(self, consumer: Consumer) -> Credential:
        """The credential that this consumer should accept, by the configuration.

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
        """Rotate this consumer's parameters to fresh values, from the start."""
        work = _Rotation(actor, consumer)
        try:
            self._finish(work, self._begin(work, run, fresh))
        except _OWN_FAILURES as error:
            return self._failed(work, error)
        return _outcome(work)

    def finish(self, actor: str, consumer: Consumer, found: StoredJournal) -> Outcome:
        """Finish an interrupted rotation, with the value in its journal."""
        work = _Rotation(actor, consumer)
        try:
            self._finish(work, found)
        except _OWN_FAILURES as error:
            return self._failed(work, error)
        return _outcome(work)

    def _begin(self, work: _Rotation, run: str, fresh: Mapping[str, SecretBytes]) -> StoredJournal:
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
            document=self._configuration.document().version,
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
        self._event_log.append(encrypted(work.actor, journal.new))
        return found

    def _finish(self, work: _Rotation, found: StoredJournal) -> None:
        work.found = found
        new, old = self._credentials(found.journal)
        if not is_promoted(found):
            work.stage = "admit"
            work.consumer.admit(new, old)
            work.stage = "login"
            self._prove(work, new, old)
            work.stage = "promote"
            work.found = found = self._journals.promote(found)
        # Without failed attempts this is the first pass after the promotion, or a run died before its event: the event
        # may then be written twice, and is never missing.
        if not found.journal.attempts:
            self._log_step(work, "promoted")
            self._configuration.project()
        work.stage = "withdraw"
        work.consumer.withdraw(old, new)
        work.stage = "prove-new"
        work.consumer.login(new)
        work.stage = "prove-dead"
        self._prove_dead(work.consumer, old)
        self._log_step(work, "withdrawn")
        self._journals.finish(found)

    def _prove(self, work: _Rotation, new: Credential, old: Credential) -> None:
        """Log in with the admitted value; if that fails, make the component accept the configured value alone again (§2.10)."""
        consumer = work.consumer
        try:
            consumer.login(new)
        except ConsumerError:
            if consumer.describe().ends_old:
                # if taking back fails as well, no event claims it; `_look` then finds out which value the component
                # accepts
                with suppress(ConsumerError):
                    consumer.take_back(new, old)
                    self._log_step(work, "taken-back")
            raise

    def _look(self, work: _Rotation) -> Accepts:
        """The values that the component accepts now, found out by real logins (§2.11)."""
        if work.found is None or not work.consumer.describe().ends_old:
            # Nothing was begun; or another party runs the component, and each wrong login may count against our account
            # there.
            return ""
        try:
            credentials = self._credentials(work.found.journal)
        except _OWN_FAILURES:
            return "unknown"  # the sealed values do not open, so there is nothing to log in with
        accepted = []
        for credential in credentials:
            try:
                work.consumer.login(credential)
            except ConsumerRefusedError:
                accepted.append(False)
            except UnprovenLoginError as error:
                if error.is_let_in is None:
                    return "unknown"
                accepted.append(error.is_let_in)
            except _OWN_FAILURES:
                # the caller is about to report the first failure, which this one must not replace
                return "unknown"
            else:
                accepted.append(True)
        return _ACCEPTS[accepted[0], accepted[1]]

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

    def _failed(self, work: _Rotation, error: StrongroomError) -> Outcome:
        kind = type(error).__name__
        attempt = 1
        described = work.consumer.describe()
        accepts = self._look(work)
        refused = isinstance(error, ConsumerRefusedError) and work.stage == "login"
        if work.found is not None and refused and not described.ends_old:
            # An administrator gave a value that the component does not know, perhaps mistyped. No component has learnt
            # it, so the journal would be retried in vain (§2.9).
            self._journals.remove(work.found)
        elif work.found is not None:
            work.found = self._journals.failed(work.found, f"{kind} at {work.stage}")
            attempt = work.found.journal.attempts
        self._event_log.append(
            [
                secret_events.secret_rotation_failed(
                    work.actor,
                    name,
                    described.id,
                    step=work.stage,
                    error=kind,
                    attempt=attempt,
                )
                for name in described.parameters
            ]
        )
        return _outcome(work, error, accepts)

    def _log_step(self, work: _Rotation, step: str) -> None:
        described, version = work.consumer.describe(), self._configuration.version
        self._event_log.append(
            [
                secret_events.secret_rotated(
                    work.actor, name, described.id, step=step, version=version
                )
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
        """Open a sealed text by the configuration key that the text names."""
        return self._configuration.open_text(name, text)


def encrypted(actor: str, sealed: Mapping[str, str]) -> list[Event]:
    """The events of newly encrypted values, one for each (C-23)."""
    return [
        secret_events.secret_encrypted(actor, name, committed.key_id_of(text))
        for name, text in sealed.items()
    ]


def _outcome(
    work: _Rotation, error: StrongroomError | None = None, accepts: Accepts = ""
) -> Outcome:
    described, remarks = work.consumer.describe(), work.consumer.remarks()
    if error is None:
        return Outcome(described.parameters, described.id, "rotated", remarks=remarks)
    promoted = work.found is not None and is_promoted(work.found)
    return Outcome(
        described.parameters,
        described.id,
        "unfinished" if promoted else "kept",
        work.stage,
        error.message,
        error.hint,
        accepts,
        remarks,
    )
