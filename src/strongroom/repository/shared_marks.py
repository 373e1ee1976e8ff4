"""Reads and keeps marks of a repository in PostgreSQL, which several processes and nodes share; beside `marks_alone`."""

from collections.abc import Mapping
from contextlib import suppress

from strongroom.errors import StateError, StrongroomError
from strongroom.repository.marks_alone import IsWanted
from strongroom.repository.unit_of_work import Repository


class SharedMarks:
    """The marks of a repository that is reached by a server; implements `repository.marks_alone.Marks`."""

    def __init__(self, repository: Repository) -> None:
        """Keep the repository; nothing is opened yet."""
        self._repository = repository

    def find(self, names: tuple[str, ...]) -> Mapping[str, str] | None:
        """The texts of those marks that are there; none in a database without any table of ours, like a file that is gone."""
        with suppress(StrongroomError):
            try:
                with self._repository.reading() as tx:
                    return tx.marks.all(names)
            except StateError:
                if not self._repository.has_schema():
                    return {}
        return None

    def replace(self, name: str, value: str, is_wanted: IsWanted) -> bool:
        """Set a mark, durably, if that is wanted in the place of the one that is there."""
        # an outcome that nobody could find out is no error either: the next reader finds this text or the one before
        with suppress(StrongroomError):
            return self._repository.replace_mark(name, value, is_wanted)
        return False
