"""Keys are rotated and the old MEK is retired while somebody seals under it: at every call of whoever seals (findings D5, R9).

Whoever seals is a process that waits at one of its mutating calls; meanwhile another one rotates, and retires. Either the
retirement sees what is being made and refuses, or whoever makes it sees that its key is going. What was reported as done opens.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from strongroom.errors import StrongroomError
from strongroom.node.opening import Node
from tests.conftest import Torture
from tests.support.backups import contents
from tests.support.servers import ROOT
from tests.torture import harness, nodes, publish_actions
from tests.torture.harness import KILL, Lab, Outcome
from tests.torture.nodes import run
from tests.torture.publish_actions import NEW, OLD

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
#: Whoever seals may hold a lock that the other one needs: then it goes on first.
_PATIENCE_S = 2.0
_END_S = 90.0


@dataclass
class Retirement:
    """Rotates and retires, in a thread, with a node of its own."""

    home: Path
    mek_id: str
    is_done: bool = False
    refused: str = ""
    broke: list[BaseException] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start, and wait a while for the end."""
        self._thread = threading.Thread(target=self._run, name="retirement")
        self._thread.start()
        self._thread.join(_PATIENCE_S)

    def end(self) -> None:
        """Wait for the end."""
        assert self._thread is not None, "the call was never made"
        self._thread.join(_END_S)
        assert not self._thread.is_alive()
        assert not self.broke, self.broke

    def _run(self) -> None:
        try:
            with nodes.opened(self.home) as node:
                node.meks.rotate("os:other")
                node.meks.retire(self.mek_id, "os:other")
                self.is_done = True
        except StrongroomError as error:
            self.refused = error.message
        except BaseException as error:  # noqa: BLE001 told by the test's own thread
            self.broke.append(error)


def seals(lab: Lab, torture: Torture, check: Callable[[Outcome, Retirement], None]) -> None:
    """Hold the command at each of its calls, retire, let it go on, and look."""
    points = [point for point in lab.points(KILL) if not point.own_start]
    assert points, "no command can be held here: that needs x86-64"
    with nodes.opened(lab.start / "node") as node:
        mek_id = str(node.envelope_keys.active_mek_id)
    wrong: list[str] = []
    unseen: list[str] = []
    refused, done = 0, 0
    chosen = torture.choose(points)
    for point in chosen:
        retirement = Retirement(lab.place / "node", mek_id)
        try:
            outcome = lab.hold(point, retirement.begin)
            if retirement._thread is None:
                unseen.append(point.title)
                continue
            retirement.end()
            harness.check_manners(outcome)
            assert retirement.is_done or "MEK" in retirement.refused, retirement.refused
            with nodes.opened(lab.place / "node") as node:
                assert node.meks.usage().missing == {}, "a file names a MEK that was retired"
                assert (mek_id in node.envelope_keys.known_mek_ids()) is not retirement.is_done
            check(outcome, retirement)
            refused, done = refused + bool(retirement.refused), done + retirement.is_done
        except Exception as error:  # noqa: BLE001 all points are tried, and each failure is told
            wrong.append(f"{point.title}: {type(error).__name__}: {error}")
    lab.close()
    harness.check_wrong(chosen, wrong)
    harness.check_reached(chosen, unseen)
    harness.FIGURES.append(
        f"{len(chosen)} points, {len(wrong)} wrong, {len(unseen)} never reached; the MEK went {done} times, was kept {refused}"
    )


@pytest.fixture
def enforced(start: Path) -> Path:
    """A node whose default site is enforced; nothing is sealed yet."""
    run(start / "node", "strongroom", "sites", "set-mode", "Default", "enforced")
    return start


@pytest.mark.parametrize("action", ["publish", "upload"])
def test_while_content_is_published(enforced: Path, few: Torture, action: str) -> None:
    """What a client was told to be published is read; the MEK it lies under is there."""
    words = ("python", "-m", "tests.torture.publish_actions", action, "{place}/node")
    if action == "upload":
        with nodes.opened(enforced / "node") as node:
            publish_actions.write(node, OLD, replaces=False)
            node.meks.rotate("os:tester")
        run(enforced / "node", "strongroom", "extracts", "rewrap", "--site", "Default", "--wait")
    lab = Lab(enforced, enforced.with_name("place"), words, {"PYTHONPATH": str(ROOT)})

    def check(outcome: Outcome, _: Retirement) -> None:
        with nodes.opened(lab.place / "node") as node:
            found = list(contents(node).values())
        before = [OLD] if action == "upload" else []
        assert found == ([NEW] if outcome.succeeded else before)

    seals(lab, few, check)


@pytest.mark.parametrize("verb", ["encrypt", "reencrypt", "rewrap"])
def test_while_a_job_seals(enforced: Path, few: Torture, verb: str) -> None:
    """Each extract is read whatever became of the job, and the next job has nothing left to do."""
    with nodes.opened(enforced / "node") as node:
        publish_actions.write(node, OLD, replaces=False)
    if verb == "encrypt":
        run(enforced / "node", "strongroom", "sites", "set-mode", "Default", "enabled")
        run(enforced / "node", "strongroom", "extracts", "decrypt", "--site", "Default", "--wait")
    if verb == "rewrap":
        run(enforced / "node", "tsm", "security", "kms", "rotate")
    words = ("strongroom", "extracts", verb, "--site", "Default", "--wait")
    place = enforced.with_name("place")
    lab = Lab(enforced, place, words, {"STRONGROOM_HOME": "{place}/node"})

    def check(_: Outcome, retirement: Retirement) -> None:
        home = lab.place / "node"
        with nodes.opened(home) as node:
            assert list(contents(node).values()) == [OLD]
        run(home, "strongroom", "extracts", "rewrap", "--site", "Default", "--wait")
        with nodes.opened(home) as node:
            _check_unused(node, retirement)
            assert list(contents(node).values()) == [OLD]

    seals(lab, few, check)


def _check_unused(node: Node, retirement: Retirement) -> None:
    """What kept the MEK was real, and goes when its files were brought to the active one."""
    if not retirement.is_done and retirement.mek_id in node.meks.usage().unused:
        node.meks.retire(retirement.mek_id, "os:other")


WAYS = {
    "one": ("{place}/plain", "{place}/plain.sealed"),
    "many": ("--into", "{place}", "--suffix", ".sealed", "{place}/plain"),
}


@pytest.mark.parametrize("way", WAYS)
def test_while_a_file_is_sealed(start: Path, few: Torture, way: str) -> None:
    """D5: the event is what a retirement counts, and it comes after the key was taken. The file was lost, and nobody was told."""
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    words = ("strongroom", "encrypt", *WAYS[way])
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    sealed = lab.place / "plain.sealed"

    def check(outcome: Outcome, _: Retirement) -> None:
        assert sealed.exists() is outcome.succeeded
        if outcome.succeeded:
            check_opens(lab.place, sealed)

    seals(lab, few, check)


@pytest.mark.parametrize("rotated", [False, True], ids=["whole", "half"])
def test_while_a_file_is_rewrapped(start: Path, few: Torture, *, rotated: bool) -> None:
    """D5, a sibling: what the log says of a file must be true before the key that opened it is overwritten."""
    home = start / "node"
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    run(home, "strongroom", "encrypt", start / "plain", start / "sealed")
    run(home, "tsm", "security", "kms", "rotate")
    if rotated:
        run(home, "strongroom", "rewrap", start / "sealed")
        run(home, "tsm", "security", "kms", "rotate")
    words = ("strongroom", "rewrap", "{place}/sealed")
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})

    def check(_: Outcome, retirement: Retirement) -> None:
        check_opens(lab.place, lab.place / "sealed")
        with nodes.opened(lab.place / "node") as node:
            for mek_id in node.meks.usage().unused:
                node.meks.retire(mek_id, "os:other")
        check_opens(lab.place, lab.place / "sealed")
        assert retirement.is_done or retirement.refused

    seals(lab, few, check)


def check_opens(place: Path, sealed: Path) -> None:
    out = place / "out"
    out.unlink(missing_ok=True)
    run(place / "node", "strongroom", "decrypt", sealed, out)
    assert out.read_bytes() == nodes.PLAINTEXT
