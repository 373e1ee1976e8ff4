"""A tree of its own for each test, in an ensemble that is whole again after it."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from tests.support.components.zookeeper_ensemble import Ensemble


@dataclass(frozen=True)
class Lab:
    """An ensemble, a tree in it, and a folder.

    Attributes:
        ensemble: The servers.
        root: The tree.
        folder: For the locks of the node.
    """

    ensemble: Ensemble
    root: str
    folder: Path

    def coordinator(self, **more: Any) -> AbstractContextManager[ZookeeperCoordinator]:
        """A coordinator over the tree, with other settings where they are given."""
        return self.ensemble.coordinator(self.root, self.folder, **more)

    @contextmanager
    def two(self) -> Iterator[tuple[ZookeeperCoordinator, ZookeeperCoordinator]]:
        """Two coordinators with sessions of their own: the second goes by no link, and so is never cut."""
        direct = ",".join(f"localhost:{one.port}" for one in self.ensemble.servers)
        with self.coordinator() as first, self.coordinator(hosts=direct) as second:
            yield first, second


@pytest.fixture
def lab(ensemble: Ensemble, tmp_path: Path) -> Iterator[Lab]:
    yield Lab(ensemble, f"/strongroom/{secrets.token_hex(8)}", tmp_path)
    ensemble.mend()
