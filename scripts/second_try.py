"""Tries tests that failed in the whole run once more, alone on the machine, and says which passed only so.

Nineteen thousand tests share two cores with ZooKeeper, PostgreSQL, object stores and each other. Where one fails of them
all, the first question is always the same: does the test fail by itself? `scripts/test.sh` asks it, under limits that keep
it from becoming a way to live with faults (docs/adr/0045-a-failure-is-tried-once-more.md):

- Failures of at most three modules are tried again. More than that is no accident. Tests of a module share what it sets
  up: where that fails, all of them do, for one reason.
- Tests that draw what they try are not (torture, properties, vectors, canary, structure): their failure is a finding.
- Whatever passed only alone is named at the end of the run, each by its id: such a test is a fault of its own, to be
  explained and mended as any other.

Exit code: 0 if every failure passed now, else 1.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST: Final = 3
FOLDERS: Final = ("tests/unit/", "tests/contract/", "tests/interop/", "tests/docs/")
CACHE: Final = Path(".pytest_cache/v/cache/lastfailed")


def failed(cache: Path = CACHE) -> list[str]:
    """The ids of the tests that failed in the newest run; none if pytest kept no record of it."""
    try:
        return sorted(json.loads(cache.read_text("utf-8")))
    except FileNotFoundError:
        return []


def refusal(names: Sequence[str]) -> str:
    """The reason why these failures stand as they are; empty if they may be tried again."""
    if not names:
        return "no test is on record as failed"
    modules = {name.partition("::")[0] for name in names}
    if len(modules) > MOST:
        return (
            f"tests of {len(modules)} modules failed, and those of at most {MOST} are tried again"
        )
    drawn = [name for name in names if not name.startswith(FOLDERS) or "::" not in name]
    if drawn:
        return f"{drawn[0]} is not tried again: what it found is found"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Try the failures again with the same options of pytest.

    Args:
        arguments: The options for pytest.
    """
    names = failed()
    if reason := refusal(names):
        print(f"no second try: {reason}")
        return 1
    code = subprocess.call([sys.executable, "-m", "pytest", "-n", "0", *arguments, *names])
    if code:
        return 1
    for name in names:
        print(f"passed only when it ran alone, to be explained: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
