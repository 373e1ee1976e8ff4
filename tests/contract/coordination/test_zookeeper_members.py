"""Members, locks, watches, lists of the coordinator over ZooKeeper, and what it collects."""

import contextlib
import os
import threading
import time

import pytest

from strongroom.coordination.base import Change, Group, Versioned
from strongroom.coordination.zookeeper import collecting, outcomes, requests
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import Credentials
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, CoordinationError, StorageError
from strongroom.ids import new_ordered_id
from tests.contract.coordination.calls import expire, wait_for
from tests.contract.coordination.conftest import Lab
from tests.support.components.zookeeper_ensemble import LIMITS, PASSWORD, SESSION_S

# ---------------------------------------------------------------- members


def test_members_are_the_living(lab: Lab) -> None:
    """Two nodes; one leaves, one is announced again in its next session."""
    with (
        lab.coordinator(node_id="node1") as first,
        lab.coordinator(node_id="node2") as second,
        second.alive(),
    ):
        with first.alive():
            assert first.members() == second.members() == ["node1", "node2"]
        assert second.members() == ["node2"]
        expire(lab, second)
        wait_for(lambda: first.members() == ["node2"])


def test_workers_are_members_of_their_own(lab: Lab) -> None:
    """Who works on jobs is not who serves; a second worker of a node takes the place of the first when that goes (b12)."""
    with lab.coordinator(node_id="node2") as first, lab.coordinator(node_id="node2") as second:
        with lab.ensemble.judge() as client:
            client.delete(f"{lab.root}/workers")  # as a program left the tree that knew no workers
        with first.alive(Group.WORKERS):
            wait_for(lambda: first.members(Group.WORKERS) == ["node2"])
            assert first.members() == []
            with second.alive(Group.WORKERS):
                expire(lab, first)
                wait_for(lambda: second.members(Group.WORKERS) == ["node2"])
        assert first.members(Group.WORKERS) == []


def test_a_second_machine_with_one_node_id_is_refused(lab: Lab) -> None:
    """Matrix 41."""
    short = LIMITS._replace(session_s=1.0, read_s=1.0)
    with (
        lab.coordinator() as first,
        lab.coordinator(limits=short) as second,
        first.alive(),
        pytest.raises(ConflictError, match="alive as node1"),
        second.alive(),
    ):
        pytest.fail("both are node1")


def test_a_holder_whose_session_was_ended_cannot_put(lab: Lab) -> None:
    """Although nobody has taken the lock since."""
    with lab.coordinator() as coordinator, coordinator.lock("kms", wait_s=0):
        expire(lab, coordinator)
        with pytest.raises(ConflictError, match="'kms' is no longer held"):
            coordinator.put({"config": Change(b"late", 0)})
    with lab.coordinator() as coordinator:
        assert coordinator.get("config") is None


# ---------------------------------------------------------------- locks of the node


def test_a_lock_of_the_node_needs_no_ensemble(lab: Lab) -> None:
    """The kernel holds it; its token rises, and a put notices that its file is gone."""
    nobody = lab.ensemble.settings(lab.root, lab.folder, hosts="localhost:9")
    with contextlib.closing(ZookeeperCoordinator(nobody)) as coordinator:
        tokens = []
        for _ in range(3):
            with coordinator.lock("backgrounder-node1", wait_s=0) as lease:
                tokens.append(lease.token)
                with (
                    pytest.raises(ConflictError, match="locked by a test"),
                    coordinator.lock("backgrounder-node1", wait_s=0),
                ):
                    pytest.fail("two hold it")
    assert tokens == [1, 2, 3]
    with lab.coordinator() as coordinator, coordinator.lock("backgrounder-node1", wait_s=0):
        coordinator.put({"config": Change(b"held", 0)})
        (lab.folder / "locks" / "backgrounder-node1.lock").unlink()
        with pytest.raises(ConflictError, match="is no longer held"):
            coordinator.put({"config": Change(b"late", 1)})


def test_the_folder_of_the_nodes_locks_may_be_missing(lab: Lab) -> None:
    settings = lab.ensemble.settings(lab.root, lab.folder, locks_dir=lab.folder / "nowhere")
    with (
        contextlib.closing(ZookeeperCoordinator(settings)) as coordinator,
        pytest.raises(StorageError, match="lock file"),
        coordinator.lock("backgrounder-node1", wait_s=0),
    ):
        pytest.fail("no file to lock")


# ---------------------------------------------------------------- watches, lists


def test_a_watch_that_is_never_called_still_tells(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 7: the poll finds what the watch did not say."""
    monkeypatch.setattr(requests, "watch", lambda *_: True)
    told = threading.Event()
    quick = LIMITS._replace(poll_s=0.3)
    with lab.coordinator(limits=quick) as watcher, lab.coordinator() as writer:
        stop = watcher.watch("config", lambda _: told.set())
        writer.put({"config": Change(b"x", 0)})
        assert told.wait(10)
        stop()


def test_a_watch_outlives_its_session(lab: Lab) -> None:
    """Whatever was changed while nobody was connected is told, once."""
    told: list[Versioned | None] = []
    with lab.coordinator() as watcher, lab.coordinator() as writer:
        writer.put({"config": Change(b"1", 0)})
        stop = watcher.watch("config", told.append)
        expire(lab, watcher)
        for number in (1, 2, 3):
            writer.put({"config": Change(b"x", number)})
        wait_for(lambda: told and told[-1] == Versioned(b"x", 4))
        stop()


def test_a_notice_that_fails_does_not_end_the_watch(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Versioned | None] = []

    def notice(value: Versioned | None) -> None:
        told.append(value)
        raise StorageError("no room for the YAML")

    with lab.coordinator() as coordinator:
        stop = coordinator.watch("config", notice)
        coordinator.put({"config": Change(b"1", 0)})
        wait_for(lambda: len(told) == 1)
        coordinator.put({"config": Change(b"2", 1)})
        wait_for(lambda: len(told) == 2)
        stop()
    assert "no room for the YAML" in caplog.text


def test_a_list_is_of_one_moment(lab: Lab) -> None:
    """Two entries that are always put together are always listed alike."""
    stop = threading.Event()
    with lab.coordinator() as writer, lab.coordinator() as reader:
        writer.put({"journal/a": Change(b"0", 0), "journal/b": Change(b"0", 0)})

        def write() -> None:
            number = 0
            # with pauses that grow: a list finds no moment without a put where puts are faster than it, on a busy machine
            while not stop.wait(0.02 + number * 0.005):
                number += 1
                value = str(number).encode()
                writer.put({f"journal/{one}": Change(value, number) for one in "ab"})

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(20):
                listed = reader.list("journal/")
                assert listed["journal/a"] == listed["journal/b"]
        finally:
            stop.set()
            thread.join()


# ---------------------------------------------------------------- what is collected


def test_old_markers_and_unused_blobs_are_collected(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = os.urandom(700_000), os.urandom(700_000)
    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(first, 0)})
        coordinator.put({"config": Change(second, 1)})
        assert coordinator.collect() == 0, "they are young"
        monkeypatch.setattr(collecting, "KEPT_MS", 0)
        monkeypatch.setattr(collecting, "_UNUSED_MS", 0)
        assert coordinator.collect() == 3
        assert coordinator.get("config") == Versioned(second, 2)
        with lab.ensemble.judge() as client:
            assert len(client.get_children(f"{lab.root}/blob")) == 1
            assert client.get_children(f"{lab.root}/txn") == []
        # what was collected can be put again
        coordinator.put({"config": Change(first, 2)})
        assert coordinator.get("config") == Versioned(first, 3)


def test_a_blob_that_is_put_again_is_not_collected(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection has found a blob unused; the put that uses it comes before the collection's last step."""
    value = os.urandom(700_000)
    monkeypatch.setattr(collecting, "_UNUSED_MS", 0)
    with lab.coordinator() as coordinator, lab.coordinator() as collector:
        coordinator.put({"config": Change(value, 0)})
        coordinator.put({"config": Change(b"small", 1)})
        real, begun = collector._entries.referred, []

        def referred() -> frozenset[bytes]:
            found = real()
            begun.append(found)
            if len(begun) == 2:  # the blob is marked, and nobody refers to it
                coordinator.put({"config": Change(value, 2)})
            return found

        monkeypatch.setattr(collector._entries, "referred", referred)
        assert collector.collect() == 0
        assert len(begun) == 2
        assert coordinator.get("config") == Versioned(value, 3)


def test_an_outcome_is_not_told_when_its_marker_may_be_gone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADR 32: "not found" would be a lie about a put that was made long ago."""
    with lab.coordinator() as coordinator:
        assert not coordinator.outcome(new_ordered_id())
        monkeypatch.setattr(outcomes, "_TOLD_MS", -(10**6))
        with pytest.raises(CoordinationError, match="no longer knows"):
            coordinator.outcome(new_ordered_id())


def test_a_blob_whose_chunks_were_changed_is_refused(lab: Lab) -> None:
    """coordination.md 4.4."""
    value = os.urandom(600_000)
    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(value, 0)})
        with lab.ensemble.judge() as client:
            (name,) = client.get_children(f"{lab.root}/blob")
            client.set(f"{lab.root}/blob/{name}/1", b"another")
        with pytest.raises(CoordinationError, match="'config' in ZooKeeper is damaged"):
            coordinator.get("config")


def test_a_coordinator_opens_again_after_it_was_closed(lab: Lab) -> None:
    with lab.coordinator() as coordinator:
        coordinator.put({"config": Change(b"x", 0)})
        coordinator.close()
        assert coordinator.get("config") == Versioned(b"x", 1)
        coordinator.close()
        coordinator.close()


def test_a_lock_is_waited_for_as_long_as_a_session(lab: Lab) -> None:
    """The session of a holder that is gone without a word ends, and the waiter gets the lock without asking again."""
    with lab.two() as (gone, waiter), gone.lock("kms", wait_s=0):
        expire(lab, gone)
        began = time.monotonic()
        with waiter.lock("kms", wait_s=SESSION_S):
            assert time.monotonic() - began < SESSION_S


# ---------------------------------------------------------------- logins


def test_a_login_on_a_session_that_works_takes_no_answer_of_another_request(lab: Lab) -> None:
    """a2-19: kazoo gives each answer to whoever has waited longest, and ZooKeeper answers a login before what came earlier."""
    known = [SecretBytes(PASSWORD.encode())]
    keys = {f"key/{number}": str(number).encode() for number in range(4)}
    ended = threading.Event()
    found: list[object] = []
    with lab.coordinator(credentials=lambda: Credentials((known[0],), tuple(known))) as coordinator:
        coordinator.put({key: Change(value, 0) for key, value in keys.items()})

        def read(key: str) -> None:
            try:
                while not ended.is_set():
                    entry = coordinator.get(key)
                    if entry is None or entry.value != keys[key]:
                        found.append((key, entry))
            except BaseException as error:  # noqa: BLE001  told by the test
                found.append(error)

        threads = [threading.Thread(target=read, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        try:
            for number in range(40):
                known.append(SecretBytes(f"another one {number}".encode()))
                coordinator.get("key/0")
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
    assert found == []
