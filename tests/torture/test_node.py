"""A node killed and broken at every mutating system call of its commands: the state is the old or the new one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
_SECRET = "svcmonitor.notification.smtp.password"


def lab_of(start: Path, *words: str) -> Lab:
    """Commands on the node in `node` of a folder."""
    place = start.with_name("place")
    return Lab(start, place, words, {"STRONGROOM_HOME": "{place}/node"})


@FAULTS
def test_initialising(tmp_path: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-03: there is a whole node or none, and running it again makes one."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "password").write_text("correct horse battery\n")
    words = ("init", "--admin", "admin", "--admin-password-file")
    lab = lab_of(start, "strongroom", *words, "{place}/password")
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        if not (home / "tabsvc").exists():
            assert not outcome.succeeded
            run(home, "strongroom", *words, lab.place / "password")
        nodes.check_whole(home)
        nodes.check_alone(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_setting_a_pending_secret(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-07."""
    (start / "value").write_bytes(nodes.CANARY)
    words = ("configuration", "set", "-k", _SECRET, "--value-file")
    lab = lab_of(start, "tsm", *words, "{place}/value")
    home = lab.place / "node"
    before = nodes.check_whole(start / "node")

    def check(outcome: Outcome) -> None:
        assert nodes.check_opens(home) == before
        listed = run(home, "tsm", "pending-changes", "list")
        assert _SECRET in listed or not outcome.succeeded
        run(home, "tsm", *words, lab.place / "value")
        run(home, "tsm", "pending-changes", "apply", "--ignore-prompt")
        after = nodes.check_whole(home)
        assert after.pop(_SECRET) == nodes.CANARY
        assert after == before

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
def test_applying_a_secret(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-07, C-19."""
    (start / "value").write_bytes(nodes.CANARY)
    run(
        start / "node",
        "tsm",
        "configuration",
        "set",
        "-k",
        _SECRET,
        "--value-file",
        start / "value",
    )
    before = nodes.check_whole(start / "node")
    lab = lab_of(start, "tsm", "pending-changes", "apply", "--ignore-prompt")
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        found = nodes.check_opens(home)
        assert found in (before, before | {_SECRET: nodes.CANARY})
        assert _SECRET in found or not outcome.succeeded
        run(home, "tsm", "pending-changes", "apply", "--ignore-prompt")
        nodes.project(home)
        assert nodes.check_whole(home) == before | {_SECRET: nodes.CANARY}

    harness.torture(lab, few.choose(lab.points(*faults)), check)


def _with_sealed_file(start: Path) -> Path:
    """A file encrypted under the MEK from before."""
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    run(start / "node", "strongroom", "encrypt", start / "plain", start / "sealed")
    return start / "sealed"


def _check_sealed_file(place: Path) -> None:
    out = place / "out"
    run(place / "node", "strongroom", "decrypt", place / "sealed", out)
    assert out.read_bytes() == nodes.PLAINTEXT
    out.unlink()


def _rotation(words: tuple[str, ...]) -> Callable[[Path, Torture, tuple[str, ...]], None]:
    def torture_it(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
        _with_sealed_file(start)
        (start / "plain").unlink()
        lab = lab_of(start, *words)
        home = lab.place / "node"
        before = nodes.check_whole(start / "node")

        def check(outcome: Outcome) -> None:
            found = nodes.check_opens(home)
            if outcome.succeeded:
                assert found["kms.persistent_store"] != before["kms.persistent_store"]
            _check_sealed_file(lab.place)
            run(home, *words)
            after = nodes.check_whole(home)
            assert after["kms.persistent_store"] != before["kms.persistent_store"]
            _check_sealed_file(lab.place)

        harness.torture(lab, few.choose(lab.points(*faults)), check)

    return torture_it


@FAULTS
def test_rotating(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """K-09, K-11: the extracts' keys open before, in between and after."""
    _rotation(("tsm", "security", "kms", "rotate"))(start, few, faults)


@FAULTS
def test_regenerating(start: Path, few: Torture, faults: tuple[str, ...]) -> None:
    """C-24, A-23: resumable at any point."""
    _rotation(("tsm", "security", "regenerate-internal-tokens"))(start, few, faults)
