"""`keystore repair` killed and broken at every mutating system call (findings K7)."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Outcome
from tests.torture.nodes import run
from tests.torture.test_node import lab_of

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
_NAMES = ("tableauserver.jks", "configuration_keys.json")


def _files(home: Path) -> dict[str, list[Path]]:
    """The replicas by name, that of the first service first."""
    with nodes.opened(home) as node:
        return {name: [folder / name for folder in node.keystore.folders] for name in _NAMES}


def _contents(home: Path) -> Counter[bytes]:
    """What lies in the folders of the keys, copies too, with how often; not what a killed write prepared."""
    found = (path for path in home.rglob("*") if path.parent.name in {"keystores", "recovery"})
    return Counter(
        path.read_bytes() for path in found if path.is_file() and not path.name.startswith(".")
    )


@FAULTS
def test_repairing(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """findings K7: at any point the good replica and all that was replaced are there; a second run ends it."""
    home = start / "node"
    (start / "kit").mkdir()
    files = _files(home)
    older = {name: files[name][0].read_bytes() for name in _NAMES}
    run(home, "tsm", "security", "regenerate-internal-tokens", "--only", "keys")
    before = nodes.check_whole(home)
    good = {name: files[name][0].read_bytes() for name in _NAMES}
    keystores, records = files.values()
    for path in keystores[:-1]:
        path.write_bytes(older[_NAMES[0]])
    keystores[1].unlink()
    keystores[2].write_bytes(b"garbage of the tests")
    for path in (records[0], *records[2:]):
        path.write_bytes(older[_NAMES[1]])
    bad = set(_contents(home)) - set(good.values())
    assert len(bad) == 3
    lab = lab_of(start, "tsm", "security", "keystore", "repair")
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        found = _contents(home)
        assert bad | set(good.values()) <= set(found)
        if outcome.succeeded:
            assert nodes.check_opens(home) == before
        run(home, "tsm", "security", "keystore", "repair")
        assert nodes.check_whole(home) == before
        assert bad <= set(_contents(home))
        for name, paths in _files(home).items():
            assert {path.read_bytes() for path in paths} == {good[name]}
            # one copy of what was replaced in each folder, however often it was tried
            assert all(len(list(path.parent.glob(f"{name}.replaced-*"))) <= 1 for path in paths)

    harness.torture(lab, few.choose(lab.points(*faults)), check)
    shutil.rmtree(lab.place, ignore_errors=True)
