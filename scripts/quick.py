"""The ten seconds after a change: lint, layers, types, and the tests of what changed, nearest first: `make quick`.

What changed is what differs from a commit (`make quick SINCE=HEAD`), files that git does not know yet included. Which tests
are those of a change is read from the imports, not guessed from names:

- Distance 1 is a changed test, or a test module that imports what changed; distance 2 imports something that imports it; and so
  on. A test module counts as importing every `conftest.py` above it.
- For a changed file that is no Python module: the tests whose text holds its name, and for a document the tests of the documents.
- `tests/unit` mirrors the source: the test of a module's name and place is at distance 1, also if it speaks to a command only.
- Of tests equally near, the one named after the file comes first, then those that import least: they are about the least else.
- The twelve nearest test files that need nothing but Python (the folders of `make check`) run, until the time is up; the nearest
  runs in any case. Whatever was left out is counted and said. `make check` runs all of them, `make test` the rest too.

Imports are all that is seen: a command that a test starts as a process reaches a module without one.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CODE = ("src", "tests", "demo", "scripts", "benchmarks")
PACKAGES = ("strongroom", "tests", "demo", "scripts", "benchmarks")
#: The folders whose tests need nothing but Python.
FOLDERS = ("tests/unit/", "tests/property/", "tests/vectors/", "tests/structure/")
DOCUMENT_TESTS = "tests/docs/test_documents.py"
SECONDS = 7.0
FILES = 12
LINES_SHOWN = 40

#: Which modules each module imports.
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Choice:
    """Which tests are those of a change.

    Attributes:
        chosen: Test files that need nothing but Python, the nearest first.
        elsewhere: Test files that reach the change, too, and need other tools or servers.
    """

    chosen: tuple[str, ...]
    elsewhere: tuple[str, ...]


def module(path: str) -> str | None:
    """The module that a file is; None if it is no Python of ours."""
    parts = PurePosixPath(path).with_suffix("").parts
    if not path.endswith(".py") or parts[0] not in CODE:
        return None
    parts = parts[1:] if parts[0] == "src" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _mirror(path: str) -> str:
    """Where the unit test of a file of the source lies, if there is one."""
    inside = PurePosixPath(path.removeprefix("src/strongroom/"))
    return (PurePosixPath("tests/unit") / inside.parent / f"test_{inside.name}").as_posix()


def is_test(name: str) -> bool:
    """Whether pytest collects a module."""
    return name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")


def with_conftests(graph: Graph) -> Graph:
    """The graph in which each test module imports every `conftest.py` above it, as pytest does for it."""

    def above(name: str) -> set[str]:
        parts = name.split(".")
        folders = (".".join(parts[:end]) for end in range(1, len(parts)))
        return {f"{folder}.conftest" for folder in folders} & graph.keys()

    return {
        name: imports | above(name) if is_test(name) else imports for name, imports in graph.items()
    }


def distances(graph: Graph, changed: Iterable[str]) -> dict[str, int]:
    """How many imports lie between each test module and the nearest of the changed ones."""
    importers: dict[str, list[str]] = {}
    for name, imports in graph.items():
        for imported in imports:
            importers.setdefault(imported, []).append(name)
    # a changed test and the test of what changed are equally near
    found = {name: int(is_test(name)) for name in changed}
    ring = list(found)
    while ring:
        reached = {above: found[name] + 1 for name in ring for above in importers.get(name, ())}
        ring = [name for name in reached if name not in found]
        found |= {name: reached[name] for name in ring}
    return {name: far for name, far in found.items() if is_test(name)}


def choose(graph: Graph, paths: Iterable[str], texts: Mapping[str, str]) -> Choice:
    """Choose the tests of the changed files.

    Args:
        graph: Which modules each module imports.
        paths: The changed files, relative to the root.
        texts: The text of each test file, to find those that name a changed file.
    """
    paths = sorted(paths)
    changed = {name for path in paths if (name := module(path)) in graph and name}
    far = distances(with_conftests(graph), changed)
    files = {f"{name.replace('.', '/')}.py": distance for name, distance in far.items()}
    files |= {test: 1 for path in paths if module(test := _mirror(path)) in graph}
    for name in (PurePosixPath(path).name for path in paths if module(path) is None):
        files = {test: 1 for test, text in texts.items() if name in text} | files
    namesakes = {f"test_{PurePosixPath(path).stem}.py" for path in paths}

    def order(file: str) -> tuple[int, bool, int, str]:
        others = len(graph.get(module(file) or "", ()))
        return files[file], PurePosixPath(file).name not in namesakes, others, file

    ordered = sorted(files, key=order)
    here = [file for file in ordered if file.startswith(FOLDERS) or file in paths]
    if any(path.endswith(".md") for path in paths):
        here = [DOCUMENT_TESTS, *(file for file in here if file != DOCUMENT_TESTS)]
    return Choice(tuple(here), tuple(file for file in ordered if file not in here))


def changed_files(since: str) -> list[str]:
    """The files that differ from a commit and are still there, those that git does not know yet included."""
    commands = (
        ("git", "diff", "--name-only", "--no-renames", "-z", since, "--"),
        ("git", "ls-files", "--others", "--exclude-standard", "-z"),
    )
    names = [
        name
        for command in commands
        for name in subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split("\0")
    ]
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def imports() -> Graph:
    """The imports of the working tree."""
    import grimp

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {
        name: frozenset(graph.find_modules_directly_imported_by(name)) for name in graph.modules
    }


def test_texts() -> dict[str, str]:
    """The text of each test file."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
    }


def _run(title: str, *command: str | Path) -> bool:
    """Run a check; it speaks only when it fails."""
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    word = "ok" if done.returncode == 0 else "FAILED"
    lines = [f"{title:<8}{word:<8}{time.monotonic() - started:.1f} s"]
    if done.returncode:
        lines += done.stdout.splitlines()[-LINES_SHOWN:]
    elif title == "tests":
        lines += done.stdout.splitlines()[-2:]
    print("\n".join(lines), flush=True)
    return done.returncode == 0


def _read_only_checks() -> bool:
    """Lint, layers and types, of everything: they keep what they know of files that did not change."""
    results = [
        _run("format", BIN / "ruff", "format", "--check", "--quiet", *CODE),
        _run("lint", BIN / "ruff", "check", "--quiet", *CODE),
        _run("layers", BIN / "lint-imports", "--no-logo"),
        _run("types", BIN / "mypy"),
    ]
    return all(results)


def _tests(files: Iterable[str], until: float) -> bool:
    files = list(files)
    if not files:
        print("tests   none: no test imports or names what changed")
        return True
    # shuffled, the nearest would not come first
    options = ("-q", "-p", "scripts.quick_clock", f"--until={until}", "--randomly-dont-reorganize")
    return _run("tests", sys.executable, "-m", "pytest", *options, "--color=no", *files)


def main() -> int:
    """Check what changed; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="the ten seconds after a change", allow_abbrev=False
    )
    parser.add_argument("--since", default="HEAD", help="the commit to compare with (HEAD)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which no test begins")
    parser.add_argument(
        "--list", action="store_true", help="only print the tests that it would run"
    )
    arguments = parser.parse_args()
    started = time.monotonic()
    changed = changed_files(arguments.since)
    choice = choose(imports(), changed, test_texts())
    if arguments.list:
        print("\n".join(choice.chosen[:FILES]))
        return 0
    near = choice.chosen[:FILES]
    print(f"changed since {arguments.since}: {', '.join(changed) or 'nothing'}")
    print(
        f"test files that reach it: {len(choice.chosen)}, of which the nearest {len(near)} run (make check: all); "
        f"{len(choice.elsewhere)} with other tools or servers (make test)",
        flush=True,
    )
    with ThreadPoolExecutor(2) as pool:
        tests = pool.submit(_tests, near, started + arguments.seconds)
        checks = pool.submit(_read_only_checks)
        good = [tests.result(), checks.result()]
    print(f"quick: {time.monotonic() - started:.1f} s")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
