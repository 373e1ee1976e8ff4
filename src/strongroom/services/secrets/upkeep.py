"""Rotations of secrets that nobody asks for: those that were cut, and those that are due; a duty of the controller."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.eventlog.base import SYSTEM
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.services.secrets.inventory import SecretInventory
from strongroom.services.secrets.rotate import SecretRotation
from strongroom.services.secrets.scope import Outcome

_log = logging.getLogger("strongroom.web.upkeep")


@dataclass(frozen=True)
class RotationUpkeep:
    """The rotations of an installation.

    Attributes:
        configuration: Says whether secrets are rotated when they are due.
        inventory: Says which are due.
        rotation: Rotates them.
    """

    configuration: PresentConfiguration
    inventory: SecretInventory
    rotation: SecretRotation

    def finish(self) -> None:
        """Go on with rotations that were cut, as far as they are due (R7); their components may be slow."""
        _tell(self.rotation.resume(SYSTEM))

    def rotate_due(self) -> None:
        """Rotate the generated secrets whose policy wants it, if that is asked for (`secrets.rotate_when_due`)."""
        if self.configuration.effective("secrets.rotate_when_due") != "true":
            return
        due = [one.name for one in self.inventory.due() if one.origin == "generated"]
        if due:
            _log.info("due: %s", ", ".join(due))
            _tell(self.rotation.rotate(SYSTEM, due))


def _tell(outcomes: Sequence[Outcome]) -> None:
    for one in outcomes:
        if one.state == "rotated":
            _log.info("rotated %s", one.parameters[0])
        else:
            _log.warning(
                "the rotation of %s stopped at %s: %s", one.parameters[0], one.stage, one.problem
            )
