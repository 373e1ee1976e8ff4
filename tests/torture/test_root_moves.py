"""`kms set-mode` killed at every mutating call, over the chain of roots: old or new, never mixed; nothing is lost (R12).

Here no server runs and the command does the work; `test_served_moves.py` kills the server that does it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.contract.roots.commands import words_of
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_pkcs11 import Pkcs11Lab
from tests.torture import harness, nodes, root_moves
from tests.torture.harness import KILL, Lab, Outcome
from tests.torture.root_moves import Labs, Prepare, Prepared, Start

pytestmark = pytest.mark.torture


def lab_of(prepared: Prepared) -> Lab:
    """The command on the node; credentials lie in files beside it."""
    start, place = prepared.start, prepared.place
    words = ["tsm", "security", "kms", "set-mode", *words_of(start.target, place)]
    return Lab(
        start.folder,
        place / "place",
        words,
        {"STRONGROOM_HOME": "{place}/node", **prepared.variables},
    )


def with_token(lab: RootLab, prepared: Prepared) -> Prepared:
    """A token of its own for every run: a kill in the middle of SoftHSM, which no real HSM suffers, may damage it."""
    assert isinstance(lab, Pkcs11Lab)
    folder = prepared.start.folder
    nodes.copy(lab.folder / "tokens", folder / "tokens")
    tokens = prepared.place / "place" / "tokens"
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\n")
    variables = {**prepared.variables, "SOFTHSM2_CONF": "{place}/softhsm2.conf"}
    return replace(prepared, variables=variables)


def checking(home: Path, start: Start) -> Callable[[Outcome], None]:
    """What must hold after a kill, and after the command was given again."""

    def check(outcome: Outcome) -> None:
        moved = root_moves.check(home, start)
        assert moved or not outcome.succeeded
        with nodes.opened(home) as node:
            assert node.modes.set_mode(start.target, "os:tester").done is not moved
        root_moves.check_done(home, start)
        nodes.check_whole(home)

    return check


def test_a_command_killed_at_any_call_leaves_the_old_or_the_new(
    labs: Labs, prepare: Prepare, torture: Torture, subtests: pytest.Subtests
) -> None:
    """A-10: the move can be done again, and every extract is read throughout."""
    for source, target in root_moves.some(torture, root_moves.CHAIN, 1):
        with subtests.test(f"{source} to {target}"):
            prepared = prepare(source, target)
            if "pkcs11" in (source, target):
                prepared = with_token(labs("pkcs11"), prepared)
            lab = lab_of(prepared)
            points = root_moves.few(torture, 4).choose(lab.points(KILL))
            harness.torture(lab, points, checking(lab.place / "node", prepared.start))
