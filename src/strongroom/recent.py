"""A bounded memory of what was found, that forgets what was not asked for in a long time."""

from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

Name = TypeVar("Name")
Found = TypeVar("Found")


class Recent(Generic[Name, Found]):
    """Things by their names, of which those are forgotten that were not asked for in a long time.

    Half of the things are young. When the young ones are as many as that, they become the old ones, and those that
    were old are forgotten; an old one that is asked for is young again. So a thing stays that is asked for again
    before half as many others as there may be, and a look costs hardly more than one at a dict. Threads may fill it
    together: what one of them keeps while another one makes the young ones old may be lost, and is found anew.

    Args:
        most: How many things there are at most.
    """

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self._young: dict[Name, Found] = {}
        self._old: dict[Name, Found] = {}

    def get(self, name: Name) -> Found | None:
        """The thing of a name; None if it is not known."""
        found = self._young.get(name)
        if found is None and (found := self._old.get(name)) is not None:
            self.keep(name, found)
        return found

    def keep(self, name: Name, found: Found) -> None:
        """Remember a thing under a name."""
        if len(self._young) >= self._half and name not in self._young:
            self._old, self._young = self._young, {}
        self._young[name] = found

    def names(self) -> AbstractSet[Name]:
        """The names of all things that are known."""
        return self._young.keys() | self._old.keys()
