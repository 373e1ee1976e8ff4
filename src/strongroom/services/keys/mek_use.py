"""How much each MEK protects, as it is counted before one is retired."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MekUse:
    """How much a MEK protects: the number of extracts (and upload parts), and their stored bytes."""

    extracts: int
    bytes: int


#: Use by MEK id, and the files that cannot be read.
UseCount = tuple[Mapping[str, MekUse], tuple[str, ...]]
CountUse = Callable[[], UseCount]
