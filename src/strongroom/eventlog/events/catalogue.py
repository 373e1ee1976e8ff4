"""All events that there are: for the reference, for help, and for tests that try every one."""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType

from strongroom.eventlog.base import Event
from strongroom.eventlog.events import (
    backup_events,
    directory_events,
    extract_events,
    job_events,
    key_events,
    log_events,
    node_events,
    secret_events,
    service_key_events,
)

SUBJECTS: tuple[ModuleType, ...] = (
    key_events,
    secret_events,
    extract_events,
    service_key_events,
    directory_events,
    job_events,
    node_events,
    log_events,
    backup_events,
)


def ids() -> frozenset[str]:
    """The id of each event, such as `KEY_GENERATED`."""
    return frozenset(
        name for module in SUBJECTS for name, value in vars(module).items() if name == value
    )


def factories() -> dict[str, Callable[..., Event | Sequence[Event]]]:
    """The function that makes each event, by its name, in the order of the subjects."""
    return {
        name: made
        for module in SUBJECTS
        for name, made in vars(module).items()
        if inspect.isfunction(made)
        and made.__module__ == module.__name__
        and not name.startswith("_")
    }
