"""The keystore and the event log, killed and broken at every mutating system call."""

import sys
from pathlib import Path

import pytest

from strongroom.keystore.replicas import FILE_NAME, ReplicaCondition
from tests.conftest import Torture
from tests.support.servers import ROOT
from tests.torture import actions, harness
from tests.torture.harness import EVERY_FAULT, Lab, Outcome

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "start").mkdir()
    return tmp_path / "start"


def _lab(start: Path, action: str) -> Lab:
    words = [sys.executable, "-m", "tests.torture.actions", action, "{place}"]
    return Lab(start, start.with_name("place"), words, {"PYTHONPATH": str(ROOT)})


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


_KEYSTORE_FILES = {f"{name}/keystores/{FILE_NAME}" for name in ("one", "two", "three")} | {
    "keystore/password"
}


@EVERY_FAULT
def test_creating_a_keystore(start: Path, torture: Torture, faults: tuple[str, ...]) -> None:
    """C-03: after it is run again there is one keystore in every folder, and nothing else."""
    lab = _lab(start, "create_keystore")

    def check(outcome: Outcome) -> None:
        directory = actions.keystore(lab.place)
        if outcome.succeeded:
            assert directory.load().master_key("master-key-1") == actions.KEY_1
        actions.create_keystore(lab.place)
        assert directory.load().master_key("master-key-1") == actions.KEY_1
        assert {state.condition for state in directory.verify()} == {ReplicaCondition.INTACT}
        assert _files(lab.place) == _KEYSTORE_FILES

    harness.torture(lab, torture.choose(lab.points(*faults)), check)


@EVERY_FAULT
def test_adding_a_master_key(start: Path, torture: Torture, faults: tuple[str, ...]) -> None:
    """C-24: the first key opens all the time; the second is there as soon as it was reported."""
    actions.create_keystore(start)
    lab = _lab(start, "add_alias")

    def check(outcome: Outcome) -> None:
        directory = actions.keystore(lab.place)
        found = directory.load()
        assert found.master_key("master-key-1") == actions.KEY_1
        if outcome.succeeded or "master-key-2" in found.aliases:
            assert found.master_key("master-key-2") == actions.KEY_2
        assert all(
            state.condition in {ReplicaCondition.INTACT, ReplicaCondition.DIFFERENT}
            for state in directory.verify()
        )
        actions.add_alias(lab.place)
        assert directory.load().master_key("master-key-2") == actions.KEY_2
        assert {state.condition for state in directory.verify()} == {ReplicaCondition.INTACT}
        assert _files(lab.place) == _KEYSTORE_FILES

    harness.torture(lab, torture.choose(lab.points(*faults)), check)


@EVERY_FAULT
@pytest.mark.parametrize("before", ["no log", "a log", "a torn log"])
def test_appending_events(
    start: Path, torture: Torture, faults: tuple[str, ...], before: str
) -> None:
    """C-23: what was reported is in the chain, which holds; what was torn is kept."""
    if before != "no log":
        actions.append(start)
    if before == "a torn log":
        with actions.event_log(start).path.open("ab") as file:
            file.write(b'{"torn')
    already = len(list(actions.event_log(start).read()))
    lab = _lab(start, "append")

    def check(outcome: Outcome) -> None:
        log = actions.event_log(lab.place)
        if outcome.succeeded:
            assert len(list(log.read())) >= already + len(actions.BATCH)
        actions.append(lab.place)
        assert log.verify().breaks == ()
        records = list(log.read())
        assert len(records) >= already + len(actions.BATCH)
        torn = [record for record in records if record["id"] == "EVENT_LOG_TORN"]
        aside = {name for name in _files(lab.place) if ".torn-" in name}
        assert len(aside) >= len(torn) >= (before == "a torn log")
        assert _files(lab.place) - aside == {"events/node1.jsonl"}

    harness.torture(lab, torture.choose(lab.points(*faults)), check)
