"""A run of pytest inside a test: with a worker, in a folder of its own, without what the outer run says to its processes."""

import subprocess
import sys
from pathlib import Path

from tests.support import unmeasured
from tests.support.servers import ROOT

_LIMIT_S = 240


def run(folder: Path, conftest: str, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run some tests, and give what the run said.

    Args:
        folder: An empty folder; the run takes place in it.
        conftest: The text of `conftest.py`, which may import `tests.support`.
        tests: The text of a module with tests.
        options: Further options of pytest.
    """
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_inner.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    outer = unmeasured.environment()
    environment = {name: value for name, value in outer.items() if not name.startswith("PYTEST")}
    usual = ("-n", "1", "-p", "no:cacheprovider", "--color=no")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *usual, *options, "."],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
