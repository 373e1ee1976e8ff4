"""Recovery recipients, killed and broken at every mutating system call (M1): no key is ever half wrapped for good."""

import shutil
from pathlib import Path

import pytest

from strongroom.crypto import age
from strongroom.crypto.age import Identity
from strongroom.node import recover
from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import BROKEN, FULL, KILL, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
FAULTS = (KILL, FULL, BROKEN)


@pytest.fixture
def identity(start: Path) -> Identity:
    """Its file is beside the node."""
    made = age.new_identity()
    (start / "identity").write_bytes(made.text.reveal())
    return made


def _drill(home: Path, identity: Identity) -> None:
    """The recipient is the only one beside the mode's root, nothing differs, and its identity opens all."""
    with nodes.opened(home) as node:
        states = node.roots.list()
        assert [state.root_key_id for state in states[1:]] == [identity.recipient]
        assert [state.problem for state in states] == ["", ""]
        recover.recovery_of(node).drill((identity,), "os:tester")


def test_adding_a_recipient(start: Path, few: Torture, identity: Identity) -> None:
    """It opens both hierarchies or is no root at all; the command can be run again."""
    words = ("tsm", "security", "kms", "roots", "add", "age", "--recipient", identity.recipient)
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        nodes.check_opens(home)
        with nodes.opened(home) as node:
            added = identity.recipient in node.kms_store.current()[0].recipients
            # a stray wrap of the configuration key is told, a missing one never happens
            roles = {state.role for state in node.roots.list() if state.problem}
            assert roles <= (set() if added else {"configuration keys only"})
        assert added or not outcome.succeeded
        if not added:
            run(home, *words)
        nodes.project(home)
        nodes.check_whole(home)
        _drill(home, identity)

    harness.torture(lab, few.choose(lab.points(*FAULTS)), check)


def test_recovering_without_a_keystore(start: Path, few: Torture, identity: Identity) -> None:
    """R13, M1: killed at any point, it can be run again, and nothing was lost."""
    home = start / "node"
    run(home, "tsm", "security", "kms", "roots", "add", "age", "--recipient", identity.recipient)
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    run(home, "strongroom", "encrypt", start / "plain", start / "sealed")
    (start / "plain").unlink()
    before = nodes.secrets_of_node(home)
    _lose_keystore(home)
    words = ("strongroom", "recover", "--identity")
    lab = Lab(
        start,
        start.with_name("place"),
        (*words, "{place}/identity"),
        {"STRONGROOM_HOME": "{place}/node"},
    )
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        if outcome.succeeded:
            nodes.check_opens(home)
        run(home, *words, lab.place / "identity")
        nodes.project(home)
        after = nodes.check_whole(home)
        changed = {name for name in before if before[name] != after.get(name)}
        assert changed == {"kms.persistent_store"}
        run(home, "strongroom", "decrypt", lab.place / "sealed", lab.place / "out")
        assert (lab.place / "out").read_bytes() == nodes.PLAINTEXT
        _drill(home, identity)

    harness.torture(lab, few.choose(lab.points(*FAULTS)), check)


def _lose_keystore(home: Path) -> None:
    for folder in (home / "tabsvc").rglob("keystores"):
        shutil.rmtree(folder)
    shutil.rmtree(home / "tabsvc" / "keystore")
