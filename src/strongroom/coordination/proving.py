"""The one place that loads entries of format 2 from the coordination service, and proves them (docs/format/entries.md 2.1)."""

from collections.abc import Mapping

from strongroom.coordination.base import Coordinator
from strongroom.coordination.entries import (
    EntryKeys,
    ProvedEntry,
    UnprovedEntry,
    check_one_key,
)


def unproved(coordinator: Coordinator, name: str) -> UnprovedEntry | None:
    """An entry for whoever has no key as yet; None if the entry does not exist.

    Raises:
        FormatError: The stored bytes are no entry of format 2.
        CoordinationError: The store cannot be read.
    """
    stored = coordinator.get(name)
    return None if stored is None else UnprovedEntry(name, stored)


class ProvingLoader:
    """Loads entries and gives out proved ones only."""

    def __init__(self, coordinator: Coordinator, keys: EntryKeys) -> None:
        """Take the store, and the keys that the configuration-key records name."""
        self._coordinator = coordinator
        self._keys = keys

    def load(self, name: str) -> ProvedEntry | None:
        """A proved entry; None if the entry does not exist, which only the anchor can prove to be right.

        Raises:
            FormatError: The stored bytes are no entry of format 2.
            IntegrityError: The entry is another one's, of another time, or was changed.
            CoordinationError: The store cannot be read.
        """
        found = unproved(self._coordinator, name)
        return None if found is None else found.prove(self._keys)

    def list(self, prefix: str) -> Mapping[str, ProvedEntry]:
        """The proved entries whose names begin with a prefix, as of one moment.

        Raises:
            FormatError: A stored value is no entry of format 2.
            IntegrityError: An entry is refused, or two are of different keys.
            CoordinationError: The store cannot be read.
        """
        stored = self._coordinator.list(prefix)
        found = {
            name: UnprovedEntry(name, value).prove(self._keys) for name, value in stored.items()
        }
        check_one_key(found.values())
        return found
