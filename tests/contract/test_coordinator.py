"""The contract of the Coordinator port, run over every implementation.

A new implementation adds one function that opens it, one row in `OPENERS`, and one in `TAKERS`: what makes
a holder lose a lock without its notice. Processes that race reach the same store by the same function, so an
opener takes nothing but a folder; where the ensemble of ZooKeeper is stands in a file there.
"""

import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.coordination.base import LOCKS, Change, Coordinator, Lease, Versioned
from strongroom.coordination.entries import EntryKey, EntryKeys
from strongroom.coordination.local import LocalCoordinator
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, CoordinationError, UsageError

if TYPE_CHECKING:
    from tests.support.components.zookeeper_ensemble import Ensemble

Opener = Callable[[Path], Coordinator]

INSTALLATION = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
KEY_ID = "1abc23de-f045-4678-9012-345678901234"
RACERS = 2
ROUNDS = 40


def open_local(folder: Path) -> Coordinator:
    path, locks = folder / "coordination.db", folder / "locks"
    LocalCoordinator.create(path, locks)
    return LocalCoordinator(path, locks)


class KeysOfTests:
    """One active configuration key, the same in every process."""

    def present(self) -> EntryKeys:
        return EntryKeys(INSTALLATION, 1, EntryKey(KEY_ID, SecretBytes(bytes(32))))

    def renew(self) -> None:
        """There are no other copies."""


def open_proved(folder: Path) -> Coordinator:
    """The service that a node hands out: entries with MACs, over the local one."""
    return ProvedCoordinator(open_local(folder), KeysOfTests())


def take_local(folder: Path, name: str) -> None:
    """Somebody removes the file of the lock, so that the next one to ask gets another."""
    (folder / "locks" / f"{name}.lock").unlink()


def open_zookeeper(folder: Path) -> Coordinator:
    from tests.support.components.zookeeper_ensemble import open_kept

    opened_now = open_kept(folder, f"process {os.getpid()}")
    TO_CLOSE.append(opened_now.close)
    return opened_now


def take_zookeeper(folder: Path, name: str) -> None:
    """The session of the holder ends, as when nobody heard of it for too long."""
    from tests.support.components.zookeeper_ensemble import take_lock_away

    take_lock_away(folder, name)


TO_CLOSE: list[Callable[[], None]] = []
OPENERS = [
    pytest.param(open_local, id="local"),
    pytest.param(open_proved, id="proved"),
    pytest.param(open_zookeeper, id="zookeeper"),
]
TAKERS: dict[Opener, Callable[[Path, str], None]] = {
    open_local: take_local,
    open_proved: take_local,
    open_zookeeper: take_zookeeper,
}


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    chosen: Opener = request.param
    if chosen is open_zookeeper:
        from tests.support.components.zookeeper_ensemble import keep_settings

        ensemble: Ensemble = request.getfixturevalue("ensemble")
        keep_settings(ensemble, f"/strongroom/{secrets.token_hex(8)}", tmp_path)
    yield chosen
    while TO_CLOSE:
        TO_CLOSE.pop()()


@contextmanager
def opened(opener: Opener, folder: Path) -> Iterator[Coordinator]:
    """Open and close: a process must not be forked while a database or a session is open."""
    coordinator = opener(folder)
    yield coordinator
    store = coordinator.store if isinstance(coordinator, ProvedCoordinator) else coordinator
    if isinstance(store, LocalCoordinator):
        store.close()
    while TO_CLOSE:
        TO_CLOSE.pop()()


@pytest.fixture
def coordinator(opener: Opener, tmp_path: Path) -> Iterator[Coordinator]:
    with opened(opener, tmp_path) as made:
        yield made


def put_once(opener: Opener, folder: Path, changes: dict[str, Change]) -> None:
    with opened(opener, folder) as coordinator:
        coordinator.put(changes)


def get_once(opener: Opener, folder: Path, key: str) -> Versioned | None:
    with opened(opener, folder) as coordinator:
        return coordinator.get(key)


def test_an_unknown_key(coordinator: Coordinator) -> None:
    assert coordinator.get("config") is None


def test_versions_count_from_one(coordinator: Coordinator) -> None:
    coordinator.put({"config": Change(b"first", 0)})
    assert coordinator.get("config") == Versioned(b"first", 1)
    coordinator.put({"config": Change(b"", 1)})
    assert coordinator.get("config") == Versioned(b"", 2)


def test_version_without_the_value(coordinator: Coordinator) -> None:
    assert coordinator.version("config") == 0
    coordinator.put({"config": Change(b"first", 0)})
    coordinator.put({"config": Change(b"second", 1)})
    assert coordinator.version("config") == 2


def test_delete(coordinator: Coordinator) -> None:
    coordinator.put({"config/previous": Change(b"x", 0)})
    coordinator.put({"config/previous": Change(None, 1)})
    assert coordinator.get("config/previous") is None


def test_deleting_what_is_not_there(coordinator: Coordinator) -> None:
    coordinator.put({"pending": Change(None, 0)})
    assert coordinator.get("pending") is None


@pytest.mark.parametrize("expected", [0, 2])
def test_another_version_is_refused(coordinator: Coordinator, expected: int) -> None:
    coordinator.put({"config": Change(b"first", 0)})
    with pytest.raises(ConflictError, match="config"):
        coordinator.put({"config": Change(b"second", expected)})
    assert coordinator.get("config") == Versioned(b"first", 1)


def test_all_or_nothing(coordinator: Coordinator) -> None:
    """One wrong version undoes the whole transaction, deletions too."""
    coordinator.put({"a": Change(b"a", 0), "b": Change(b"b", 0)})
    with pytest.raises(ConflictError):
        coordinator.put({"a": Change(b"A", 1), "b": Change(None, 1), "c": Change(b"C", 7)})
    assert coordinator.get("a") == Versioned(b"a", 1)
    assert coordinator.get("b") == Versioned(b"b", 1)
    coordinator.put({"a": Change(b"A", 1), "b": Change(None, 1), "c": Change(b"C", 0)})
    assert coordinator.get("b") is None
    assert coordinator.get("c") == Versioned(b"C", 1)


def test_values_outlive_the_connection(opener: Opener, tmp_path: Path) -> None:
    put_once(opener, tmp_path, {"config": Change(bytes(range(256)) * 1000, 0)})
    assert get_once(opener, tmp_path, "config") == Versioned(bytes(range(256)) * 1000, 1)


def test_members(coordinator: Coordinator) -> None:
    with coordinator.alive():
        assert coordinator.members() == ["node1"]


def test_an_unknown_change_has_no_outcome(coordinator: Coordinator) -> None:
    with pytest.raises(CoordinationError, match="a change that nobody sent"):
        coordinator.outcome("a change that nobody sent")


def test_threads_share_one_coordinator(coordinator: Coordinator) -> None:
    coordinator.put({"count": Change(b"0", 0)})
    threads = [threading.Thread(target=_count_up, args=(coordinator, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert coordinator.get("count") == Versioned(b"80", 81)


def test_processes_race_without_a_lost_update(opener: Opener, tmp_path: Path) -> None:
    """Compare-and-set alone, no lock: every success counts exactly once."""
    put_once(opener, tmp_path, {"count": Change(b"0", 0)})
    _run_racers(_race_compare_and_set, opener, tmp_path)
    assert get_once(opener, tmp_path, "count") == Versioned(b"80", RACERS * ROUNDS + 1)


def test_processes_race_for_a_lock(opener: Opener, tmp_path: Path) -> None:
    """Under the lock nobody ever sees another's half-done work: no ConflictError at all."""
    put_once(opener, tmp_path, {"count": Change(b"0", 0)})
    _run_racers(_race_locked, opener, tmp_path)
    assert get_once(opener, tmp_path, "count") == Versioned(b"80", RACERS * ROUNDS + 1)


def test_a_held_lock_names_its_holder(opener: Opener, tmp_path: Path) -> None:
    first, second = opener(tmp_path), opener(tmp_path)
    with first.lock("configuration", wait_s=0):
        start = time.monotonic()
        with (
            pytest.raises(ConflictError, match=rf"configuration is locked by .*{os.getpid()}"),
            second.lock("configuration", wait_s=0.2),
        ):
            pytest.fail("two hold it")
        assert time.monotonic() - start >= 0.2
        with second.lock("another", wait_s=0):
            pass
    with second.lock("configuration", wait_s=0):
        pass


def test_a_waiter_gets_the_lock(opener: Opener, tmp_path: Path) -> None:
    first, second = opener(tmp_path), opener(tmp_path)
    held, got = threading.Event(), threading.Event()

    def hold() -> None:
        with first.lock("configuration", wait_s=0):
            held.set()
            time.sleep(0.1)

    def wait() -> None:
        held.wait(60)
        with second.lock("configuration", wait_s=60):
            got.set()

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got.is_set()


def test_a_lock_is_freed_by_an_error(coordinator: Coordinator) -> None:
    def fail() -> None:
        with coordinator.lock("configuration", wait_s=0):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with coordinator.lock("configuration", wait_s=0):
        pass


def test_a_lock_is_freed_by_death(opener: Opener, tmp_path: Path) -> None:
    """kill -9 leaves no lock behind."""
    script = (
        "import sys, time, importlib.util as u\n"
        "from pathlib import Path\n"
        f"spec = u.spec_from_file_location('suite', {__file__!r})\n"
        "suite = u.module_from_spec(spec); spec.loader.exec_module(suite)\n"
        f"c = suite.{opener.__name__}(Path({str(tmp_path)!r}))\n"
        "with c.lock('configuration', wait_s=0):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConflictError, match=str(holder.pid)),
            opener(tmp_path).lock("configuration", wait_s=0),
        ):
            pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with opener(tmp_path).lock("configuration", wait_s=60):
            pass


def test_a_token_rises_with_each_holder(opener: Opener, tmp_path: Path) -> None:
    """House 2.6: an authority that remembers the highest token refuses every holder before."""
    leases: list[Lease] = []
    for coordinator in (opener(tmp_path), opener(tmp_path)):
        for _ in range(2):
            with coordinator.lock("kms", wait_s=0) as lease:
                leases.append(lease)
    assert [one.name for one in leases] == ["kms"] * 4
    assert all(one.token < after.token for one, after in pairwise(leases))


def test_a_put_under_a_lost_lock_is_refused(opener: Opener, tmp_path: Path) -> None:
    """House 2.6: a paused holder's write, which nothing but the fence can stop; not one of its keys is changed."""
    paused, next_one = opener(tmp_path), opener(tmp_path)
    paused.put({"config": Change(b"first", 0)})
    with paused.lock("kms", wait_s=0):
        paused.put({"config": Change(b"held", 1)})
        TAKERS[opener](tmp_path, "kms")
        with next_one.lock("kms", wait_s=0):
            with pytest.raises(ConflictError, match="'kms' is no longer held"):
                paused.put({"config": Change(b"late", 2), "other": Change(b"late", 0)})
            next_one.put({"config": Change(b"next", 2)})
        with pytest.raises(ConflictError, match="'kms' is no longer held"):
            paused.put({"config": Change(b"late", 3)})
    assert paused.get("config") == Versioned(b"next", 3)
    assert paused.get("other") is None
    paused.put({"config": Change(b"without a lock", 3)})


def test_every_lock_of_the_thread_counts(opener: Opener, tmp_path: Path) -> None:
    """The outer lock is lost while an inner one is held."""
    holder, other = opener(tmp_path), opener(tmp_path)
    with holder.lock("kms", wait_s=0), holder.lock("configuration", wait_s=0):
        TAKERS[opener](tmp_path, "kms")
        with other.lock("kms", wait_s=0), pytest.raises(ConflictError, match="'kms'"):
            holder.put({"config": Change(b"late", 0)})
    assert holder.get("config") is None


def test_a_thread_works_under_the_lease_of_another(opener: Opener, tmp_path: Path) -> None:
    holder, other = opener(tmp_path), opener(tmp_path)
    with holder.lock("kms", wait_s=0) as lease:
        in_thread(lambda: holder.put({"config": Change(b"held", 0)}, lease=lease))
        TAKERS[opener](tmp_path, "kms")
        with other.lock("kms", wait_s=0):
            refused = in_thread(lambda: holder.put({"config": Change(b"late", 1)}, lease=lease))
            assert isinstance(refused, ConflictError)
            # a thread without a part in the lock is not stopped by its loss
            assert in_thread(lambda: holder.put({"another": Change(b"x", 0)})) is None
    assert holder.get("config") == Versioned(b"held", 1)


def test_a_lease_ends_with_its_block(coordinator: Coordinator) -> None:
    """Also where nobody has taken the lock since."""
    with coordinator.lock("kms", wait_s=0) as lease:
        pass
    with pytest.raises(ConflictError, match="'kms' is no longer held"):
        coordinator.put({"config": Change(b"late", 0)}, lease=lease)
    coordinator.put({"config": Change(b"first", 0)})


def test_tokens_are_nobody_elses_to_write(coordinator: Coordinator) -> None:
    with coordinator.lock("kms", wait_s=0) as lease, pytest.raises(UsageError, match="locks/kms"):
        coordinator.put({f"{LOCKS}kms": Change(None, lease.token)})
    assert coordinator.version(f"{LOCKS}kms") == lease.token


def test_list(coordinator: Coordinator) -> None:
    """Keys just before and just behind the prefix do not belong to it; nor does the prefix itself."""
    inside = ["journal/rotation/a", "journal/rotation/b/c", "journal/rotation/\U0010ffff"]
    outside = ["journal/rotation", "journal/rotation/", "journal/rotation.a", "journal/rotation0"]
    coordinator.put({key: Change(key.encode(), 0) for key in reversed([*inside, *outside])})
    coordinator.put({inside[1]: Change(b"again", 1)})
    listed = coordinator.list("journal/rotation/")
    assert list(listed) == inside
    assert listed[inside[0]] == Versioned(inside[0].encode(), 1)
    assert listed[inside[1]] == Versioned(b"again", 2)
    assert coordinator.list("nothing/") == {}


def test_everything_is_listed_but_the_coordinators_own(coordinator: Coordinator) -> None:
    keys = ["config", "journal/rotation/a", "lockst", "topology/credentials"]
    coordinator.put({key: Change(key.encode(), 0) for key in keys})
    with coordinator.lock("kms", wait_s=0):
        assert list(coordinator.list("")) == keys


@pytest.mark.parametrize("prefix", ["journal", "journal/rotatio"])
def test_a_prefix_ends_with_a_slash(coordinator: Coordinator, prefix: str) -> None:
    """A coordination service of folders can list nothing else."""
    with pytest.raises(UsageError, match="does not end"):
        coordinator.list(prefix)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "UPPER", "-x", "x" * 64])
def test_names_of_locks(coordinator: Coordinator, name: str) -> None:
    """A name never leads out of the folder of locks."""
    with pytest.raises(UsageError):
        coordinator.lock(name, wait_s=0)


def test_watch(opener: Opener, tmp_path: Path) -> None:
    with opened(opener, tmp_path) as watcher, opened(opener, tmp_path) as writer:
        writer.put({"config": Change(b"old", 0)})
        seen: list[Versioned | None] = []
        noticed = threading.Event()

        def notice(value: Versioned | None) -> None:
            seen.append(value)
            noticed.set()

        stop = watcher.watch("config", notice)
        for change, expected in (
            (Change(b"new", 1), Versioned(b"new", 2)),
            (Change(None, 2), None),
        ):
            noticed.clear()
            writer.put({"config": change})
            assert noticed.wait(60)
            assert seen[-1] == expected
        stop()
        writer.put({"config": Change(b"unseen", 0)})
        time.sleep(0.4)
        assert len(seen) == 2


def test_a_watch_may_stop_itself(coordinator: Coordinator) -> None:
    stops: list[Callable[[], None]] = []
    stopped = threading.Event()

    def notice(value: Versioned | None) -> None:
        del value
        stops[0]()
        stopped.set()

    stops.append(coordinator.watch("config", notice))
    coordinator.put({"config": Change(b"x", 0)})
    assert stopped.wait(60)


def in_thread(work: Callable[[], None]) -> Exception | None:
    """What a thread of its own was refused with."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except ConflictError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return raised[0] if raised else None


def _count_up(coordinator: Coordinator, rounds: int) -> None:
    done = 0
    while done < rounds:
        present = coordinator.get("count")
        assert present is not None
        number = str(int(present.value) + 1).encode()
        try:
            coordinator.put({"count": Change(number, present.version)})
        except ConflictError:
            continue
        done += 1


def _race_compare_and_set(opener: Opener, folder: Path) -> None:
    with opened(opener, folder) as coordinator:
        _count_up(coordinator, ROUNDS)


def _race_locked(opener: Opener, folder: Path) -> None:
    with opened(opener, folder) as coordinator:
        for _ in range(ROUNDS):
            with coordinator.lock("configuration", wait_s=30):
                present = coordinator.get("count")
                assert present is not None
                number = str(int(present.value) + 1).encode()
                coordinator.put({"count": Change(number, present.version)})


def _run_racers(target: Callable[[Opener, Path], None], opener: Opener, folder: Path) -> None:
    # a fork has the locks of OpenSSL as some thread held them
    forks, spawns = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
    process = forks.Process if opener is open_local else spawns.Process
    racers = [process(target=target, args=(opener, folder)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
