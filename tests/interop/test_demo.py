"""`make demo` keeps its promises, says so, and leaves nothing behind (issue: "Must show" 1)."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import BIN, ROOT

pytestmark = [pytest.mark.interop, pytest.mark.slow]


def test_the_demo_keeps_its_promises_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "python"), "-m", "demo.run"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "promises checked, all kept" in done.stdout
    assert "WRONG" not in done.stdout
    assert "\x1b[" not in done.stdout
    assert [path.name for path in tmp_path.iterdir() if "strongroom" in path.name] == []
