"""The list of the kinds of consumers, a line for each, and the only place that names their modules (ADR 26)."""

import importlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.consumers.kinds import ConsumerKind


class Row(NamedTuple):
    """A kind of consumer.

    Attributes:
        kind: The name of the kind; never changes, since journals and events hold it.
        module: The module below `strongroom.consumers`; empty for the module of the kind's name.
    """

    kind: str
    module: str = ""


#: In the order in which they rotate.
ROWS: Final = (
    Row("certificates"),
    Row("postgresql", "postgres"),
    Row("redis"),
    Row("smtp"),
    Row("zookeeper"),
)


def kinds() -> "Iterator[ConsumerKind]":
    """Every kind; imports their modules, which are small."""
    for row in ROWS:
        module = importlib.import_module(f"strongroom.consumers.{row.module or row.kind}")
        found: ConsumerKind = module.CONSUMER
        yield found
