"""How much each MEK protects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MekUse:
    """How much a MEK protects: the number of extracts (and upload parts), and their stored bytes.

    Attributes:
        extracts: Extracts and parts of uploads.
        bytes: Stored bytes of these, and of service keys and secrets.
        services: Versions of service keys and of secrets.
    """

    extracts: int
    bytes: int
    services: int = 0

    @property
    def is_needed(self) -> bool:
        """Whether something would be lost with the MEK."""
        return bool(self.extracts or self.services)


#: Use by MEK id, and the files that cannot be read.
UseCount = tuple[Mapping[str, MekUse], tuple[str, ...]]
CountUse = Callable[[], UseCount]
BeginCount = Callable[[], CountUse]
"""Begins a count, which may be repeated: from the second time on only what is new is read."""
