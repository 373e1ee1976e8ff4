"""Keeps the service logs of this process at the levels that the configuration names (`*.log.level`).

The levels follow the configuration's entry in the coordination service: an applied level is in force within a second,
in a running server and in its backgrounder alike, without a restart. A configuration that cannot be read leaves the
levels as they are, and never ends the process.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.config import catalog
from strongroom.errors import StrongroomError
from strongroom.runtime import service_logs
from strongroom.services.configuration.present import PresentConfiguration

_log = logging.getLogger("strongroom.log_levels")


@contextmanager
def followed(configuration: PresentConfiguration, process: str) -> Iterator[None]:
    """Set the levels now and at each change, until the end of the block.

    Args:
        configuration: Holds the levels, and calls back at each change.
        process: The service of this process; its level holds for messages that name no service.
    """
    levels = _Levels(configuration, process)
    # the watch starts before the first reading: a change between the two would otherwise be missed
    stop = configuration.on_change(levels.refresh)
    try:
        levels.refresh()
        yield
    finally:
        stop()


class _Levels:
    def __init__(self, configuration: PresentConfiguration, process: str) -> None:
        self._configuration = configuration
        self._process: Final = process
        self._lock = threading.Lock()

    def refresh(self) -> None:
        # The document is read under the lock: of two threads the one that sets the levels last has also read last, so
        # an older level never overwrites a newer one.
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
