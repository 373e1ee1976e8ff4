"""The new root, or the old one, fails at the first call of a move, at the second, and so on (A-10, A-20, R12).

Roots over the network fail there: their server resets the connection. A token and a TPM fail at their port.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from strongroom.errors import RootUnavailableError, StrongroomError
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from tests.conftest import Torture
from tests.contract.roots.harness import RootLab
from tests.support.fault_server import Fault, FaultServer
from tests.torture import root_moves
from tests.torture.port_calls import PortCalls, watch_roots
from tests.torture.root_moves import Labs, Prepare, Prepared

pytestmark = pytest.mark.torture

KINDS = ("aws-moto", "azure", "openbao", "pkcs11", "gcp", "tpm")
#: How many calls fail: one, or all from then on.
ONCE, FOR_GOOD = 1, 1 << 30


@contextmanager
def failing(lab: RootLab, after: int, times: int) -> Iterator[list[str]]:
    """A root whose calls fail, after some that succeed; gives the calls that were made."""
    front: FaultServer | None = getattr(lab, "front", None)
    if front is not None:
        front.calls.clear()
        with front.broken(Fault.RESET, times, after=after):
            yield front.calls
        return
    asked: list[str] = []

    def fail(_: int, name: str) -> None:
        if not name.startswith("local"):
            asked.append(name)
            if after < len(asked) <= after + times:
                raise RootUnavailableError("the line went dead")

    with pytest.MonkeyPatch.context() as patch:
        watch_roots(PortCalls(fail, armed=True), patch)
        yield asked


def move(node: Node, target: RootSettings | None) -> bool:
    """Whether it ends without an error; any other exception than ours is a failure of the test."""
    try:
        return node.modes.set_mode(target, "os:tester").done
    except StrongroomError:
        return False


def torture_moves(prepared: Prepared, lab: RootLab, torture: Torture) -> None:
    """Fail at every call that an undisturbed move makes."""
    start, place = prepared.start, prepared.place
    with (
        root_moves.copied(start, place / "undisturbed") as node,
        failing(lab, FOR_GOOD, ONCE) as made,
    ):
        assert move(node, start.target)
        calls = len(made)
    assert calls
    tried = [(after, times) for after in range(calls) for times in (FOR_GOOD, ONCE)]
    outcomes = set()
    for after, times in torture.choose(tried):
        folder = place / f"{after} {times}"
        with root_moves.copied(start, folder) as node, failing(lab, after, times):
            succeeded = move(node, start.target)
            if start.source is None:
                root_moves.check_content(node, start)  # by the keys in memory, while it still fails
        moved = root_moves.check(folder / "node", start)
        assert moved or not succeeded
        outcomes.add(moved)
        with root_moves.copied(replace(start, folder=folder), place / "again") as node:
            assert move(node, start.target) is not moved
        root_moves.check_done(place / "again" / "node", start)
        shutil.rmtree(place / "again")
    assert False in outcomes


def test_a_new_root_that_fails(
    labs: Labs, prepare: Prepare, torture: Torture, subtests: pytest.Subtests
) -> None:
    """Before the commit all is as before, byte by byte; after it all is new."""
    for kind in root_moves.some(torture, KINDS, 2):
        with subtests.test(kind):
            torture_moves(prepare("local", kind), labs(kind), root_moves.few(torture, 3))


def test_an_old_root_that_fails(
    labs: Labs, prepare: Prepare, torture: Torture, subtests: pytest.Subtests
) -> None:
    """The move home asks it once; until it answers, nothing is changed."""
    for kind in root_moves.some(torture, KINDS, 2):
        with subtests.test(kind):
            torture_moves(prepare(kind, "local"), labs(kind), root_moves.few(torture, 2))
