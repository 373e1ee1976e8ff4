"""Where the configuration stands in the coordination service, and what one change consists of."""

from collections.abc import Mapping
from typing import NamedTuple

from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import ConflictError, StateError

CURRENT = "config"
PREVIOUS = "config/previous"
PENDING = "pending"
RESTART = "restart"
"""Version of the document that asks a running server to reload (format/configuration.md §2.3)."""


class StoredDocument(NamedTuple):
    """The present document and the version of its entry, for compare-and-set."""

    document: ConfigDocument
    data: bytes
    entry_version: int


def load(coordinator: Coordinator) -> StoredDocument:
    """The present configuration.

    Raises:
        StateError: There is none: the node was not initialised.
        FormatError: It is damaged.
    """
    entry = coordinator.get(CURRENT)
    if entry is None:
        raise StateError(
            "this node has no configuration yet", hint="finish its set-up with 'strongroom init'"
        )
    return StoredDocument(ConfigDocument.parse(entry.value), entry.value, entry.version)


def load_previous(coordinator: Coordinator) -> ConfigDocument | None:
    """The version before the present one, if it is kept."""
    entry = coordinator.get(PREVIOUS)
    return ConfigDocument.parse(entry.value) if entry else None


def create(coordinator: Coordinator, document: ConfigDocument) -> None:
    """Store the first version; storing the same again is no error, so that set-up can be resumed.

    Raises:
        ConflictError: There is another configuration.
    """
    data = document.serialize()
    try:
        coordinator.put({CURRENT: Change(data, 0)})
    except ConflictError:
        present = coordinator.get(CURRENT)
        if present is None or present.value != data:
            raise


def advance(
    coordinator: Coordinator,
    present: StoredDocument,
    document: ConfigDocument,
    also: Mapping[str, Change],
) -> None:
    """Make a document the present one, keep its predecessor and apply the rest, all or nothing.

    Raises:
        ConflictError: Somebody else changed one of the entries first.
    """
    previous = coordinator.get(PREVIOUS)
    changes = {
        CURRENT: Change(document.serialize(), present.entry_version),
        PREVIOUS: Change(present.data, previous.version if previous else 0),
    }
    coordinator.put({**changes, **also})


def set_entry(coordinator: Coordinator, key: str, value: bytes | None) -> Change:
    """A change of one entry from whatever version it has now."""
    present = coordinator.get(key)
    return Change(value, present.version if present else 0)
