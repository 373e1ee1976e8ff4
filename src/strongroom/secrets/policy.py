"""The longest age of secrets: the rules `PATTERN=DAYS` of the setting `secrets.policy` (field P15); pure."""

import re
from typing import NamedTuple

_MAX_DAYS = 36_500
_MAX_RULES = 256
_DAYS = re.compile(r"[0-9]{1,6}")


class Rule(NamedTuple):
    """A rule for the age of secrets.

    Attributes:
        pattern: A parameter's name, in which `*` stands for any characters.
        days: The longest age of the value, in days.
    """

    pattern: str
    days: int


def parse(text: str) -> tuple[Rule, ...]:
    """Parse rules such as `redis.password=30 pgsql.*=90 *=365`; the first rule that matches a parameter holds.

    Raises:
        ValueError: The text has another form; the message says what it should be.
    """
    rules = tuple(_rule(word) for word in text.split())
    if len(rules) > _MAX_RULES:
        message = f"at most {_MAX_RULES} rules"
        raise ValueError(message)
    return rules


def check(text: str) -> str:
    """The text in its one spelling.

    Raises:
        ValueError: As `parse`.
    """
    return " ".join(f"{rule.pattern}={rule.days}" for rule in parse(text))


def max_age_days(rules: tuple[Rule, ...], name: str) -> int | None:
    """The longest age of a parameter's value, in days; None if no rule matches."""
    from fnmatch import fnmatchcase

    return next((rule.days for rule in rules if fnmatchcase(name, rule.pattern)), None)


def _rule(word: str) -> Rule:
    pattern, _, days = word.rpartition("=")
    named = pattern and not set(pattern) & set("[]?")
    if not named or not _DAYS.fullmatch(days) or not 0 < int(days) <= _MAX_DAYS:
        message = f"rules of the form PATTERN=DAYS, such as 'redis.password=30 *=365', not {word!r}"
        raise ValueError(message)
    return Rule(pattern, int(days))
