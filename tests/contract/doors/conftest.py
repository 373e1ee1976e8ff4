"""A fresh node, served by a thread of the test's process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.doors.http.feed import BodyLimits
from strongroom.doors.http.lanes import LaneLimits
from strongroom.doors.http.settings import WebSettings
from tests.support.web_client import Served, serve


@pytest.fixture
def served(node_dir: Path) -> Iterator[Served]:
    with serve(node_dir) as running:
        yield running


@pytest.fixture
def impatient(node_dir: Path) -> Iterator[Served]:
    """A server that waits for bodies for half a second only."""
    settings = WebSettings(
        small_body=BodyLimits(whole_s=0.5),
        upload_body=BodyLimits(idle_s=0.5, least_bytes=4096),
        uploads=LaneLimits(2, 2, 64, 32),
    )
    with serve(node_dir, settings) as running:
        yield running
