"""Rotation of secrets together with the components that use them (C-24, R6, R7; `tsm security secrets rotate`).

For each secret: store the intent with the new value, let the component admit that value, prove it by a login, make it
the configured one, withdraw the old value from the component, and prove by a login that it is refused (`steps`). A
secret whose rotation fails stays on its old or its new value, keeps its journal and is named in the result; the other
secrets go on. No value is ever shown, and the key hierarchy is not touched.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock
from strongroom.config import versions
from strongroom.consumers.base import Consumer
from strongroom.coordination.base import Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerError, NotFoundError, StateError, UsageError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import secret_events
from strongroom.ids import new_id
from strongroom.secrets import generate
from strongroom.services.secrets import scope
from strongroom.services.secrets.journals import RotationJournals, StoredJournal
from strongroom.services.secrets.scope import Outcome, Planned, Unit, Verified
from strongroom.services.secrets.steps import RotationSteps, encrypted

if TYPE_CHECKING:
    from strongroom.services.configuration.service import ConfigurationService

LOCK = "secret-rotation"
LOCK_WAIT_S = 10.0
Report = Callable[[str], None]


class RotationPorts(NamedTuple):
    """The ports through which a rotation works, beside the configuration."""

    coordinator: Coordinator
    event_log: EventLog
    clock: Clock


class SecretRotation:
    """Rotates secrets, and finishes interrupted rotations."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        consumers: Callable[[], Sequence[Consumer]],
        ports: RotationPorts,
    ) -> None:
        """Take the ports.

        Args:
            configuration: Holds the value in force of each secret.
            consumers: Builds the configured consumers; called at each use, since the configuration may change.
            ports: Coordination service, event log and clock.
        """
        self._configuration = configuration
        self._consumers = consumers
        self._coordinator, self._event_log, self._clock = ports
        self.journals = RotationJournals(configuration, self._coordinator, self._clock)
        self._steps = RotationSteps(configuration, self.journals, self._event_log)

    # ---- asking ----------------------------------------------------------------------------------

    def units(self, only: Sequence[str] = ()) -> tuple[Unit, ...]:
        """The parameters to rotate, grouped by consumer; asks no component.

        Args:
            only: `passwords`, `certs` or names of parameters; empty for every generated secret.

        Raises:
            UsageError: A name is that of a secret that cannot be rotated.
            NotFoundError: A name is neither in the catalogue nor one of those words.
        """
        consumers = self._consumers()
        owned = {name for one in consumers for name in one.describe().parameters}
        names = scope.names(only, owned)
        unused = (Unit(tuple(sorted(group))) for group in scope.grouped(names - owned))
        used = (Unit(one.describe().parameters, one) for one in consumers)
        return (*unused, *(unit for unit in used if names & set(unit.parameters)))

    def check(self, only: Sequence[str] = (), *, given: bool = False) -> tuple[Unit, ...]:
        """As `units`, after checking that they can be rotated now.

        Raises:
            UsageError: A secret cannot be rotated, or one value is given for several.
            NotFoundError: A name is neither in the catalogue nor one of those words.
            StateError: A change of one of them is pending.
        """
        units = self.units(only)
        scope.check_value(units, given=given)
        self._refuse_pending(units)
        return units

    def plan(self, only: Sequence[str] = ()) -> list[Planned]:
        """The plan of `rotate`; asks no component and changes nothing."""
        planned = []
        for unit in self.units(only):
            described = unit.described
            left = unit.consumer is not None and self._steps.left(unit.consumer) is not None
            planned.append(
                Planned(unit.parameters, described.id, described.where, described.overlaps, left)
            )
        return planned

    def verify(self, only: Sequence[str] = ()) -> list[Verified]:
        """Log in to the configured components with the configured values; changes nothing, and shows none.

        Args:
            only: `passwords`, `certs` or names of parameters; empty for every configured component.

        Raises:
            UsageError: No configured component uses one of the parameters that are named.
            NotFoundError: A name is neither in the catalogue nor one of those words.
        """
        consumers = self._consumers()
        owned = [name for one in consumers for name in one.describe().parameters]
        units = [unit for unit in self.units(only or owned) if unit.consumer is not None]
        groups = {scope.PASSWORDS, scope.CERTIFICATES}
        unused = [word for word in only if word not in owned and (word not in groups or not units)]
        if unused:
            raise UsageError(
                f"no configured component uses {', '.join(map(repr, unused))}",
                hint="docs/howto/consumers.md says how to configure one",
            )
        return [self._verified(unit.consumer) for unit in units if unit.consumer is not None]

    def _verified(self, consumer: Consumer) -> Verified:
        described = consumer.describe()
        problem, hint = "", ""
        try:
            consumer.login(self._steps.configured(consumer))
        except (ConsumerError, NotFoundError) as error:
            problem, hint = error.message, error.hint
        return Verified(described.parameters, described.id, described.where, problem, hint)

    def candidates(self, name: str) -> tuple[SecretBytes, ...]:
        """The values that a component may have for a parameter: journaled new and old, configured, and earlier ones.

        An earlier value counts because an administrator may have set another in the configuration and not in the
        component.
        """
        texts: list[str] = []
        found = self.journals.find((name,))
        if found is not None:
            texts += [part[name] for part in (found.journal.new, found.journal.old) if name in part]
        documents = [self._configuration.document(), versions.load_previous(self._coordinator)]
        texts += [one.values[name] for one in documents if one and name in one.values]
        texts += self.journals.kept().get(name, ())
        return tuple(self._steps.open_text(name, text) for text in dict.fromkeys(texts))

    def refuse_left_over(self, only: Sequence[str] = ()) -> None:
        """Refuse if an unfinished rotation of another consumer holds one of these parameters (§2.8).

        Raises:
            StateError: An unfinished rotation exists; `rotate` would leave its parameters alone.
        """
        for _, found in self._left_over(self.units(only)):
            outcome = scope.left_over(found.journal)
            raise StateError(outcome.problem, hint=outcome.hint)

    def forget_left_over(
        self, actor: str, only: Sequence[str] = (), *, given: bool = False
    ) -> None:
        """Give up unfinished rotations of consumers that are not configured any more, and the values in them (§2.8).

        Raises:
            UsageError: A secret cannot be rotated, or one value is given for several.
            StateError: A change of one of them is pending.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            for _, found in self._left_over(self.check(only, given=given)):
                journal = found.journal
                forgotten = [
                    secret_events.secret_rotation_failed(
                        actor,
                        name,
                        journal.consumer,
                        step="forgotten",
                        error="Forgotten",
                        attempt=journal.attempts,
                    )
                    for name in sorted(journal.new)
                ]
                self._event_log.append(forgotten)
                self.journals.finish(found)

    def outstanding(self, *, but: Sequence[Outcome] = ()) -> list[Outcome]:
        """The outcomes of unfinished rotations, without those of consumers that `but` names."""
        if not self.journals.all():
            return []
        named = {one.consumer for one in but}
        configured = self._consumers()
        consumers = [one for one in configured if one.describe().id not in named]
        found = [(one, self._steps.left(one)) for one in consumers]
        known = named | {one.describe().id for one in configured}
        others = [one.journal for one in self.journals.all() if one.journal.consumer not in known]
        return [
            *(scope.outcome_of(one, left.journal) for one, left in found if left),
            *map(scope.left_over, others),
        ]

    # ---- doing -----------------------------------------------------------------------------------

    def rotate(
        self,
        actor: str,
        only: Sequence[str] = (),
        *,
        run: str = "",
        value: SecretBytes | None = None,
        report: Report = lambda _: None,
    ) -> list[Outcome]:
        """Give secrets new values, in their components and in the configuration.

        An interrupted rotation is finished with the value in its journal, and counts as done. Parameters with an
        unfinished rotation of another consumer are left alone, and named in the result (§2.8).

        Args:
            actor: The person or process that asks, for the events.
            only: See `units`.
            run: Id of an interrupted run to continue; secrets that it rotated already are left out.
            value: The new value of exactly one parameter; None generates the values.
            report: Called with one sentence per consumer.

        Raises:
            UsageError: A secret cannot be rotated, or one value is given for several.
            StateError: A change of one of them is pending.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            asked = self._not_done(run, self.check(only, given=value is not None))
            left = self._left_over(asked)
            units = [unit for unit in asked if unit not in [one for one, _ in left]]
            run = run or new_id()
            self._keep_previous()
            unused = [name for unit in units if unit.consumer is None for name in unit.parameters]
            if unused:
                self._rotate_unused(actor, run, self._fresh(unused, value))
            outcomes = [scope.left_over(found.journal) for _, found in left]
            for unit in units:
                if unit.consumer is None:
                    outcomes.append(Outcome(unit.parameters, "", "rotated"))
                    continue
                report(f"rotating {', '.join(unit.parameters)}: {unit.described.where}")
                outcomes.append(self._rotate_used(actor, run, unit.consumer, value))
            return outcomes

    def resume(self, actor: str) -> list[Outcome]:
        """Finish interrupted rotations whose automatic try is due (format/rotation-journal.md §2.7)."""
        if not self.journals.all():
            return []
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            self._keep_previous()
            outcomes = []
            for consumer in self._consumers():
                found = self._steps.left(consumer)
                if found is not None and self.journals.is_due(found.journal):
                    outcomes.append(self._steps.finish(actor, consumer, found))
            return outcomes

    def _left_over(self, units: Sequence[Unit]) -> list[tuple[Unit, StoredJournal]]:
        return [
            (unit, found)
            for unit in units
            for found in self.journals.of_others(unit.parameters, unit.described.id)
        ]

    def _keep_previous(self) -> None:
        """Keep earlier values for every consumer, not only those that rotate: any promotion deletes the previous version."""
        consumers = self._consumers()
        self.journals.keep_previous(
            name for consumer in consumers for name in consumer.describe().parameters
        )

    def _rotate_used(
        self, actor: str, run: str, consumer: Consumer, value: SecretBytes | None
    ) -> Outcome:
        left = self._steps.left(consumer)
        if left is not None:
            outcome = self._steps.finish(actor, consumer, left)
            if value is None or outcome.state != "rotated":
                return outcome
        fresh = self._fresh(consumer.describe().parameters, value)
        return self._steps.rotate(actor, run, consumer, fresh)

    def _rotate_unused(self, actor: str, run: str, fresh: Mapping[str, SecretBytes]) -> None:
        """Set new values of secrets that no component uses, all in one put."""
        seal = self._configuration.seal_secret
        sealed = {name: seal(name, value.reveal()) for name, value in fresh.items()}
        self.journals.promote_unused(sealed, run)
        version = self._configuration.version
        rotated = [
            secret_events.secret_rotated(actor, name, "", step="promoted", version=version)
            for name in sealed
        ]
        self._event_log.append([*encrypted(actor, sealed), *rotated])
        self._configuration.project()

    def _fresh(self, names: Sequence[str], value: SecretBytes | None) -> dict[str, SecretBytes]:
        if value is not None:
            return dict.fromkeys(names, value)
        return generate.new_values(names, self._clock.now())

    def _not_done(self, run: str, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
        """The units that this run has not promoted yet, or has not finished."""
        if not run:
            return units
        records = self.journals.records()
        done = {name for name, record in records.items() if record.run == run}
        return tuple(
            unit
            for unit in units
            if not done.issuperset(unit.parameters) or self.journals.find(unit.parameters)
        )

    def _refuse_pending(self, units: Sequence[Unit]) -> None:
        pending = self._configuration.pending()
        changed = {change.key for change in pending.changes} if pending else set()
        for name in sorted(changed & {name for unit in units for name in unit.parameters}):
            raise StateError(
                f"a change of {name!r} is pending, and would overwrite the rotated value",
                hint="apply or discard it first: tsm pending-changes apply|discard",
            )
