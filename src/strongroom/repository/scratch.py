"""A repository in a folder of its own that goes again: to try rows before they count."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom import durable
from strongroom.repository import engine
from strongroom.repository.unit_of_work import Repository


@contextmanager
def scratch_repository(folder: Path) -> Iterator[Repository]:
    """An empty repository in this folder, which is made for it and removed at the end.

    What a killed process left in a folder of this name is removed first.
    """
    _remove(folder)
    durable.make_folder(folder)
    repository = Repository(engine.sqlite_url(folder / "repository.db"))
    try:
        repository.ensure_schema()
        yield repository
    finally:
        repository.close()
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
