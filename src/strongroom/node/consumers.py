"""Builds the consumers that are configured; a part of bootstrap, imported when a rotation needs them.

A component is configured by ordinary keys (`redis.host`, `pgsql.host` …). None set is the embedded
default: no consumer, and its parameters still rotate in the configuration.
"""

from typing import TYPE_CHECKING

from strongroom.config import catalog
from strongroom.consumers import registry
from strongroom.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.consumers.base import Candidates, Consumer
    from strongroom.consumers.kinds import Effective


def configured(effective: "Effective", candidates: "Candidates") -> "tuple[Consumer, ...]":
    """Every configured consumer, in the order in which they rotate: an administrator after those that it changes.

    Args:
        effective: Reads the configuration.
        candidates: The values that a secret may have in its component now.

    Raises:
        StateError: Two of them claim one parameter, or a setting holds a value that it cannot have.
    """

    def checked(key: str) -> str | None:
        return catalog.check_held(key, effective(key))

    found = tuple(one for kind in registry.kinds() for one in kind.build(checked, candidates))
    check_owners(found)
    return found


def check_owners(found: "Sequence[Consumer]") -> None:
    """Refuse consumers of which one would undo what another did.

    Raises:
        StateError: Two of them claim one parameter.
    """
    owners: dict[str, str] = {}
    for one in (consumer.describe() for consumer in found):
        for parameter in one.parameters:
            if parameter in owners:
                raise StateError(f"{one.id} and {owners[parameter]} both rotate {parameter!r}")
            owners[parameter] = one.id
