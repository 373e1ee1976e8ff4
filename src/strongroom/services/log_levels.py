"""Keeps the service logs of this process at the levels that the configuration names (`*.log.level`).

It follows the configuration's entry in the coordination service, so that a level that was applied
is in force within a second, in a running server and in its backgrounder alike, without a restart.
It never ends a process: a configuration that cannot be read leaves the levels as they are.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.config import catalog, versions
from strongroom.coordination.base import Coordinator
from strongroom.errors import StrongroomError
from strongroom.services.configuration import ConfigurationService
from strongroom.topology import service_logs

_log = logging.getLogger("strongroom.log_levels")


@contextmanager
def followed(
    coordinator: Coordinator, configuration: ConfigurationService, process: str
) -> Iterator[None]:
    """Set the levels now and at each change, until the end of the block.

    Args:
        coordinator: Tells of changes.
        configuration: Holds the levels.
        process: The service whose log takes what names no service.
    """
    levels = _Levels(configuration, process)
    # the watch first: a change between the two would be seen by neither
    stop = coordinator.watch(versions.CURRENT, lambda _: levels.refresh())
    try:
        levels.refresh()
        yield
    finally:
        stop()


class _Levels:
    def __init__(self, configuration: ConfigurationService, process: str) -> None:
        self._configuration = configuration
        self._process: Final = process
        self._lock = threading.Lock()

    def refresh(self) -> None:
        # read under the lock: who comes last has read last
        with self._lock:
            try:
                values = self._configuration.document().values
            except StrongroomError:
                _log.exception("the log levels cannot be read; the last ones stay")
                return
            for service in catalog.LOGGING_SERVICES:
                key = f"{service}.log.level"
                level = values.get(key) or catalog.default_of(key) or ""
                service_logs.set_level(service, level, of_process=service == self._process)
