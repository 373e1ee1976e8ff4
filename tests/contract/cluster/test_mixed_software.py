"""Nodes of two releases in one installation (matrix 45, ADR 57): the office, the tables, the formats, and going back."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.errors import StateError
from strongroom.joining.software import InForce
from strongroom.node import agent
from strongroom.node.opening import Node
from strongroom.repository import revision
from strongroom.services.jobs.processes import SEVERAL
from strongroom.system import version
from tests.contract.cluster.commands import Run, at_work, nodes, opened
from tests.contract.cluster.takeover_lab import wait_for
from tests.contract.joining.commands import told
from tests.support import servers, web_client

OLD, NEW = version.VERSION, "9.0.0"
TABLES = frozenset(revision.formats())
KNOWN = TABLES | {SEVERAL}
PRESENT = revision.REVISION
NEXT = f"{int(PRESENT) + 1:04}"


@contextmanager
def release(monkeypatch: pytest.MonkeyPatch, number: str, *more: str) -> Iterator[None]:
    """Nodes that are opened within are of another release, which knows more formats."""
    with monkeypatch.context() as patch:
        patch.setattr(version, "VERSION", number)
        patch.setattr(revision, "formats", lambda: (*TABLES, *more))
        yield


@contextmanager
def working(home: Path, monkeypatch: pytest.MonkeyPatch, number: str) -> Iterator[Node]:
    """A node of another release that is alive and does its duties."""
    with opened(home) as node:
        with release(monkeypatch, number, "slots-3"):
            node.software.cause()
        with node.announced(), agent.at_work(node):
            yield node


@pytest.fixture
def pair(cluster_home: Path, second_home: Path) -> tuple[Path, Path]:
    """The data directories of two nodes, of which neither is served; what joined has said what it is."""
    with opened(cluster_home) as one:
        assert one.software.say()
    return cluster_home, second_home


def test_a_node_of_an_older_release_is_no_controller_and_nothing_new_begins_before_all_know_it(
    pair: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 45: the order of a rolling upgrade, and what remains of it when one node goes back."""
    first, second = pair
    with opened(first) as one:
        assert one.software.raise_to_all("system")
        assert one.software.in_force() == InForce(OLD, KNOWN)
        assert not one.software.raise_to_all("system"), "once"
        assert not one.software.say()
    # node1 has the new release; node2 has not, and nothing begins
    with release(monkeypatch, NEW, "slots-3"), opened(first) as one:
        assert one.software.say()
        assert not one.software.raise_to_all("system")
        assert one.software.in_force() == InForce(OLD, KNOWN)
        one.software.check_controls()
        assert nodes(run, first)["node1"]["software"] == NEW
    # now both have it
    with release(monkeypatch, NEW, "slots-3"), opened(second) as two:
        assert two.software.say()
        assert two.software.raise_to_all("system")
        assert two.software.in_force() == InForce(NEW, KNOWN | {"slots-3"})
        assert [event["formats"] for event in told(two, "FORMATS_RAISED")] == ["slots-3"]
    # a release between: it knows what has begun, and is too old for the office
    with release(monkeypatch, "8.0.0", "slots-3"), opened(first) as one:
        one.software.say()
        one.software.check_serves()
        with pytest.raises(StateError, match=r"cannot be the controller: .*8\.0\.0.* than 9\.0\.0"):
            one.software.check_controls()
        assert not one.software.raise_to_all("system"), "what counts is never taken back"
    with working(first, monkeypatch, "8.0.0"), working(second, monkeypatch, NEW) as two:
        wait_for(two.present_controller, "there is no controller")
        assert two.present_controller() == "node2"
    shown = run("tsm", second, "topology", "list-nodes", "-v").out
    assert "Software: 8.0.0, too old for the controller: the installation came to 9.0.0" in shown
    assert f"Software: {NEW}\n" in shown
    # back to the first one: it is not served at all, and says why
    said = run("strongroom", first, "serve", "--port", "0")
    assert said.code == 7, said
    assert f"this software ({OLD}) does not know slots-3, which all nodes have used" in said.err


def test_a_node_of_an_older_release_does_not_join(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 45, A-05 at the join: it stays joining with that cause, and the same command goes on with the right release."""
    from tests.contract.joining.commands import make

    second = tmp_path / "two" / "node"
    with release(monkeypatch, NEW, "slots-3"), opened(cluster_home) as one:
        one.software.say()
        assert one.software.raise_to_all("system")
    with web_client.serve(cluster_home) as served:
        file = make(served, run)
        words = ("-b", str(file), "--fingerprint", served.node.identity.fingerprint())
        said = run("initialize-tsm", second, *words)
        assert said.code != 0
        assert "does not know slots-3" in said.out + said.err
        assert nodes(run, cluster_home)["node2"]["state"] == "joining"
        with release(monkeypatch, NEW, "slots-3"):
            said = run("initialize-tsm", second, *words)
            assert said.code == 0, said.err
        assert nodes(run, cluster_home)["node2"]["software"] == NEW


def test_tables_are_not_changed_under_a_node_that_works_by_them(
    pair: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 45: the first command of a new release brings tables up to date, but not under the older one's processes."""
    from strongroom.repository import unit_of_work
    from strongroom.repository.migrations import runner

    first, second = pair
    steps = []

    class Step:
        revision = NEXT

        @staticmethod
        def upgrade() -> None:
            steps.append(NEXT)

    with at_work(second), opened(first) as one:
        with monkeypatch.context() as patch:
            patch.setattr(runner, "STEPS", (*runner.STEPS, Step))
            for module in (revision, unit_of_work):
                patch.setattr(module, "REVISION", NEXT)
            for change in (one.ensure_schema, one.auth.prune):
                with pytest.raises(
                    StateError,
                    match=rf"node2 \(.*\) runs with software that does not know repository-{NEXT}",
                ):
                    change()
        assert steps == []
    with opened(first) as one, monkeypatch.context() as patch:
        patch.setattr(runner, "STEPS", (*runner.STEPS, Step))
        for module in (revision, unit_of_work):
            patch.setattr(module, "REVISION", NEXT)
        one.ensure_schema()
        assert steps == [NEXT]
    said = run("strongroom", second, "serve", "--port", "0")
    assert said.code != 0
    assert f"the repository has schema {NEXT}, this program needs {PRESENT}" in said.err


@pytest.mark.cluster
def test_two_checkouts(pair: tuple[Path, Path], run: Run, tmp_path: Path) -> None:
    """Matrix 45: real servers of two trees of source; the one of the new release is the controller once all had had it."""
    first, second = pair
    source = tmp_path / "checkout" / "strongroom"
    shutil.copytree(
        Path(version.__file__).parents[1], source, ignore=shutil.ignore_patterns("__pycache__")
    )
    file = source / "system" / "version.py"
    file.write_text(file.read_text().replace(f'VERSION = "{OLD}"', f'VERSION = "{NEW}"', 1))

    @contextmanager
    def served(home: Path, checkout: Path | None) -> Iterator[None]:
        more = {} if checkout is None else {"PYTHONPATH": str(checkout.parent)}
        own = servers.TestNode(tmp_path, environment={"STRONGROOM_HOME": str(home), **more})
        command = [sys.executable, "-m", "strongroom", "serve", "--port", "0", "--no-backgrounder"]
        with servers.ready(
            command, tmp_path / f"{home.parent.name}.err", tmp_path, own.variables()
        ):
            yield

    def software() -> dict[str, str]:
        return {name: one["software"] for name, one in nodes(run, first).items()}

    with served(first, source), opened(first) as one:
        with served(second, None):
            wait_for(one.present_controller, "there is no controller")
            assert software() == {"node1": NEW, "node2": OLD}
        with served(second, source):
            wait_for(lambda: one.software.in_force().min_version == NEW, "nothing is raised")
    # one goes back: alone it serves, and nobody is the controller; then the other one is
    with served(first, None), opened(first) as one:
        assert software() == {"node1": OLD, "node2": NEW}
        assert one.present_controller() == ""
        with served(second, source):
            wait_for(lambda: one.present_controller() == "node2", "node2 is not the controller")
        said = (
            (tmp_path / "node.err")
            if (tmp_path / "node.err").exists()
            else tmp_path / f"{first.parent.name}.err"
        )
        assert "cannot be the controller" in said.read_text() + _log(first)


def _log(home: Path) -> str:
    return "".join(path.read_text() for path in home.rglob("logs/*.log"))
