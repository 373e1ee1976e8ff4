"""A throw-away repository in a temporary folder, in which a restore tries rows before it commits them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.repository import engine
from strongroom.repository.unit_of_work import Repository
from strongroom.system import durable


@contextmanager
def scratch_repository(folder: Path) -> Iterator[Repository]:
    """An empty repository in this folder, which is created, and removed at the end of the block.

    A folder that a killed process left under this name is removed first.
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
