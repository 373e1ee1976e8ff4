"""The scope of a rotation: which parameters rotate, in which groups, and the outcome for each group; pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from strongroom.config import catalog
from strongroom.config.rotation import RotationJournal, RotationStep
from strongroom.consumers.base import Consumer, ConsumerDescription
from strongroom.errors import UsageError
from strongroom.secrets import generate
from strongroom.secrets.catalog import SECRETS, SecretKind

Accepts = Literal["", "old", "new", "both", "neither", "unknown"]
PASSWORDS = "passwords"
CERTIFICATES = "certs"


@dataclass(frozen=True)
class Unit:
    """Parameters that rotate together, and the component that uses them; None if no component does."""

    parameters: tuple[str, ...]
    consumer: Consumer | None = None

    @property
    def described(self) -> ConsumerDescription:
        """The consumer, or the embedded default."""
        if self.consumer is None:
            return ConsumerDescription("", "", self.parameters, "")
        return self.consumer.describe()


@dataclass(frozen=True)
class Planned:
    """The plan of a run for one unit.

    Attributes:
        parameters: The parameters of the unit.
        consumer: Id of the consumer; empty if no component uses the parameters.
        where: The component, in words.
        overlaps: Whether the component accepts old and new value at the same time.
        interrupted: Whether the run would finish an interrupted rotation.
    """

    parameters: tuple[str, ...]
    consumer: str
    where: str
    overlaps: bool
    interrupted: bool


@dataclass(frozen=True)
class Outcome:
    """The outcome of a rotation for one unit.

    Attributes:
        parameters: The parameters of the unit.
        consumer: Id of the consumer; empty if no component uses the parameters.
        state: `rotated`; `kept`: the configuration has the old value; `unfinished`: the configuration has the new
            value, and the component may still accept the old one.
        stage: The step at which the rotation failed.
        problem: A sentence on the failure.
        hint: A sentence on what to do.
        accepts: The value that the component accepts after a failure, found out by logging in with both; `unknown` if
            the component could not be asked, empty if it was not asked.
        remarks: Sentences on work that is left to the operator.
    """

    parameters: tuple[str, ...]
    consumer: str
    state: Literal["rotated", "kept", "unfinished"]
    stage: str = ""
    problem: str = ""
    hint: str = ""
    accepts: Accepts = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """The result of logging in to a component with the configured values.

    Attributes:
        parameters: The parameters of the unit.
        consumer: Id of the consumer.
        where: The component, in words.
        problem: A sentence on the failure; empty if the login succeeded.
        hint: A sentence on what to do.
    """

    parameters: tuple[str, ...]
    consumer: str
    where: str
    problem: str = ""
    hint: str = ""


def outcome_of(consumer: Consumer, journal: RotationJournal) -> Outcome:
    """The outcome of a rotation that is not finished, from its journal."""
    described = consumer.describe()
    kind, _, stage = journal.problem.partition(" at ")
    return Outcome(
        described.parameters,
        described.id,
        "unfinished" if journal.step is RotationStep.PROMOTED else "kept",
        stage,
        f"the last try ended with {kind}" if kind else "it was interrupted",
        f"try again with 'tsm security secrets rotate {described.parameters[0]}'",
    )


def left_over(journal: RotationJournal) -> Outcome:
    """The outcome for parameters that are left alone, since their journal belongs to a former consumer.

    That journal may hold the only value that the former component accepts (§2.8).
    """
    parameters = tuple(sorted(journal.new))
    return Outcome(
        parameters,
        journal.consumer,
        "unfinished" if journal.step is RotationStep.PROMOTED else "kept",
        problem=f"an unfinished rotation of {parameters[0]!r} belongs to {journal.consumer!r},"
        " which is not configured any more, and may hold its only valid value",
        hint="configure that one again and rotate, or give the value up:"
        f" tsm security secrets rotate {parameters[0]} --forget-unfinished",
    )


def names(only: Sequence[str], owned: Collection[str]) -> frozenset[str]:
    """The parameters that the words of a command name.

    Args:
        only: `passwords`, `certs` or names of parameters; empty for every generated secret.
        owned: Parameters that a configured consumer uses.

    Raises:
        UsageError: A secret is neither generated nor used by a configured component, so it cannot be rotated.
        NotFoundError: A name is neither in the catalogue nor one of those words.
    """
    generated = generate.generated_names()
    if not only:
        return generated
    passwords = {name for name in generated if SECRETS[name].kind is SecretKind.PASSWORD}
    groups = {PASSWORDS: passwords, CERTIFICATES: generated - passwords}
    found: set[str] = set()
    for word in only:
        if word in groups:
            found |= groups[word]
        elif word in generated or word in owned:
            found |= next((group for group in grouped(generated) if word in group), {word})
        elif catalog.is_known(word):
            raise UsageError(
                f"{word!r} is not made here, and no configured component learns it",
                hint=f"give it with 'tsm configuration set -k {word}'",
            )
        else:
            raise catalog.unknown_key(word)
    return frozenset(found)


def grouped(found: Iterable[str]) -> list[frozenset[str]]:
    """Parameters in groups that rotate together: each password alone, the certificates of a chain as a whole."""
    chain = {name for name in found if SECRETS[name].kind is not SecretKind.PASSWORD}
    alone = [frozenset({name}) for name in sorted(set(found) - chain)]
    return [*([frozenset(chain)] if chain else []), *alone]


def check_value(units: Sequence[Unit], *, given: bool) -> None:
    """Refuse if the new values can be neither generated nor taken from the operator.

    Raises:
        UsageError: A value is given for several parameters, or missing for a secret that cannot be generated.
    """
    parameters = [name for unit in units for name in unit.parameters]
    if given and len(parameters) != 1:
        raise UsageError("a value can be given to one parameter only", hint="name exactly one KEY")
    for name in parameters:
        if not given and name not in generate.generated_names():
            raise UsageError(
                f"{name!r} is given by an administrator", hint="give the new one by --value-file"
            )
