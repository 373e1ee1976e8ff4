"""A fresh node, served by a thread of the test's process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.web.app import WebSettings
from tests.web_client import Served, serve


@pytest.fixture
def served(node_dir: Path) -> Iterator[Served]:
    with serve(node_dir) as running:
        yield running


@pytest.fixture
def impatient(node_dir: Path) -> Iterator[Served]:
    """A server that waits for bodies for half a second only."""
    with serve(node_dir, WebSettings(idle_s=0.5, upload_threads=2)) as running:
        yield running
