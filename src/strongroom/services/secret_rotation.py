"""Rotation of secrets into the components that use them (C-24, R6, R7; `tsm security secrets rotate`).

For each: intent, admitted, proved by a login, promoted with its journal, old one withdrawn, proved
dead. What fails stays on one of its two values, keeps its journal and is named; the others go on.
It never shows a value, and never changes the key hierarchy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock
from strongroom.config import versions
from strongroom.consumers.base import Consumer
from strongroom.coordination.base import Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerError, NotFoundError, StateError, UsageError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.ids import new_id
from strongroom.secrets import generate
from strongroom.services import rotation_scope
from strongroom.services.rotation_journal import Found, RotationJournals
from strongroom.services.rotation_scope import Outcome, Planned, Unit, Verified
from strongroom.services.rotation_steps import RotationSteps, encrypted

if TYPE_CHECKING:
    from strongroom.services.configuration import ConfigurationService

LOCK = "secret-rotation"
LOCK_WAIT_S = 10.0
Say = Callable[[str], None]


class RotationPorts(NamedTuple):
    """What a rotation works through beside the configuration."""

    coordinator: Coordinator
    log: EventLog
    clock: Clock


class SecretRotation:
    """Rotates secrets, and finishes rotations that were cut."""

    def __init__(
        self,
        configuration: "ConfigurationService",
        consumers: Callable[[], Sequence[Consumer]],
        ports: RotationPorts,
    ) -> None:
        """Take the ports.

        Args:
            configuration: Says what counts.
            consumers: Builds the configured consumers, afresh for each run.
            ports: The rest.
        """
        self._configuration = configuration
        self._consumers = consumers
        self._coordinator, self._log, self._clock = ports
        self.journals = RotationJournals(configuration, self._coordinator, self._clock)
        self._steps = RotationSteps(configuration, self.journals, self._log)

    # ---- asking ----------------------------------------------------------------------------------

    def units(self, only: Sequence[str] = ()) -> tuple[Unit, ...]:
        """What rotates, grouped by consumer; asks no component.

        Args:
            only: `passwords`, `certs` or names of parameters; none is every generated secret.

        Raises:
            UsageError: A secret that cannot be rotated.
            NotFoundError: Nobody knows a name.
        """
        consumers = self._consumers()
        owned = {name for one in consumers for name in one.describe().parameters}
        names = rotation_scope.names(only, owned)
        unused = (Unit(tuple(sorted(group))) for group in rotation_scope.grouped(names - owned))
        used = (Unit(one.describe().parameters, one) for one in consumers)
        return (*unused, *(unit for unit in used if names & set(unit.parameters)))

    def check(self, only: Sequence[str] = (), *, given: bool = False) -> tuple[Unit, ...]:
        """As `units`, if nothing stands in the way of their rotation.

        Raises:
            UsageError: A secret that cannot be rotated, or a value for more than one.
            NotFoundError: Nobody knows a name.
            StateError: A change of one of them is pending.
        """
        units = self.units(only)
        rotation_scope.check_value(units, given=given)
        self._refuse_pending(units)
        return units

    def plan(self, only: Sequence[str] = ()) -> list[Planned]:
        """What `rotate` would do; asks no component and changes nothing."""
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
            only: `passwords`, `certs` or names of parameters; none is every configured component.

        Raises:
            UsageError: No configured component uses one of the parameters that are named.
            NotFoundError: Nobody knows a name.
        """
        consumers = self._consumers()
        owned = [name for one in consumers for name in one.describe().parameters]
        units = [unit for unit in self.units(only or owned) if unit.consumer is not None]
        groups = {rotation_scope.PASSWORDS, rotation_scope.CERTIFICATES}
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
        """The values that a parameter may have in its component: journaled new and old, configured, and those before.

        Those before count if somebody set another by hand, of which the component did not hear.
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
        """See that no unfinished rotation of another consumer is in the way (§2.8).

        Raises:
            StateError: One is; `rotate` would leave its parameters alone.
        """
        for _, found in self._left_over(self.units(only)):
            told = rotation_scope.left_over(found.journal)
            raise StateError(told.problem, hint=told.hint)

    def forget_left_over(
        self, actor: str, only: Sequence[str] = (), *, given: bool = False
    ) -> None:
        """Give up unfinished rotations of consumers that are not configured, with the values that they hold (§2.8).

        Raises:
            UsageError: A secret that cannot be rotated, or a value for more than one.
            StateError: A change of one of them is pending.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            for _, found in self._left_over(self.check(only, given=given)):
                journal = found.journal
                told = [
                    events.secret_rotation_failed(
                        actor,
                        name,
                        journal.consumer,
                        step="forgotten",
                        error="Forgotten",
                        attempt=journal.attempts,
                    )
                    for name in sorted(journal.new)
                ]
                self._log.append(told)
                self.journals.finish(found)

    def outstanding(self, *, but: Sequence[Outcome] = ()) -> list[Outcome]:
        """What was begun and is not finished; but of consumers that are named already."""
        if not self.journals.all():
            return []
        named = {one.consumer for one in but}
        configured = self._consumers()
        consumers = [one for one in configured if one.describe().id not in named]
        found = [(one, self._steps.left(one)) for one in consumers]
        known = named | {one.describe().id for one in configured}
        others = [one.journal for one in self.journals.all() if one.journal.consumer not in known]
        return [
            *(rotation_scope.outcome_of(one, left.journal) for one, left in found if left),
            *map(rotation_scope.left_over, others),
        ]

    # ---- doing -----------------------------------------------------------------------------------

    def rotate(
        self,
        actor: str,
        only: Sequence[str] = (),
        *,
        run: str = "",
        value: SecretBytes | None = None,
        say: Say = lambda _: None,
    ) -> list[Outcome]:
        """Give secrets new values, in their components and in the configuration.

        A rotation that was cut is finished with the value that it had chosen, and counts as done.
        Parameters with an unfinished rotation of another consumer are left alone, and named (§2.8).

        Args:
            actor: Who asks.
            only: See `units`.
            run: The run that this continues: what it did already is not done again.
            value: The new value, of exactly one parameter; else it is generated.
            say: Takes one sentence per consumer.

        Raises:
            UsageError: A secret that cannot be rotated, or a value for more than one.
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
            outcomes = [rotation_scope.left_over(found.journal) for _, found in left]
            for unit in units:
                if unit.consumer is None:
                    outcomes.append(Outcome(unit.parameters, "", "rotated"))
                    continue
                say(f"rotating {', '.join(unit.parameters)}: {unit.described.where}")
                outcomes.append(self._rotate_used(actor, run, unit.consumer, value))
            return outcomes

    def resume(self, actor: str) -> list[Outcome]:
        """Finish what was cut, as far as it is due (format/rotation-journal.md §2.7); asked by nobody."""
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

    def _left_over(self, units: Sequence[Unit]) -> list[tuple[Unit, Found]]:
        return [
            (unit, found)
            for unit in units
            for found in self.journals.of_others(unit.parameters, unit.described.id)
        ]

    def _keep_previous(self) -> None:
        """Of every consumer, not only of those that rotate: any promotion ends the version before."""
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
        """Secrets that only the configuration holds: all together, in one put."""
        seal = self._configuration.seal_secret
        sealed = {name: seal(name, value.reveal()) for name, value in fresh.items()}
        self.journals.promote_unused(sealed, run)
        told = [events.secret_rotated(actor, name, "", step="promoted") for name in sealed]
        self._log.append([*encrypted(actor, sealed), *told])
        self._configuration.project()

    def _fresh(self, names: Sequence[str], value: SecretBytes | None) -> dict[str, SecretBytes]:
        if value is not None:
            return dict.fromkeys(names, value)
        return generate.new_values(names, self._clock.now())

    def _not_done(self, run: str, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
        """Those that this run has not promoted yet, or has not finished."""
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
