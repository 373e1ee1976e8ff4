"""The serving process is killed at each step of a move that it makes over its control socket (R12).

The steps are the calls through its ports, as `crashing_serve` counts them: to the roots, and whatever it writes. The process
is a real one and dies by SIGKILL, before the call is made; what all earlier calls did has happened.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.doors.control import client
from strongroom.doors.control.verbs import settings_to_plain
from strongroom.errors import StateError
from strongroom.runtime.paths import DataPaths
from tests.conftest import Torture
from tests.support import servers
from tests.support.servers import ROOT
from tests.torture import nodes, root_moves
from tests.torture.root_moves import Prepare, Prepared, Start

pytestmark = pytest.mark.torture

_END_S = 120


@contextmanager
def serving(home: Path, number: int, notes: Path) -> Iterator[servers.Process]:
    """A server that dies at a call."""
    words = ["--data-dir", str(home), "--port", "0", "--no-backgrounder"]
    command = [sys.executable, "-m", "tests.torture.crashing_serve", str(number), str(notes)]
    errors = notes.with_suffix(".err")
    with servers.ready([*command, *words], errors, ROOT, os.environ) as (process, _):
        yield process


def move(home: Path, start: Start) -> object:
    """Ask the server, as `set-mode` does."""
    asked = {"settings": settings_to_plain(start.target)}
    return client.ask(DataPaths(home), "kms.set-mode", asked, lambda _: None)


def torture_server(prepared: Prepared, torture: Torture) -> None:
    """Kill it at every step that an undisturbed move takes."""
    start, place = prepared.start, prepared.place
    notes = place / "notes"
    home = nodes.copy(start.folder, place / "undisturbed") / "node"
    with serving(home, 0, notes):
        assert isinstance(move(home, start), client.Answer)
    steps = notes.read_text().splitlines()
    assert {"LocalCoordinator put", "JsonlEventLog append", "RepositoryMarks write"} <= set(steps)
    outcomes = set()
    for number in torture.choose(range(1, len(steps) + 1)):
        home = nodes.copy(start.folder, place / f"killed at {number}") / "node"
        with serving(home, number, place / f"notes {number}") as process:
            with pytest.raises(StateError, match="went away"):
                move(home, start)
            assert process.wait(_END_S) == -signal.SIGKILL, steps[number - 1]
        moved = root_moves.check(home, start)
        outcomes.add(moved)
        with nodes.opened(home) as node:
            assert node.modes.set_mode(start.target, "os:tester").done is not moved
        root_moves.check_done(home, start)
    assert outcomes == {False, True}


def test_a_server_killed_at_any_step_leaves_the_old_or_the_new(
    prepare: Prepare, torture: Torture, subtests: pytest.Subtests
) -> None:
    """Over the chain: what is read before is read after, and the command can be given again."""
    for source, target in root_moves.some(torture, root_moves.CHAIN, 1):
        with subtests.test(f"{source} to {target}"):
            torture_server(prepare(source, target), root_moves.few(torture, 4))
