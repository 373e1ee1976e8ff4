"""Probes (`tests.support.probes`) say of every statement and branch what coverage.py's tracer says (issue 9, must show 6)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.probes import VARIABLE

_PROGRAM = '''"""A module in which each kind of statement stands, with ways that are taken and ways that are not."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass


def deco(*_words):
    return lambda function: function


class Kind(enum.Enum):
    """Names in such a body become members."""

    ONE = 1
    TWO = 2
    if ONE == 2:
        THREE = 3


@deco("first")
@deco(
    "second",
)
@dataclass(frozen=True)
class Point:
    x: int = 0

    @property
    def double(self):
        """Text alone, then a value."""
        return self.x * 2

    @staticmethod
    def unused():
        return None


def branches(n, kind=Kind.ONE):
    if n > 2: n -= 1
    if n == 100:
        return "hundred"
    elif n == 7:
        pass
    elif n in (
        8,
        9,
    ):
        n += 1
    else:
        n += 2
    if n > 50:
        raise ValueError(
            "too much"
        )
    for i in range(n):
        if i == 1:
            continue
        if i == 3:
            break
    else:
        n = 0
    while n > 0:
        n -= 1
        if n == 5:
            break
    while True:
        break
    match kind, n:
        case Kind.ONE, 0:
            n = 1
        case Kind.TWO, int(m) if m > 3:
            n = m
        case Kind.TWO, _:
            n = 3
    match kind:
        case Kind.ONE:
            return n
        case _ if n == 1000:
            return 0
        case _:
            n = 4
    if n:
        n = 5


def cases(word):
    match word:
        case "a" | "b":
            return 1
        case str() as s if s.startswith("c"):
            return 2
        case {"key": value}:
            value += 1


def failures(how):
    try:
        if how == "value":
            raise ValueError
        with contextlib.suppress(LookupError):
            if how == "key":
                raise KeyError
            if how == "return":
                return 1
        int(how)
    except KeyError:
        return 2
    except (
        ValueError,
        OSError,
    ) as error:
        how = str(error)
    else:
        how = "well"
    finally:
        for one in "ab":
            if one == "b":
                break
        if how == "never":
            del how
    with contextlib.nullcontext() as a, contextlib.nullcontext(
        2
    ) as b:
        assert (a, b) == (None, 2), "as given"
        if a:
            return 3


def generator(n):
    global seen
    seen = []
    for i in range(n):
        seen.append((yield i))

    def inner(x):
        nonlocal n
        if x:
            n = x
    inner(0)
    later = [lambda: i for i in range(3) if i != 1]
    return later


async def asynchronous():
    async def numbers():
        for i in range(3):
            yield i
    async with contextlib.AsyncExitStack():
        async for i in numbers():
            if i == 2:
                break
        await asyncio.sleep(0)
    return i


if __name__ == "other":
    branches = None
for n in (1, 8, 3): branches(n)
branches(0, Kind.TWO); branches(7)
with contextlib.suppress(ValueError):
    branches(1000)
cases("b")
cases("x")
for how in ("value", "key", "return", "5"):
    failures(how)
list(generator(2))
if asyncio.run(asynchronous()) == 2 and \\
        Point(3).double == 6:
    done = True
"""What stands behind the last statement."""
'''


_BY_PROBES = """
from tests.support import probes
probes.install()
import strongroom.shapes
"""
_PREPARE = """
import sys
from pathlib import Path
from tests.support import probes
probes.prepare(*map(Path, sys.argv[1:]))
"""
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module of a package with the product's name, in a folder of its own."""
    path = tmp_path / "source" / "strongroom" / "shapes.py"
    path.parent.mkdir(parents=True)
    path.with_name("__init__.py").touch()
    path.write_text(_PROGRAM)
    return path


def _run(folder: Path, *words: str | Path, **more: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{_ROOT}", **more}
    subprocess.run([sys.executable, *words], env=environment, check=True, cwd=folder)


def _report(folder: Path, data: str, module: Path) -> dict[str, object]:
    """What coverage.py says of a module, from a file of data."""
    _run(folder, "-m", "coverage", "json", "-q", f"--data-file={data}", "-o", "told", module)
    (told,) = json.loads((folder / "told").read_text())["files"].values()
    names = ("executed_lines", "missing_lines", "executed_branches", "missing_branches")
    return {name: told[name] for name in names}


def test_a_report_by_probes_is_the_one_by_a_tracer(tmp_path: Path, module: Path) -> None:
    source = module.parents[1]
    _run(source, "-m", "coverage", "run", "--branch", "--data-file=traced", module)
    folder = tmp_path / "probes"
    folder.mkdir()
    _run(source, "-c", _PREPARE, folder, module.parent)
    _run(source, "-c", _BY_PROBES, **{VARIABLE: str(folder)})
    _run(source, "-m", "tests.support.probes", "write", folder)
    expected = _report(source, "traced", module)
    assert expected["missing_branches"]
    assert expected["missing_lines"]
    assert _report(source, ".coverage.probes", module) == expected
