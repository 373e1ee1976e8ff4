"""Where a door of a serving node listens, by its settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.services.configuration.service import ConfigurationService


def place(configuration: "ConfigurationService", door: str) -> tuple[str, int | None]:
    """The address and the port by the settings; None if there is no such door.

    Args:
        configuration: The configuration.
        door: The name before `.host` and `.port`: `vault` or `control`.

    Raises:
        StateError: The configuration holds a value that its setting cannot have.
    """
    from strongroom.config import catalog

    host, port = (
        catalog.check_held(key, configuration.effective(key))
        for key in (f"{door}.host", f"{door}.port")
    )
    return host or "", None if port is None else int(port)
