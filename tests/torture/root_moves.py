"""Moves between roots for the torture tests: nodes to start from, and what must hold after any fault."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.envelope.header import Placement
from strongroom.kms.states import MekState
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, SiteMode
from strongroom.roots.settings import RootSettings
from strongroom.services.content.stored_files import stored_file
from strongroom.services.directory.sites import SiteChanges
from strongroom.services.keys.keeper import PREVIOUS_STORE, ROOTS
from tests.conftest import T, Torture
from tests.contract.roots.harness import PATIENCE_S, RootLab
from tests.support.stored_forms import differing_files
from tests.torture import nodes, publish_actions

#: The chain of the issue: each kind is entered from another one.
CHAIN = (
    ("local", "aws-moto"),
    ("aws-moto", "azure"),
    ("azure", "openbao"),
    ("openbao", "pkcs11"),
    ("pkcs11", "local"),
)
Labs = Callable[[str], RootLab]


def some(torture: Torture, items: Sequence[T], count: int) -> list[T]:
    """All, or a seeded choice that need not hold the first and the last."""
    return list(items) if torture.whole else random.Random(torture.seed).sample(items, count)


def few(torture: Torture, count: int) -> Torture:
    """A smaller sample."""
    return replace(torture, size=count)


def start_roots(labs: Labs, names: Sequence[str], patch: pytest.MonkeyPatch) -> dict[str, str]:
    """Start what is outside the machine, and set its variables in this process; gives them."""
    outside = [labs(name) for name in names if name != "local"]
    variables = {name: value for lab in outside for name, value in lab.environment.items()}
    for name, value in variables.items():
        patch.setenv(name, value)
    for lab in outside:
        lab.quicken(patch)
        lab.await_answers(PATIENCE_S, patch)
    return variables


def settings_of(labs: Labs, name: str) -> RootSettings | None:
    """What `set-mode` is asked for."""
    return None if name == "local" else labs(name).settings


@dataclass(frozen=True)
class Start:
    """A node before a move, in `node` of a folder that is never changed, and what is known of it.

    Attributes:
        folder: Where it is.
        source: Its root.
        target: The root that it shall be moved to.
        document: Its configuration, byte by byte.
        epoch: Its store's.
        extract: A published extract, encrypted.
    """

    folder: Path
    source: RootSettings | None
    target: RootSettings | None
    document: bytes
    epoch: int
    extract: ContentRow

    @property
    def modes(self) -> tuple[str, str]:
        """Before and after the move."""
        before, after = (root.kind if root else "local" for root in (self.source, self.target))
        return before, after


def make_start(
    fresh: Path, folder: Path, source: RootSettings | None, target: RootSettings | None
) -> Start:
    """A copy of a fresh node, under the root that the move begins with."""
    nodes.copy(fresh, folder)
    with nodes.opened(folder / "node") as node:
        site = publish_actions.identity(node).site
        node.sites.update(Subject.local("os:tester"), site.id, SiteChanges(mode=SiteMode.ENFORCED))
        extract = publish_actions.write(node, publish_actions.OLD, replaces=False)
        assert extract.mek_id
        node.modes.set_mode(source, "os:tester")
        epoch = node.kms_store.current()[0].epoch
        return Start(folder, source, target, document_of(node), epoch, extract)


@dataclass(frozen=True)
class Prepared:
    """A move that can be disturbed.

    Attributes:
        start: The node before it.
        place: A folder of its own, for whatever becomes of the node.
        variables: What a process that moves it has in its environment.
    """

    start: Start
    place: Path
    variables: Mapping[str, str]


#: Prepares the move from a root to another, of the names that labs have; `local` is one.
Prepare = Callable[[str, str], Prepared]


def document_of(node: Node) -> bytes:
    """The configuration as the coordination service has it."""
    entry = node.coordinator.get("config")
    assert entry is not None
    return entry.value


@contextmanager
def copied(start: Start, place: Path) -> Iterator[Node]:
    """An opened copy of the node to start from, in a process that has no key in memory."""
    with nodes.opened(nodes.copy(start.folder, place) / "node") as node:
        yield node


def check(home: Path, start: Start) -> bool:
    """Right after a fault, with all roots up again: the old or the new, and nothing lost; says whether it moved."""
    with nodes.opened(home) as node:
        mode, moved = node.kms_store.current()[0].mode, document_of(node) != start.document
        assert moved or mode == start.modes[0]
        check_content(node, start)
        status = node.kms_store.prove()
        assert status.is_ok, status.problems
        assert (status.mode, status.epoch) == (start.modes[moved], start.epoch + moved)
        states = [mek.state for mek in status.meks]
        assert states.count(MekState.ENCRYPT_OR_DECRYPT) == 1
        assert MekState.UNAVAILABLE not in states
        check_settings(node, (start.source, start.target)[moved])
        assert node.events.verify().breaks == ()
    return moved


def check_done(home: Path, start: Start) -> None:
    """After the command was given again: moved once, and nothing of the root before is left."""
    with nodes.opened(home) as node:
        status = node.kms_store.status()
        assert (status.is_ok, status.mode) == (True, start.modes[1])
        assert len({mek.id for mek in status.meks}) == len(status.meks)
        check_content(node, start)
        check_settings(node, start.target)
        assert differing_files(node.configuration) == ()


def check_settings(node: Node, root: RootSettings | None) -> None:
    """No credential of another root, and no store from before, is left in the configuration."""
    document = node.configuration.document()
    assert PREVIOUS_STORE not in document.values
    assert (ROOTS in document.values) is (root is not None)
    assert node.kms_store.root_settings() == ((root.lasting,) if root else ())


def check_content(node: Node, start: Start) -> None:
    """The extract from before the move is read."""
    place = Placement(start.extract.site_id, start.extract.id)
    with node.vault.open(stored_file(start.extract), place) as reader:
        assert b"".join(reader.iterate()) == publish_actions.OLD
