"""What a rotation is about: which parameters, in which groups, and what becomes of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from strongroom.config import catalog
from strongroom.config.rotation import RotationJournal, RotationStep
from strongroom.consumers.base import Consumer, ConsumerDescription
from strongroom.errors import UsageError
from strongroom.secrets import generate
from strongroom.secrets.catalog import SECRETS, SecretKind

PASSWORDS = "passwords"
CERTIFICATES = "certs"


@dataclass(frozen=True)
class Unit:
    """Parameters that rotate together, and who uses them; None: only the configuration holds them."""

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
    """What a run would do with some parameters.

    Attributes:
        parameters: Those that rotate together.
        consumer: Its id; empty if only the configuration holds them.
        where: The component.
        overlaps: Whether old and new are valid at once.
        interrupted: Whether an earlier rotation is to be finished.
    """

    parameters: tuple[str, ...]
    consumer: str
    where: str
    overlaps: bool
    interrupted: bool


@dataclass(frozen=True)
class Outcome:
    """What became of some parameters.

    Attributes:
        parameters: Those that rotate together.
        consumer: Its id; empty if only the configuration holds them.
        state: `rotated`; `kept`: the configuration says the old value; `unfinished`: it says the
            new one, and the old one is perhaps still valid.
        stage: Where it failed.
        problem: What happened.
        hint: What to do.
    """

    parameters: tuple[str, ...]
    consumer: str
    state: Literal["rotated", "kept", "unfinished"]
    stage: str = ""
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Verified:
    """Whether a component lets the configured values in.

    Attributes:
        parameters: Those that rotate together.
        consumer: Its id.
        where: The component.
        problem: What happened; empty if it let them in.
        hint: What to do.
    """

    parameters: tuple[str, ...]
    consumer: str
    where: str
    problem: str = ""
    hint: str = ""


def outcome_of(consumer: Consumer, journal: RotationJournal) -> Outcome:
    """How a rotation stands that is not finished."""
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
    """Parameters that are not rotated, since a consumer that is not configured any more may need this journal (§2.8)."""
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
    """The parameters that some words name.

    Args:
        only: `passwords`, `certs`, names of parameters; none is every generated secret.
        owned: Parameters that a configured consumer uses.

    Raises:
        UsageError: A secret that nobody can rotate.
        NotFoundError: Nobody knows the name.
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
    """Parameters as they rotate: each password alone, a chain of certificates as a whole."""
    chain = {name for name in found if SECRETS[name].kind is not SecretKind.PASSWORD}
    alone = [frozenset({name}) for name in sorted(set(found) - chain)]
    return [*([frozenset(chain)] if chain else []), *alone]


def check_value(units: Sequence[Unit], *, given: bool) -> None:
    """Whether new values can be had.

    Raises:
        UsageError: One value for several parameters, or none for one that an administrator gives.
    """
    parameters = [name for unit in units for name in unit.parameters]
    if given and len(parameters) != 1:
        raise UsageError("a value can be given to one parameter only", hint="name exactly one KEY")
    for name in parameters:
        if not given and name not in generate.generated_names():
            raise UsageError(
                f"{name!r} is given by an administrator", hint="give the new one by --value-file"
            )
