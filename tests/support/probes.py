"""Coverage of the product by probes in its code (`probed_code`), in every process that a run of the tests shares its folder with.

`scripts/test.sh` prepares a folder, names it in the environment of pytest, and has coverage.py's own file written from it:

    python -m tests.support.probes prepare FOLDER
    COVERAGE_PROBES=FOLDER python -m pytest …
    python -m tests.support.probes write FOLDER
    coverage report

All processes mark bytes of one file that they share, so nothing is written at an end and nothing is lost with a process
that is killed. Where no folder is named, nothing here does anything.
"""

import importlib.machinery
import json
import marshal
import mmap
import os
import sys
from collections.abc import Iterator, MutableSequence, Sequence
from pathlib import Path
from types import ModuleType

from typing_extensions import override

from tests.support.probed_code import HITS, Arc, Prober

VARIABLE = "COVERAGE_PROBES"
_SOURCE = Path(__file__).resolve().parents[2] / "src"
_PACKAGE = "strongroom"
_TABLE, _MARKS = "table.json", "marks"

#: Each module's path, and the numbers of its probes, from the first to before the last.
Places = dict[str, tuple[int, int]]


def prepare(folder: Path, source: Path = _SOURCE / _PACKAGE) -> None:
    """Put probes into all modules below a folder of sources, and write their code, and what each probe means."""
    prober = Prober()
    places: Places = {}
    for path in sorted(source.rglob("*.py")):
        before = len(prober.probes)
        code = prober.compiled(path.read_bytes(), str(path))
        _code_file(folder, path).write_bytes(marshal.dumps(code))
        places[str(path)] = (before, len(prober.probes))
    table = {"places": places, "probes": prober.probes}
    (folder / _TABLE).write_text(json.dumps(table))
    (folder / _MARKS).write_bytes(bytes(len(prober.probes)))


def _code_file(folder: Path, path: Path | str) -> Path:
    return folder / f"{str(path).replace('/', '+')}.code"


class Probes:
    """Gives this process's modules of the product the code with probes; marks count from the start, until they pause."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with (folder / _MARKS).open("r+b") as file:
            self._marks = mmap.mmap(file.fileno(), 0)
        self._lost = bytearray(len(self._marks))
        self._loaded: list[ModuleType] = []
        self.counts = True

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The module as ever, but for its code."""
        if fullname.partition(".")[0] != _PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            code = _code_file(self._folder, spec.loader.path)
            if code.exists():
                spec.loader = _Loader(spec.loader.name, spec.loader.path, code, self)
        return spec

    def begin(self, module: ModuleType) -> None:
        """Let a module that is about to run find its marks."""
        self._loaded.append(module)
        setattr(module, HITS, self._bytes())

    def switch(self, *, on: bool) -> None:
        """Count from now on, or do not."""
        if on == self.counts:
            return
        self.counts = on
        for module in self._loaded:
            setattr(module, HITS, self._bytes())

    def _bytes(self) -> "MutableSequence[int] | mmap.mmap":
        return self._marks if self.counts else self._lost


class _Loader(importlib.machinery.SourceFileLoader):
    """`get_code` stays what it is: `runpy` and `pkgutil` run the code elsewhere, without marks."""

    def __init__(self, name: str, path: str, code: Path, probes: Probes) -> None:
        super().__init__(name, path)
        self._code, self._probes = code, probes

    @override
    def exec_module(self, module: ModuleType) -> None:
        self._probes.begin(module)
        exec(marshal.loads(self._code.read_bytes()), module.__dict__)


def install() -> Probes | None:
    """Have the product's modules measured, if the environment names a folder; before any of them is imported."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    early = [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]
    assert not early, f"imported before anybody could measure it: {early}"
    made = Probes(Path(folder))
    sys.meta_path.insert(0, made)
    return made


def executed(folder: Path) -> Iterator[tuple[str, set[tuple[int, int]]]]:
    """The arcs of each module that were run, as coverage.py keeps them."""
    table = json.loads((folder / _TABLE).read_text())
    marks = (folder / _MARKS).read_bytes()
    for path, (first, end) in table["places"].items():
        run = [
            arc for number in range(first, end) if marks[number] for arc in table["probes"][number]
        ]
        yield path, _resolved(path, run)


def _resolved(path: str, run: Sequence[Arc]) -> set[tuple[int, int]]:
    """The same with the targets of branches that were not taken."""
    arcs = {(arc[0], arc[1]) for arc in run if len(arc) == 2}
    others = {(arc[0], arc[1]) for arc in run if len(arc) > 2}
    if others:
        lines = {line for line, _ in others}
        arcs |= {arc for arc in _possible(path) if arc[0] in lines and _is_other(arc, others)}
    return arcs


def _is_other(arc: tuple[int, int], others: set[tuple[int, int]]) -> bool:
    return any(line == arc[0] and body != arc[1] for line, body in others)


def _possible(path: str) -> set[tuple[int, int]]:
    from coverage.parser import PythonParser

    parser = PythonParser(text=Path(path).read_text("utf-8"), filename=path)
    parser.parse_source()
    return set(parser.arcs())


def write(folder: Path) -> None:
    """Write a file that `coverage combine` takes."""
    from coverage import CoverageData

    data = CoverageData(basename=".coverage", suffix="probes")
    data.add_arcs(dict(executed(folder)))
    data.write()


if __name__ == "__main__":
    {"prepare": prepare, "write": write}[sys.argv[1]](Path(sys.argv[2]))
