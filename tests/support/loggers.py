"""Logging of this process, put back as it was: a service's logs are set up for the whole process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.runtime.processes import SERVICES
from strongroom.runtime.service_logs import ServiceLogHandler


@contextmanager
def as_before() -> Iterator[None]:
    """Undo at the end of the block what was set up in it."""
    loggers = [logging.getLogger(name) for name in (*SERVICES, "strongroom", None)]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, propagate in before:
            for handler in [one for one in logger.handlers if isinstance(one, ServiceLogHandler)]:
                logger.removeHandler(handler)
                handler.close()
            logger.setLevel(level)
            logger.propagate = propagate
