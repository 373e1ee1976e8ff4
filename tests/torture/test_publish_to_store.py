"""Matrix 25: a node dies between body, header and switch, whichever request to the object store it had just made.

Publishing, replacing, uploading and deleting, each killed before the store gets the n-th request and behind its answer. After
a restart there is the old or the new content, no file without a row, and what is left of bodies goes with the next sweep.
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.doors.http import upkeep
from strongroom.extracts.model import ContentKind
from strongroom.node import file_moves
from strongroom.node.opening import Node
from strongroom.objectstore import sweep
from strongroom.objectstore.base import Bucket
from tests.conftest import Torture
from tests.support import object_stores, store_kinds
from tests.support.object_stores import BEFORE, BEHIND, Between
from tests.support.servers import ROOT
from tests.torture import harness, nodes, publish_actions
from tests.torture.publish_actions import NEW, OLD

pytestmark = pytest.mark.torture
ACTIONS = {
    "publish": ([], [NEW]),
    "upload": ([], [NEW]),
    "overwrite": ([OLD], [NEW]),
    "delete": ([OLD], []),
}
_NOW = timedelta(seconds=-2)  # everything is old


@dataclass(frozen=True)
class Lab:
    """A node whose files lie in a store, with somebody between them who can kill it."""

    home: Path
    between: Between
    bucket: Bucket

    def prepare(self, before: list[bytes]) -> None:
        """Exactly this content is there, and nothing else in the store."""
        with nodes.opened(self.home) as node:
            upkeep.at_start(node)
            with suppress(ValueError):  # nothing is there
                publish_actions.delete(node)
            for content in before:
                publish_actions.write(node, content, replaces=False)
            sweep.sweep(self.bucket, _NOW)

    def run(self, action: str, at: int = 0, when: str = "") -> tuple[int, int]:
        """Run it, killed at a request if one is named; the exit code, and how many requests there were."""
        self.between.asked.clear()
        words = [sys.executable, "-m", "tests.torture.publish_actions", action, str(self.home)]
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})

        def told(number: int, now: str) -> None:
            if (number, now) == (at, when):
                process.send_signal(signal.SIGKILL)
                process.wait()

        self.between.told = told
        try:
            return process.wait(120), len(self.between.asked)
        finally:
            self.between.told = lambda _number, _when: None

    def check(self, *allowed: list[bytes]) -> None:
        """After a restart: one of these contents, and nothing else."""
        with nodes.opened(self.home) as node:
            upkeep.at_start(node)
            found, known = contents(node)
            assert found in allowed
            assert set(node.files.list()) == known
        sweep.sweep(self.bucket, _NOW)
        assert len(list(self.bucket.list("body"))) == len(known)
        assert list(self.bucket.list("gone")) == []
        assert list(self.bucket.open_uploads()) == []


def contents(node: Node) -> tuple[list[bytes], set[str]]:
    """What is published, read back, and the keys of its files; no intent is left."""
    who = publish_actions.identity(node)
    with node.repository.reading() as tx:
        rows = tx.contents.list_for_site(who.site.id)
        known, intents = tx.storage_keys(), tx.intents.list()
    assert intents == []
    found = []
    for row in rows:
        _, reader = node.content.open(who, ContentKind.DATASOURCE, row.id)
        with reader:
            found.append(b"".join(reader.iterate()))
    return found, known


@pytest.fixture(params=store_kinds.KINDS)
def lab(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Lab]:
    home, place, kind = start / "node", tmp_path / "store", store_kinds.KINDS[request.param]
    place.mkdir()
    nodes.run(home, "strongroom", "sites", "set-mode", "Default", "enforced")
    with kind.running(place) as server, object_stores.between(server) as between:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with nodes.opened(home) as node, file_moves.alone(node):
            address = kind.address(between.url, "extracts")
            file_moves.moves(node).move("os:test", address, lambda _: lambda _: None)
        yield Lab(home, between, kind.bucket(server.url, "extracts"))


def test_old_or_new_whichever_request_was_the_last(lab: Lab, few: Torture) -> None:
    """In a sample, one of the actions."""
    points = []
    tried = list(ACTIONS) if few.whole else [random.Random(few.seed).choice(list(ACTIONS))]
    for action in tried:
        before, after = ACTIONS[action]
        lab.prepare(before)
        code, requests = lab.run(action)
        assert code == 0
        lab.check(after)
        points += [(action, at, when) for at in range(1, requests + 1) for when in (BEFORE, BEHIND)]
    chosen = few.choose(points)
    for action, at, when in chosen:
        before, after = ACTIONS[action]
        lab.prepare(before)
        code, _ = lab.run(action, at, when)
        assert code == -signal.SIGKILL, (action, at, when)
        lab.check(before, after)
    harness.FIGURES.append(
        f"{len(chosen)} of {len(points)} requests to the store, each killed there"
    )
