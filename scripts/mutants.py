"""Breaks the product on purpose, one line at a time, and sees whether the tests notice: `make mutants`.

Each mutant of `tests/mutants.toml` is one small change of one file: a check switched off, a field left out of a MAC, an order or
a bound changed. It is made in a copy of the tree, and the tests that must notice it are run there. A mutant that all of them
let pass has survived: the code that it broke is not tested. Nothing of the working tree is changed.

The tests are first run on the copy as it is, since a test that fails anyway would notice everything.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
#: For a machine that is busy. A test by itself ends at pytest's own limit, and that is noticed.
_LIMIT_S = 3600
#: pytest's exit codes: tests failed; the run was interrupted, as by an error while a module is imported
_NOTICED = {1, 2}


@dataclass(frozen=True)
class Mutant:
    """One change that tests must notice.

    Attributes:
        name: What it is called in the list.
        path: The file that it changes, relative to the root.
        old: A text that stands in the file exactly once.
        new: What stands there instead.
        why: What would go wrong if this were shipped.
        tests: What must notice it: arguments of pytest.
    """

    name: str
    path: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """The file's text with the mutant in it.

        Raises:
            ValueError: The list is stale: the old text does not stand there exactly once.
        """
        if text.count(self.old) != 1 or self.old == self.new:
            raise ValueError(
                f"{self.name}: its text stands {text.count(self.old)} times in {self.path}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    killed: bool
    by: str
    seconds: float


def read(path: Path = LIST) -> list[Mutant]:
    """The mutants of the list, in order."""
    rows = tomllib.loads(path.read_text())["mutant"]
    return [
        Mutant(row["name"], row["path"], row["old"], row["new"], row["why"], tuple(row["tests"]))
        for row in rows
    ]


class Copies:
    """Copies of the tree, one for each worker."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            copy = folder / str(number)
            for name in _tracked():
                target = copy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
            for environment in ROOT.glob(".venv*"):  # that of the emulators as well
                (copy / environment.name).symlink_to(environment)
            subprocess.run(["git", "init", "-q", str(copy)], check=True)
            self._free.put(copy)

    def pytest(self, mutant: Mutant | None, tests: Sequence[str]) -> tuple[int, str]:
        """Run tests on a copy with a mutant; returns pytest's exit code and what it said.

        Raises:
            TimeoutExpired: There was a mutant, and no end in an hour.
        """
        copy = self._free.get()
        try:
            if mutant is None:
                return _pytest(copy, tests, limit_s=None)
            path = copy / mutant.path
            before = path.read_text()
            path.write_text(mutant.apply(before))
            try:
                return _pytest(copy, tests, limit_s=_LIMIT_S)
            finally:
                path.write_text(before)
        finally:
            self._free.put(copy)


def _tracked() -> Iterator[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return (name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def _pytest(copy: Path, tests: Sequence[str], *, limit_s: float | None) -> tuple[int, str]:
    # the copy's source comes before the one that is installed; stale bytecode would hide a mutant
    variables = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    options = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-m",
        "not torture",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return done.returncode, done.stdout


def _tried(copies: Copies, mutant: Mutant) -> Result:
    begun = time.monotonic()
    try:
        code, said = copies.pytest(mutant, mutant.tests)
    except subprocess.TimeoutExpired:
        # no test has noticed anything
        return Result(mutant, killed=False, by=f"no end in {_LIMIT_S} s", seconds=_LIMIT_S)
    noticed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    by = noticed[0].split(" - ")[0].split(" ", 1)[1] if noticed else f"pytest ended with {code}"
    # a run that broke off without naming a test, as where a disk is full, has noticed nothing
    return Result(mutant, code in _NOTICED and bool(noticed), by, time.monotonic() - begun)


def _print(result: Result) -> None:
    word = "killed  " if result.killed else "SURVIVED"
    print(f"{word} {result.mutant.name:<44} {result.seconds:5.1f} s  {result.by}", flush=True)
    if not result.killed:
        print(f"         {result.mutant.path}: {result.mutant.why}", flush=True)


def main() -> int:
    """Try the mutants; returns the exit code: 1 if one survived."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="make mutants", description="breaks the product on purpose"
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only these, or all whose names begin so"
    )
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    chosen = [
        one
        for one in read()
        if not given.names or any(one.name.startswith(name) for name in given.names)
    ]
    with tempfile.TemporaryDirectory(prefix="strongroom-mutants-") as name:
        copies = Copies(Path(name), given.workers)
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        code, said = copies.pytest(None, tests)
        if code:
            print(said[-3000:], "the tests fail without any mutant", sep="\n", file=sys.stderr)
            return 2
        with ThreadPoolExecutor(given.workers) as pool:
            results = []
            for result in pool.map(lambda mutant: _tried(copies, mutant), chosen):
                _print(result)
                results.append(result)
    killed = sum(result.killed for result in results)
    print(f"{len(results)} mutants, {killed} killed, {len(results) - killed} survived")
    return int(killed < len(results))


if __name__ == "__main__":
    sys.exit(main())
