"""A command that is paused while it holds a lock of the cluster changes nothing when it wakes (E4; matrix 5, 6).

The command is a real one, stopped at a random moment by SIGSTOP; its lock goes to another node, which does the same work
to its end; then the command wakes. ZooKeeper and PostgreSQL are read by kazoo and psycopg: none of the product's code
judges whether anything has changed.
"""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from strongroom.errors import NodesError
from strongroom.node.opening import Node
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, joined
from tests.contract.cluster.password_lab import root_of
from tests.contract.cluster.paused_lab import Holder, Judge, met
from tests.contract.cluster.takeover_lab import wait_for
from tests.contract.cluster.test_regenerate_two import key_files
from tests.support import backups, web_client
from tests.support.cluster_services import ClusterServices

ACTOR: Final = "os:tests"
WHOLE: Final = 100
"""Late commits of a whole run; a run of every day has one of a kind that the seed chooses."""
NATURAL: Final = 10
"""In one round of so many the lock goes by the end of the session, and not by somebody's hand."""
_log = logging.getLogger("paused")
CONTENT: Final = bytes(range(256)) * 300


class Work(NamedTuple):
    """Work under a lock.

    Attributes:
        lock: The lock.
        words: The command that does it.
        prepare: What has to be there first.
        finish: Does the same on another node.
        held_s: How long the lock is held, about.
    """

    lock: str
    words: tuple[str, ...]
    prepare: Callable[[Node], object]
    finish: Callable[[Node], object]
    held_s: float


def _set(node: Node) -> None:
    port = str(random.randrange(2000, 60000))
    node.configuration.set("gateway.https.port", port, actor=ACTOR)


def _apply(node: Node) -> None:
    if node.configuration.pending() is not None:
        node.configuration.apply(actor=ACTOR)


WORKS: Final = {
    "rotate": Work(
        "kms",
        ("tsm", "security", "kms", "rotate"),
        lambda _: None,
        lambda node: node.meks.rotate(ACTOR),
        1.2,
    ),
    "regenerate": Work(
        "kms",
        ("tsm", "security", "regenerate-internal-tokens", "--only", "keys"),
        lambda _: None,
        lambda node: node.regenerate.run(ACTOR, lambda _: None, ["keys"]),
        5.0,
    ),
    "apply": Work(
        "configuration",
        ("tsm", "pending-changes", "apply", "--ignore-prompt"),
        _set,
        _apply,
        0.15,
    ),
}


class Rounds:
    """Rounds of one work after the other."""

    def __init__(self, one: Node, two: Node, judge: Judge, folder: Path) -> None:
        self.one, self.two, self._judge, self._folder = one, two, judge, folder
        self.told = Counter[str]()

    def round(self, name: str, chance: random.Random, *, natural: bool) -> bool:
        """One round; whether a commit came late, and was refused."""
        work = WORKS[name]
        work.prepare(self.one)
        holder, is_held = met(
            lambda: Holder(self.one.paths.root, self._folder, work.words),
            self._judge,
            work.lock,
            chance.uniform(0, work.held_s),
        )
        try:
            if not is_held:
                self.told[f"{name} had let go"] += 1
                return False
            self._pass_on(work, holder, natural=natural)
            goes_on = self._goes_on(work)
            before = self._judge.quiet()
        finally:
            holder.wake()
            code, said = holder.ended()
        if not goes_on:
            work.finish(self.two)
            self.check()
            self.told[f"{name} waited for the node of the paused one"] += 1
            return False
        assert self._judge.look().difference(before) == [], (name, code, said)
        self.check()
        self.told[f"{name} {'refused' if code else 'had been made'}"] += 1
        assert "Traceback" not in said, said
        _log.info("%s: %d %s", dict(self.told), code, said.splitlines()[:1])
        return code != 0

    def _pass_on(self, work: Work, holder: Holder, *, natural: bool) -> None:
        if natural:
            wait_for(lambda: not holder.holds(self._judge, work.lock), "the session goes on")
        else:
            self._judge.take_away(work.lock)

    def _goes_on(self, work: Work) -> bool:
        """Whether the other node does it to the end: keys wait for each node, whose own lock the paused command may hold."""
        try:
            work.finish(self.two)
        except NodesError:
            return False
        return True

    def check(self) -> None:
        """Both nodes have the same keys, and open what was published."""
        assert key_files(self.one) == key_files(self.two)
        for node in (self.one, self.two):
            assert node.kms_store.prove().problems == ()
            assert node.state_faults() == ()
        assert backups.contents(self.one) == {"one": CONTENT}


@pytest.mark.torture
def test_what_a_paused_command_still_does_is_refused_by_both_stores(
    cluster_home: Path,
    services: ClusterServices,
    run: Run,
    tmp_path: Path,
    torture: Torture,
    record_property: Callable[[str, object], None],
) -> None:
    """E4, matrix 5 and 6: rotate, regenerate and apply, until so many commits came late.

    The variable `PAUSED_WORK` chooses one of the three.
    """
    chance = random.Random(torture.seed)
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    chosen = os.environ.get("PAUSED_WORK", "")
    names = [chosen] if chosen else sorted(WORKS)
    if not torture.whole:
        names = [chance.choice(names)]
    with ExitStack() as stack:
        one, two = (stack.enter_context(at_work(home)) for home in (cluster_home, second))
        backups.publish(one, "one", CONTENT)
        judge = Judge(
            stack.enter_context(services.ensemble.judge()), services, root_of(cluster_home)
        )
        rounds = Rounds(one, two, judge, tmp_path)
        wanted, late, count, end = (WHOLE, 0, 0, time.monotonic() + 5400)
        if not torture.whole:
            wanted, end = 1, time.monotonic() + 120
        while late < wanted and time.monotonic() < end:
            natural = torture.whole and count % NATURAL == 0
            late += rounds.round(names[count % len(names)], chance, natural=natural)
            count += 1
    record_property("torture", f"{late} late commits refused: {dict(rounds.told)}")
    assert late >= wanted, rounds.told
