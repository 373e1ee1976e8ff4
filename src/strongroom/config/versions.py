"""The entries of the configuration in the coordination service, and the transaction that changes them."""

from collections.abc import Mapping
from typing import NamedTuple

from strongroom.config.document import ConfigDocument
from strongroom.coordination import floors
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import ConflictError, StateError

CURRENT = "config"
PREVIOUS = "config/previous"
PENDING = "pending"
RESTART = "restart"
"""Key of the entry with the document's version that a running server should load by a restart (format/configuration.md §2.3)."""


class StoredDocument(NamedTuple):
    """The present document and the version of its entry, for compare-and-set."""

    document: ConfigDocument
    data: bytes
    entry_version: int


def load(coordinator: Coordinator) -> StoredDocument:
    """The present configuration.

    Raises:
        StateError: The node has no configuration, since it was not initialised.
        FormatError: The document is damaged.
    """
    entry = coordinator.get(CURRENT)
    if entry is None:
        raise missing()
    return StoredDocument(ConfigDocument.parse(entry.value), entry.value, entry.version)


def missing() -> StateError:
    """The error that there is no configuration."""
    return StateError(
        "this node has no configuration yet", hint="finish its set-up with 'strongroom init'"
    )


def load_previous(coordinator: Coordinator) -> ConfigDocument | None:
    """The previous version of the document; None if it is not kept any more.

    Raises:
        IntegrityError: Another document is kept than the one that the present one names (entries.md 3.1).
    """
    entry = coordinator.get(PREVIOUS)
    if entry is None:
        return None
    before = load(coordinator).document.before
    floors.check_predecessor(None if before is None else bytes.fromhex(before), entry.value)
    return ConfigDocument.parse(entry.value)


def create(coordinator: Coordinator, document: ConfigDocument) -> None:
    """Store the first version; storing the same again is no error, so that set-up can be resumed.

    Raises:
        ConflictError: The node has another configuration.
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
        ConflictError: Another process changed one of the entries first.
    """
    previous = coordinator.get(PREVIOUS)
    changes = {
        CURRENT: Change(document.after(present.data).serialize(), present.entry_version),
        PREVIOUS: Change(present.data, previous.version if previous else 0),
    }
    coordinator.put({**changes, **also})


def set_entry(coordinator: Coordinator, key: str, value: bytes | None) -> Change:
    """A change of an entry, expecting the version that it has now."""
    present = coordinator.get(key)
    return Change(value, present.version if present else 0)
