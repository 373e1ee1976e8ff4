"""The version that a node was told of: it costs no request, and is no older than was asked (E14, ADR 36)."""

import time
from pathlib import Path

from strongroom.coordination.base import Change
from tests.contract.test_coordinator import Opener, opened, opener

__all__ = ["opener"]


def test_a_recent_version_follows(opener: Opener, tmp_path: Path) -> None:
    """E14: a node asks with every data key."""
    with opened(opener, tmp_path) as reader, opened(opener, tmp_path) as writer:
        assert reader.recent_version("config", 60) == 0
        changes = [*(Change(b"x", version) for version in range(3)), Change(None, 3)]
        for change, expected in zip(changes, (1, 2, 3, 0), strict=True):
            writer.put({"config": change})
            deadline = time.monotonic() + 60
            while reader.recent_version("config", 60) != expected:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_recent_version_is_no_older_than_was_asked(opener: Opener, tmp_path: Path) -> None:
    with opened(opener, tmp_path) as reader, opened(opener, tmp_path) as writer:
        for version in range(20):
            writer.put({"config": Change(b"x", version)})
            assert reader.recent_version("config", 0) == version + 1
