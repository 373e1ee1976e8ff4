"""Eleven faults × seven providers × at start and in service: R10; a sample, or all with `--torture whole`.

No test waits for a limit: the keys run by a clock of the test. A whole run writes docs/reference/root-faults.md.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.extracts.stored import StoredFile
from strongroom.kms import cache
from strongroom.node import opening
from tests.conftest import Torture
from tests.contract.roots import fault_matrix, outage
from tests.contract.roots.fault_matrix import Cell, Stage
from tests.contract.roots.harness import PASSING, RootLab
from tests.contract.roots.outage import CONTENT, HERE, KEEP_S, OFFLINE_S, Watched
from tests.support.fault_server import Fault

pytestmark = pytest.mark.torture
Moved = tuple[Path, StoredFile]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        option = metafunc.config.option
        choice = Torture(option.torture == "whole", option.torture_seed, option.torture_size)
        chosen = choice.choose(fault_matrix.to_try())
        names = [fault_matrix.PROVIDERS[cell.provider] for cell in chosen]
        metafunc.parametrize(
            ("lab", "cell"),
            list(zip(names, chosen, strict=True)),
            indirect=["lab"],
            ids=[cell.name for cell in chosen],
        )


@pytest.fixture(scope="module")
def moved(
    pristine_node: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[RootLab], Moved]:
    """A node that was moved to a root, with an extract; made once for each root."""
    made: dict[str, Moved] = {}

    def node_of(lab: RootLab) -> Moved:
        name = lab.settings.kind
        if name not in made:
            folder = shutil.copytree(pristine_node, tmp_path_factory.mktemp(name) / "node")
            node = opening.open_node(str(folder))
            node.modes.set_mode(lab.settings, "os:tester")
            writer = node.vault.create(HERE, encrypted=True)
            writer.write(CONTENT)
            made[name] = folder, writer.commit()
            node.close()
        return made[name]

    return node_of


def test_a_root_that_fails(
    lab: RootLab,
    cell: Cell,
    moved: Callable[[RootLab], Moved],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    # a busy machine must not decide whether a reader still waits for the root's answer
    monkeypatch.setattr(cache, "_PATIENCE_S", 20.0)
    folder, stored = moved(lab)
    copy = shutil.copytree(folder, tmp_path / "node")
    with outage.watched(copy) as watched:
        scenario = at_start if cell.stage is Stage.START else in_service
        scenario(watched, lab, cell, stored)
    record_property(fault_matrix.PROPERTY, cell.name)


def at_start(watched: Watched, lab: RootLab, cell: Cell, stored: StoredFile) -> None:
    """It starts degraded, says why, hands out nothing, and recovers by itself."""
    with lab.broken(cell.row.fault):
        watched.is_red(lab.told.get(cell.row.fault, ()))
        watched.is_closed(stored, cell)
        assert len(watched.asked) == 1
        watched.asks_rarely(stored, cell)
    watched.comes_back(stored)


def in_service(watched: Watched, lab: RootLab, cell: Cell, stored: StoredFile) -> None:
    """It serves from memory until the limit, then fails closed, and recovers by itself."""
    watched.serves(stored)
    with lab.broken(cell.row.fault):
        watched.is_red(lab.told.get(cell.row.fault, ()))
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
    faults = {row.fault for row in fault_matrix.ROWS}
    assert faults == set(Fault) - {Fault.RESET, Fault.MISSING}
    applies, every = fault_matrix.to_try(), list(fault_matrix.every())
    assert len(fault_matrix.ROWS) == 11
    assert len(every) == 11 * 7 * 2
    assert all(cell.reason for cell in every if cell not in applies)
    assert len({cell.name for cell in every}) == len(every)
