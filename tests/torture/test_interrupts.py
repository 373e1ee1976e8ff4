"""Ctrl-C at every mutating call of the commands on files (findings F5): they end with 130, and nothing half-done stays."""

from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import INTERRUPT, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
_INTERRUPTED = 130
_COMMANDS = {
    "encrypt": ("encrypt", "{place}/plain", "{place}/out"),
    "encrypt-many": ("encrypt", "--into", "{place}/out", "-r", "{place}/tree", "--resume"),
    "decrypt": ("decrypt", "{place}/sealed", "{place}/out"),
    "decrypt-many": ("decrypt", "--into", "{place}/out", "-r", "{place}/sealed-tree", "--resume"),
    "rewrap": ("rewrap", "{place}/sealed"),
}


def _fill(start: Path) -> None:
    """Plaintext and ciphertext, alone and as a tree, and a MEK that is newer than the ciphertext."""
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    for folder in ("a", "b"):
        (start / "tree" / folder).mkdir(parents=True)
        for number in range(2):
            (start / "tree" / folder / str(number)).write_bytes(nodes.PLAINTEXT)
    node = start / "node"
    run(node, "strongroom", "encrypt", start / "plain", start / "sealed")
    run(node, "strongroom", "encrypt", "--into", start / "sealed-tree", "-r", start / "tree")
    run(node, "tsm", "security", "kms", "rotate")


def _outputs(place: Path) -> list[Path]:
    """All that the command made, hidden files included."""
    out = place / "out"
    return [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.parametrize("words", _COMMANDS.values(), ids=_COMMANDS)
def test_ctrl_c(start: Path, few: Torture, words: tuple[str, ...]) -> None:
    _fill(start)
    variables = {"STRONGROOM_HOME": "{place}/node"}
    lab = Lab(start, start.with_name("place"), ("strongroom", *words), variables)

    def check(outcome: Outcome) -> None:
        assert outcome.code in {0, _INTERRUPTED}, outcome.err
        assert outcome.succeeded or "strongroom: interrupted" in outcome.err, outcome.err
        made = _outputs(lab.place)
        assert not [path.name for path in made if path.name.startswith(".")]
        assert len({path.stat().st_size for path in made}) <= 1, "an output is half-done"
        here = [word.replace("{place}", str(lab.place)) for word in words]
        whole = words[0] != "rewrap" and "--into" not in words and bool(made)
        if not whole:
            run(lab.place / "node", "strongroom", *here)
        nodes.check_whole(lab.place / "node")

    harness.torture(lab, few.choose(lab.points(INTERRUPT)), check)
