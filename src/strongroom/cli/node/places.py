"""Where a door of a serving node listens, by its settings."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from strongroom.services.configuration.present import PresentConfiguration


VAULT: Final = ("vault.host", "vault.port")
CONTROL: Final = ("control.host", "control.port")


def place(
    configuration: "PresentConfiguration", settings: tuple[str, str]
) -> tuple[str, int | None]:
    """The address and the port by the settings; None if there is no such door.

    Args:
        configuration: The configuration.
        settings: The settings of the address and of the port.

    Raises:
        StateError: The configuration holds a value that its setting cannot have.
    """
    from strongroom.config import catalog

    host, port = (catalog.check_held(key, configuration.effective(key)) for key in settings)
    return host or "", None if port is None else int(port)
