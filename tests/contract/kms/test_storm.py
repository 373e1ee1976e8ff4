"""Everything that changes keys at once, on one node, while extracts are published, brought to the newest key, and read.

Three commands that know nothing of each other move between roots, rotate, regenerate, add, verify and remove recovery roots,
and prove. A refusal because another was faster is honest; a wrong word, a failed read and a lost extract are not.
"""

import random
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from strongroom.access.permissions import Subject
from strongroom.envelope.header import Placement
from strongroom.errors import ConflictError, NotFoundError, StateError
from strongroom.extracts.model import ContentKind, FileType
from strongroom.kms.states import MekState
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, SiteMode
from strongroom.roots.settings import RootSettings
from strongroom.services.content.publish import PublishRequest
from strongroom.services.content.stored_files import stored_file
from strongroom.services.directory.sites import SiteChanges
from strongroom.services.keys.keeper import PREVIOUS_STORE, ROOTS
from tests.conftest import Torture
from tests.support.memory_root import Outside
from tests.torture import publish_actions

pytestmark = pytest.mark.torture

BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")
TPM = RootSettings("tpm", "tpm:device:/dev/tpmrm0")
ACTOR = "os:tester"
_PAUSE_S = 0.01
HONEST = (ConflictError, StateError, NotFoundError)


@dataclass
class Storm:
    """What runs, and what went wrong.

    Attributes:
        home: The node.
        seed: Of all choices.
        written: The extracts that were published, and their contents.
        counts: What was done how often.
        failures: What may not be.
    """

    home: str
    seed: int
    written: list[tuple[ContentRow, bytes]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self, name: str, step: Callable[[Node, random.Random], object]) -> threading.Thread:
        """A thread with a node of its own, as a process has."""

        def run() -> None:
            node, chance = opening.open_node(self.home), random.Random(f"{self.seed} {name}")
            while not self.over.is_set() and not self.failures:
                try:
                    step(node, chance)
                except HONEST:
                    self.count(f"{name} refused")
                except Exception as error:  # noqa: BLE001 whatever it is, it is what the test looks for
                    self.failures.append(f"{name}: {type(error).__name__}: {error}")
                else:
                    self.count(name)
            node.close()

        return threading.Thread(target=run, name=name)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def change(self, node: Node, chance: random.Random) -> None:
        recovery = [state.wrap_id for state in node.roots.list() if state.role == "recovery"]
        changes: list[Callable[[], object]] = [
            lambda: node.modes.set_mode(chance.choice((None, BAO, GCP)), ACTOR),
            lambda: node.modes.set_mode(chance.choice((None, BAO, GCP)), ACTOR, dry_run=True),
            lambda: node.meks.rotate(ACTOR),
            lambda: node.regenerate.run(ACTOR, lambda _: None),
            lambda: node.roots.add(chance.choice((TPM, GCP)), ACTOR),
            lambda: node.roots.remove(chance.choice(recovery), ACTOR) if recovery else None,
            lambda: node.roots.verify(ACTOR),
            node.kms_store.prove,
        ]
        chance.choice(changes)()

    def publish(self, node: Node, chance: random.Random) -> None:
        content = publish_actions.HEAD + chance.randbytes(3000)
        name = f"extract {len(self.written)}"
        request = PublishRequest(ContentKind.DATASOURCE, FileType.HYPER, name)
        with node.publishing.begin(publish_actions.identity(node), request) as publication:
            publication.write(content)
            self.written.append((publication.finish(), content))

    def rewrap(self, node: Node, chance: random.Random) -> None:
        """As a job does it, to one extract."""
        self.over.wait(_PAUSE_S)
        if self.written:
            row, _ = chance.choice(self.written)
            node.stored_files.current(stored_file(row), Placement(row.site_id, row.id))

    def read(self, node: Node, chance: random.Random) -> None:
        self.over.wait(_PAUSE_S)
        if self.written:
            row, content = chance.choice(self.written)
            assert contents(node, row) == content


def contents(node: Node, row: ContentRow) -> bytes:
    with node.vault.open(stored_file(row), Placement(row.site_id, row.id)) as reader:
        return b"".join(reader.iterate())


def test_nothing_is_lost_whatever_is_done_at_once(
    node: Node,
    torture: Torture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outside = Outside()
    outside.stand_in(monkeypatch)
    site = publish_actions.identity(node).site
    node.sites.update(Subject.local(ACTOR), site.id, SiteChanges(mode=SiteMode.ENFORCED))
    storm = Storm(str(node.paths.root), torture.seed)
    changers = [storm.work(f"change {number}", storm.change) for number in range(3)]
    others = [
        storm.work("publish", storm.publish),
        storm.work("read", storm.read),
        storm.work("rewrap", storm.rewrap),
    ]
    for thread in (*changers, *others):
        thread.start()
    storm.over.wait(120 if torture.whole else 3)
    storm.over.set()
    for thread in (*changers, *others):
        thread.join()
    assert storm.failures == []
    with capsys.disabled():
        sys.stdout.write(f"\n{storm.counts}\n")
    status = node.kms_store.prove()
    assert status.is_ok, status.problems
    assert [mek.state for mek in status.meks].count(MekState.ENCRYPT_OR_DECRYPT) == 1
    assert all(contents(node, row) == content for row, content in storm.written)
    values = node.configuration.document().values
    assert PREVIOUS_STORE not in values
    kinds = {state.kind for state in node.roots.list()} - {"local"}
    assert {root.kind for root in node.kms_store.root_settings()} == kinds
    assert (ROOTS in values) is bool(kinds)
    assert node.events.verify().breaks == ()
