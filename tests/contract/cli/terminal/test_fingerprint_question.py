"""Whoever entrusts something to a file or a directory is asked for the fingerprint of the installation (X2, X6).

The three commands are each run at a real terminal, with every kind of answer, and once as a script, which nobody asks.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.crypto import age
from strongroom.runtime.paths import DataPaths
from tests.support.servers import TestNode, create_node
from tests.support.terminals import at_terminal

ASKED = "fingerprint of the installation, as you noted it"


class Made(NamedTuple):
    """A node with a backup and a bootstrap file, and the identity that opens everything of it."""

    node: TestNode
    fingerprint: str
    identity: Path


class Trial(NamedTuple):
    """A command whose input may be of a stranger, on a node of its own."""

    node: TestNode
    line: list[str]
    is_done: Callable[[], bool]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    node = create_node(tmp_path_factory.mktemp("made"))
    own, path = age.new_identity(), node.folder / "identity"
    path.write_bytes(own.text.reveal() + b"\n")
    node.run("tsm", "security", "kms", "roots", "add", "age", "--recipient", own.recipient)
    sealed = ("--recipient", own.recipient)
    node.run("strongroom", "backup", "make", "-f", "b", *sealed)
    bootstrap = ("topology", "nodes", "get-bootstrap-file", "-f", str(node.folder / "two.age"))
    node.run("tsm", *bootstrap, "-nec", *sealed)
    [backup] = node.home.rglob("b.tsbak")
    shutil.copy(backup, node.folder)
    return Made(node, node.run("strongroom", "status", "--json").json["fingerprint"], path)


def of_recover(made: Made, folder: Path) -> Trial:
    """The directory of the node, whose keystore is gone."""
    node = TestNode(folder)
    shutil.copytree(made.node.home, node.home)
    paths = DataPaths(node.home)
    shutil.rmtree(paths.keystore_password.parent)
    return Trial(
        node,
        ["strongroom", "recover", "--identity", str(made.identity)],
        paths.keystore_password.exists,
    )


def of_restore(made: Made, folder: Path) -> Trial:
    """Another node, to which the backup is as good as a stranger's."""
    node = create_node(folder)
    backup = str(made.node.folder / "b.tsbak")
    line = ["strongroom", "backup", "restore", "-f", backup, "--identity", str(made.identity)]
    return Trial(node, line, lambda: "RESTORE" in node.run("strongroom", "events", "list").out)


def of_join(made: Made, folder: Path) -> Trial:
    """The file of the node, for an empty directory."""
    node = TestNode(folder)
    shutil.copy(made.node.folder / "two.age", folder)
    line = ["initialize-tsm", "-b", str(folder / "two.age"), "--identity", str(made.identity)]
    return Trial(node, [*line, "-d", str(node.home)], node.home.exists)


TRIALS = {"recover": of_recover, "restore": of_restore, "join": of_join}


@pytest.fixture(params=TRIALS)
def trial(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Trial:
    return TRIALS[request.param](made, tmp_path)


def test_what_is_of_another_installation_is_refused_and_nothing_changes(trial: Trial) -> None:
    code, said = at_terminal(trial.node, trial.line, b"aaaa-bbbb-cccc-dddd-eeee\n")
    assert (code, ASKED in said) == (20, True), said
    assert "not of aaaa-bbbb-cccc-dddd-eeee" in said
    assert not trial.is_done()


def test_an_answer_that_is_no_fingerprint_is_asked_for_again_and_three_are_the_end(
    trial: Trial,
) -> None:
    code, said = at_terminal(trial.node, trial.line, b"y\nyes\nwhat?\n")
    assert (code, said.count(ASKED)) == (2, 3), said
    assert "five groups of four letters and digits" in said
    assert not trial.is_done()


def test_the_noted_one_goes_on_however_it_is_typed(trial: Trial, made: Made) -> None:
    typed = made.fingerprint.replace("-", " ").upper()
    code, said = at_terminal(trial.node, trial.line, f"oops\n{typed}\ny\n".encode())
    assert (code, said.count(ASKED)) == (0, 2), said
    assert "not proved" not in said
    assert trial.is_done()


def test_no_answer_goes_on_and_says_that_nothing_is_proved(trial: Trial) -> None:
    code, said = at_terminal(trial.node, trial.line, b"\ny\n")
    assert (code, said.count(ASKED)) == (0, 1), said
    assert "not proved" in said
    assert trial.is_done()


def test_a_script_is_not_asked(trial: Trial) -> None:
    word = ["--yes"] if "restore" in trial.line else []
    said = trial.node.run(*trial.line, *word)
    assert ASKED not in said.err
    assert "not proved" in said.err


def test_of_its_own_backup_a_node_knows_whose_it_is(made: Made) -> None:
    """The identity that signed is its own: only whether to restore is asked."""
    line = ["strongroom", "backup", "restore", "-f", str(made.node.folder / "b.tsbak")]
    code, said = at_terminal(made.node, line, b"n\n")
    assert (code, ASKED in said) == (7, False), said
