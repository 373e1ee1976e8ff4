"""A password that two nodes use changes with the consent of both, and a node is taken out (issue 11 C and E, a2-19)."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from strongroom.cli.terminal import streams
from strongroom.cli.terminal.session import Session
from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER
from strongroom.coordination.base import Change
from strongroom.errors import CoordinationError, StateError
from strongroom.eventlog.events import node_events
from strongroom.joining import own_keys, password_change
from strongroom.joining.password_change import PREFIX, Stage
from strongroom.node import agent, joining, opening, service_passwords
from strongroom.node.opening import Node
from strongroom.services.keys.replacing import RESTORE_LOCK
from strongroom.services.nodes.service_passwords import ServicePasswords
from strongroom.services.nodes.shared_passwords import OtherNodes
from tests.contract.cluster.commands import Run, nodes
from tests.contract.cluster.password_lab import (
    BOTH,
    OLD,
    KilledError,
    admitted,
    after,
    passwords,
    present,
    told,
    works,
)
from tests.support import web_client
from tests.support.cluster_services import ClusterServices


@pytest.fixture
def second(second_home: Path) -> Path:
    """A second node of the cluster of `home`, which does not run."""
    return second_home


@contextmanager
def at_work(home: Path) -> Iterator[Node]:
    """A node whose duties are done, as `strongroom serve` has it."""
    with (
        closing(opening.open_node(str(home))) as node,
        node.announced(),
        agent.at_work(node),
    ):
        yield node


def settled(home: Path, name: str) -> None:
    """Wait until a node that follows has forgotten the old password, which nothing waits for."""
    end = time.monotonic() + 60
    while passwords(home, name)[1:] != (None, None) and time.monotonic() < end:
        time.sleep(0.2)


@pytest.mark.parametrize("name", BOTH)
def test_each_node_has_the_new_password_before_the_service_hears_of_it(
    name: str, home: Path, second: Path, services: ClusterServices, run: Run
) -> None:
    with at_work(second) as other:
        said = run("strongroom", home, "cluster", "rotate-password", name)
        assert said.code == 0, said.err
        new = present(home, name)
        assert new != OLD[name]
        # the one that runs goes on, by connections that nobody has used yet
        other.coordinator.put({"journal/rotation/two": Change(b"x", 0)})
        with other.repository.reading(), other.repository.reading() as tx:
            assert tx.sites.page().rows
        assert told(second, name)[-1] == "CHANGED"
    assert passwords(second, name).present.reveal().decode() == new
    assert admitted(home, services, name, new)
    assert not admitted(home, services, name, OLD[name])
    works(second)
    works(home)
    with at_work(home):  # and the other way round
        assert run("strongroom", second, "cluster", "rotate-password", name).code == 0
        settled(home, name)
    assert not admitted(home, services, name, new)
    works(home)


def test_a_password_changes_again_after_the_keys(
    home: Path, second: Path, services: ClusterServices, run: Run
) -> None:
    """The word on a change that is done lies under a configuration key that a regeneration removes."""
    with at_work(second):
        assert run("strongroom", home, "cluster", "rotate-password", POSTGRES).code == 0
        settled(second, POSTGRES)
        said = run("tsm", home, "security", "regenerate-internal-tokens")
        assert said.code == 0, said.err
        before = present(home, POSTGRES)
        said = run("strongroom", home, "cluster", "rotate-password", POSTGRES)
        assert said.code == 0, said.err
        settled(second, POSTGRES)
    assert not admitted(home, services, POSTGRES, before)
    assert present(home, POSTGRES) == present(second, POSTGRES)


@pytest.mark.parametrize("name", BOTH)
def test_a_node_that_does_not_take_part_is_named_and_not_locked_out(
    name: str, home: Path, second: Path, services: ClusterServices, run: Run
) -> None:
    """The service has not heard of the new password; when the node is back, the same command goes on."""
    words = ("cluster", "rotate-password", name, "--wait", "1")
    said = run("strongroom", home, *words)
    assert said.code == StateError.exit_code
    assert "node2 did not take part within 1 s" in said.err
    assert admitted(home, services, name, OLD[name])
    works(second)
    new = passwords(home, name).next
    assert new is not None
    with at_work(second):
        said = run("strongroom", home, "cluster", "rotate-password", name)
        assert said.code == 0, said.err
    assert present(home, name) == new.reveal().decode()
    assert not admitted(home, services, name, OLD[name])
    works(second)


def test_what_another_node_signed_is_no_answer(home: Path, second: Path) -> None:
    """Each node has the key of the entries' MACs; node1 answers for node2, and an answer of an earlier stage is put back."""
    with closing(opening.open_node(str(home))) as node:
        others = OtherNodes(service_passwords._shared(node, wait_s=0.3), "node1")
        new = passwords(home, POSTGRES).present
        others.tell(POSTGRES, Stage.SPREAD, new)
        found = node.coordinator.get(PREFIX + POSTGRES)
        assert found is not None
        change = password_change.parse_change(found.value)
        installation_id = node.configuration.document().installation_id
        own, theirs = own_keys.read(node.paths), own_keys.read(opening.enter(str(second)))
        name = f"{PREFIX}{POSTGRES}/node2"
        forged = password_change.answered(installation_id, change, "node2", own.signing)
        renamed = password_change.answered(installation_id, change, "node1", theirs.signing)
        earlier = password_change.answered(installation_id, change, "node2", theirs.signing)
        for version, answer in enumerate((forged, renamed)):
            node.coordinator.put({name: Change(answer.serialize(), version)})
            with pytest.raises(StateError, match="node2 did not take part"):
                others.wait(POSTGRES)
        node.coordinator.put({name: Change(earlier.serialize(), 2)})
        others.wait(POSTGRES)
        others.tell(POSTGRES, Stage.IN_FORCE, new)
        with pytest.raises(StateError, match="node2 did not take part"):
            others.wait(POSTGRES)


@pytest.mark.parametrize(
    "died",
    [
        (ZOOKEEPER, "spread"),
        (POSTGRES, "waited"),
        (POSTGRES, "admitted"),
        (ZOOKEEPER, "switched"),
        (ZOOKEEPER, "withdrawn"),
    ],
    ids="-".join,
)
def test_a_change_that_died_is_finished_by_either_node(
    died: tuple[str, str],
    home: Path,
    second: Path,
    services: ClusterServices,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """a2-19: dead after each step, with the other node at work; it finishes the change itself, with the same password."""
    name, place = died
    with at_work(second), monkeypatch.context() as patched:
        if place in {"spread", "waited"}:
            method = "tell" if place == "spread" else "wait"
            patched.setattr(OtherNodes, method, after(getattr(OtherNodes, method)))
        elif place == "switched":
            wait, calls = OtherNodes.wait, list[str]()

            def second_wait(self: OtherNodes, service: str) -> None:
                wait(self, service)
                calls.append(service)
                if len(calls) == 2:
                    raise KilledError

            patched.setattr(OtherNodes, "wait", second_wait)
        else:
            service = (
                service_passwords._Postgres if name == POSTGRES else service_passwords._Zookeeper
            )
            method = "admit" if place == "admitted" else "withdraw"
            patched.setattr(service, method, after(getattr(service, method)))
        with (
            closing(opening.open_node(str(home))) as node,
            pytest.raises(KilledError),
        ):
            service_passwords.rotate(node, name, "os:tests", lambda _: None)
        patched.undo()
        works(second)
        works(home)
    with at_work(home):
        said = run("strongroom", second, "cluster", "rotate-password", name)
        assert said.code == 0, said.err
        settled(home, name)
    assert not admitted(home, services, name, OLD[name])
    assert present(home, name) == present(second, name)
    works(home)
    works(second)


def test_a_removed_node_opens_nothing_any_more(
    home: Path, second: Path, services: ClusterServices, run: Run
) -> None:
    """By what it has: neither service, nor the configuration; and while it runs, it ends."""
    with web_client.serve(home) as served:
        said = run("tsm", home, "topology", "remove-nodes", "-n", "node2")
        assert said.code == StateError.exit_code
        assert "node2 does not run" in said.err
        with closing(opening.open_node(str(second))) as other, other.repository.reading() as tx:
            assert tx.sites.page().rows
            known = {name: passwords(second, name).present.reveal().decode() for name in BOTH}
            said = run("tsm", home, "topology", "remove-nodes", "-n", "node2", "--force")
            assert said.code == 0, said.err
            assert "with PostgreSQL ended" in said.err
        for name in BOTH:
            assert not admitted(home, services, name, known[name])
        assert nodes(run, home)["node2"]["state"] == "removed"
        found = [one["details"] for one in served.node.events.history(node_events.NODE_REMOVED)]
        assert found == [{"node_id": "node2"}]
        # again: nothing is missing, and nothing is done twice
        said = run("tsm", home, "topology", "remove-nodes", "-n", "node2", "--keep-keys")
        assert said.code == 0, said.err
        assert len([*served.node.events.history(node_events.NODE_REMOVED)]) == 1
        document = served.node.configuration.document()
        with closing(opening.open_node(str(second))) as other:
            with pytest.raises(Exception, match=r"key|refuse|ZooKeeper"):
                _ = other.configuration.version
            with pytest.raises(Exception, match="key"):
                other.authority.open_local(document.configuration_key_id)
    works(home)


def test_a_node_that_runs_ends_when_it_is_removed(home: Path, second: Path, run: Run) -> None:
    with closing(opening.open_node(str(home))) as node:
        with closing(opening.open_node(str(second))) as other:
            announced = other.announced()
            announced.__enter__()
            ended: list[bool] = []

            def leave() -> None:
                if not ended:
                    ended.append(True)
                    announced.__exit__(None, None, None)

            with agent.at_work(other, leave):
                words = ("topology", "remove-nodes", "-n", "node2")
                said = run("tsm", home, *words)
                assert said.code == StateError.exit_code
                assert "lie on the disk" in said.err
                assert not ended
                said = run("tsm", home, *words, "--force", "--keep-keys")
                assert said.code == 0, said.err
                assert "regenerate-internal-tokens" in said.err
                assert ended
            # the registry itself is closed to it
            with pytest.raises(CoordinationError, match="NoAuth"):
                joining.ensure_registered(other, "os:tests")
        assert node.peers.others() == ()


def test_a_node_that_was_not_seen_when_a_restore_began_ends(home: Path, second: Path) -> None:
    """ADR 55: it had no session then, so that the restore took it for off; what it would confirm is thrown away."""
    ended = threading.Event()
    with (
        closing(opening.open_node(str(home))) as node,
        closing(opening.open_node(str(second))) as other,
        node.coordinator.lock(RESTORE_LOCK, wait_s=0),
        other.announced(),
        agent.at_work(other, ended.set),
    ):
        assert ended.wait(60)


def test_a_person_is_asked_first(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings F4: before anything is looked up; whoever says no has changed nothing."""
    monkeypatch.setattr(streams, "can_ask", lambda: True)
    asked: list[str] = []

    def no(_: Session, question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(Session, "confirm", no)
    words = ("topology", "remove-nodes", "-n", "node2")
    said = run("tsm", home, *words)
    assert said.code == StateError.exit_code
    assert "nothing was changed" in said.err
    assert asked == ["node2 will be taken out for good, with the keys that they know; go on?"]
    assert "no node of that id" in run("tsm", home, *words, "--yes").err


def test_nodes_that_cannot_be_removed(home: Path, run: Run) -> None:
    for given, why in [
        ("node9", "no node of that id"),
        ("node1", "the node that this runs on"),
        (",", "names no node"),
    ]:
        said = run("tsm", home, "topology", "remove-nodes", "-n", given, "--force")
        assert said.code != 0
        assert why in said.err


def test_a_follower_that_missed_a_stage_catches_up(home: Path, second: Path) -> None:
    """Down from the spread to the end, as after a cut of its link alone: the file is made right by what counts now."""
    with closing(opening.open_node(str(second))) as other:
        new = passwords(home, ZOOKEEPER).present
        with service_passwords._passwords(other, ZOOKEEPER) as here:
            assert isinstance(here, ServicePasswords)
            assert not here.followed(Stage.DONE, new)
            made = type(new)(b"another one")
            assert here.followed(Stage.IN_FORCE, made)
            assert not here.followed(Stage.IN_FORCE, made)
            assert passwords(second, ZOOKEEPER).former == new
            # taken back, since nobody has set it there
            assert here.followed(Stage.DONE, new)
        assert passwords(second, ZOOKEEPER)[1:] == (None, None)
