"""Eleven faults × seven providers × at start and in service: field.md R10; a sample, or all with `--torture whole`.

No test waits for a limit: the keys run by a clock of the test. A whole run writes docs/reference/root-faults.md.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom import bootstrap
from strongroom.extracts.stored import StoredFile
from strongroom.kms import cache
from tests.conftest import Torture
from tests.contract.roots import cells, outage
from tests.contract.roots.cells import Cell, Stage
from tests.contract.roots.harness import PASSING, RootBench
from tests.contract.roots.outage import CONTENT, HERE, KEEP_S, OFFLINE_S, Watched
from tests.fault_server import Fault

pytestmark = pytest.mark.torture
Moved = tuple[Path, StoredFile]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        option = metafunc.config.option
        choice = Torture(option.torture == "whole", option.torture_seed, option.torture_size)
        chosen = choice.choose(cells.to_try())
        names = [cells.PROVIDERS[cell.provider] for cell in chosen]
        metafunc.parametrize(
            ("bench", "cell"),
            list(zip(names, chosen, strict=True)),
            indirect=["bench"],
            ids=[cell.name for cell in chosen],
        )


@pytest.fixture(scope="module")
def moved(
    pristine_node: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[RootBench], Moved]:
    """A node that was moved to a root, with an extract; made once for each root."""
    made: dict[str, Moved] = {}

    def node_of(bench: RootBench) -> Moved:
        name = bench.settings.kind
        if name not in made:
            folder = shutil.copytree(pristine_node, tmp_path_factory.mktemp(name) / "node")
            node = bootstrap.open_node(str(folder))
            node.roots.set_mode(bench.settings, "os:tester")
            writer = node.vault.create(HERE, encrypted=True)
            writer.write(CONTENT)
            made[name] = folder, writer.commit()
            node.close()
        return made[name]

    return node_of


def test_a_root_that_fails(
    bench: RootBench,
    cell: Cell,
    moved: Callable[[RootBench], Moved],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    # a busy machine must not decide whether a reader still waits for the root's answer
    monkeypatch.setattr(cache, "_PATIENCE_S", 20.0)
    folder, stored = moved(bench)
    copy = shutil.copytree(folder, tmp_path / "node")
    with outage.watched(copy) as watched:
        scenario = at_start if cell.stage is Stage.START else in_service
        scenario(watched, bench, cell, stored)
    record_property(cells.PROPERTY, cell.name)


def at_start(watched: Watched, bench: RootBench, cell: Cell, stored: StoredFile) -> None:
    """It starts degraded, says why, hands out nothing, and recovers by itself."""
    with bench.broken(cell.row.fault):
        watched.is_red(bench.told.get(cell.row.fault, ()))
        watched.is_closed(stored, cell)
        assert len(watched.asked) == 1
        watched.asks_rarely(stored, cell)
    watched.comes_back(stored)


def in_service(watched: Watched, bench: RootBench, cell: Cell, stored: StoredFile) -> None:
    """It serves from memory until the limit, then fails closed, and recovers by itself."""
    watched.serves(stored)
    with bench.broken(cell.row.fault):
        watched.is_red(bench.told.get(cell.row.fault, ()))
        watched.seconds = KEEP_S - 1
        watched.serves(stored)
        assert watched.asked == [0.0]
        if cell.row.fault in PASSING:
            _serves_on(watched, stored)
        watched.seconds = KEEP_S + (OFFLINE_S if cell.row.fault in PASSING else 0)
        watched.is_closed(stored, cell)
        watched.asks_rarely(stored, cell)
    watched.comes_back(stored)


def _serves_on(watched: Watched, stored: StoredFile) -> None:
    """While the root is out of reach, the keys in memory serve for the offline window too."""
    for moment in (KEEP_S, KEEP_S + 4, KEEP_S + OFFLINE_S - 1):
        watched.seconds = moment
        watched.serves(stored)
    assert watched.asked == [0.0, KEEP_S, KEEP_S + OFFLINE_S - 1]


def test_every_fault_has_a_reason_or_a_test() -> None:
    faults = {row.fault for row in cells.ROWS}
    assert faults == set(Fault) - {Fault.RESET, Fault.MISSING}
    applies, every = cells.to_try(), list(cells.every())
    assert len(cells.ROWS) == 11
    assert len(every) == 11 * 7 * 2
    assert all(cell.reason for cell in every if cell not in applies)
    assert len({cell.name for cell in every}) == len(every)
