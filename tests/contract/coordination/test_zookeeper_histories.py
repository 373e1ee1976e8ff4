"""Histories of many clients over real servers that fail, judged by a checker of our own (E5); and what it must find."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from strongroom.coordination.base import Change, Coordinator, Lease, Versioned
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.requests import Operation
from strongroom.errors import ConflictError, CoordinationError, OutcomeUnknown
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.contract.coordination.calls import Running, all_links, wait_for
from tests.contract.coordination.conftest import Lab
from tests.support.components.zookeeper_ensemble import LIMITS
from tests.support.histories import NEVER, Call, History, Kind, is_linearizable
from tests.support.links import Mode

KEY = "config"
QUICK = LIMITS._replace(session_s=2.0, read_s=4.0, put_s=8.0)


class Client:
    """A coordinator whose calls are kept in a history."""

    def __init__(self, coordinator: Coordinator, history: History) -> None:
        self._coordinator = coordinator
        self._history = history

    def read(self) -> int:
        """Read the key; its version."""
        with self._history.timed() as moment:
            found = self._coordinator.get(KEY) or Versioned(b"", 0)
            begun, ended = moment()
        value = found.value.decode()
        self._history.add(Call(Kind.READ, begun, ended, True, value, found.version))
        return found.version

    def put(self, expected: int, lease: Lease | None = None) -> None:
        """Put a new value, whatever comes of it."""
        value, epoch = secrets.token_hex(4), lease.token if lease else 0
        made: bool | None = True
        with self._history.timed() as moment:
            try:
                self._coordinator.put({KEY: Change(value.encode(), expected)})
            except ConflictError:
                made = False
            except OutcomeUnknown:
                made = None
            except CoordinationError:
                # nothing was changed: as if it had not been called
                return
            begun, ended = moment()
        ended = NEVER if made is None else ended
        self._history.add(Call(Kind.PUT, begun, ended, made, value, expected, epoch))

    def under_lock(self, work: Callable[[Lease], None]) -> None:
        """Take the lock, and do something."""
        begun = time.monotonic()
        with self._coordinator.lock("kms", wait_s=2) as lease:
            self._history.add(Call(Kind.TAKE, begun, time.monotonic(), True, epoch=lease.token))
            work(lease)

    def turn(self, chance: random.Random) -> None:
        """Do something by chance."""
        version = self.read()
        if chance.random() < 0.3:
            self.put(version)
        elif chance.random() < 0.3:
            self.under_lock(lambda lease: self.put(self.read(), lease))


# ---------------------------------------------------------------- faults by chance


def cut(lab: Lab, _: random.Random) -> None:
    for link in lab.ensemble.links():
        link.cut()


def one_way(mode: Mode) -> Callable[[Lab, random.Random], None]:
    def fault(lab: Lab, chance: random.Random) -> None:
        with all_links(lab, mode):
            time.sleep(chance.uniform(0.05, 0.3))

    return fault


def hold_and_deliver(lab: Lab, chance: random.Random) -> None:
    links = lab.ensemble.links()
    for link in links:
        link.become(Mode.HOLD_REQUESTS)
    time.sleep(chance.uniform(0.05, 0.3))
    for link in links:
        link.cut_clients()
        link.become(Mode.PASS)
    time.sleep(chance.uniform(0.05, 0.5))
    for link in links:
        link.deliver()


def one_server_away(lab: Lab, chance: random.Random) -> None:
    link = chance.choice(lab.ensemble.links())
    link.become(Mode.REFUSE)
    link.cut()
    time.sleep(chance.uniform(0.1, 0.5))
    link.become(Mode.PASS)


def a_follower_is_late(lab: Lab, chance: random.Random) -> None:
    peers = lab.ensemble.leader().peers
    late = peers[chance.choice(sorted(peers))]
    late.delay_s = chance.uniform(0.01, 0.1)
    time.sleep(chance.uniform(0.2, 0.6))
    late.delay_s = 0.0


def a_server_hangs(lab: Lab, chance: random.Random) -> None:
    with chance.choice(lab.ensemble.servers).component.hung():
        time.sleep(chance.uniform(0.1, 0.8))


def a_session_ends(lab: Lab, _: random.Random) -> None:
    """Nobody is heard of for longer than a session."""
    with all_links(lab, Mode.LOSE_ALL):
        time.sleep(QUICK.session_s + 0.5)


def a_lock_is_lost(lab: Lab, _: random.Random) -> None:
    from kazoo.exceptions import NoNodeError

    with lab.ensemble.judge() as client:
        try:
            client.delete(f"{lab.root}/locks/kms/held")
        except NoNodeError:
            return


def a_server_is_killed(lab: Lab, chance: random.Random) -> None:
    with chance.choice(lab.ensemble.servers).component.down(killed=True):
        time.sleep(chance.uniform(0.1, 0.5))


FAULTS: Mapping[str, Callable[[Lab, random.Random], None]] = {
    "cut": cut,
    "lose answers": one_way(Mode.LOSE_ANSWERS),
    "lose requests": one_way(Mode.LOSE_REQUESTS),
    "lose all": one_way(Mode.LOSE_ALL),
    "hold and deliver": hold_and_deliver,
    "one server away": one_server_away,
    "a follower is late": a_follower_is_late,
    "a server hangs": a_server_hangs,
    "a session ends": a_session_ends,
    "a lock is lost": a_lock_is_lost,
}
#: Slow for a test of every day: a server needs seconds to come back.
MORE_FAULTS = {**FAULTS, "a server is killed": a_server_is_killed}


@pytest.mark.torture
def test_a_history_under_faults_is_linearizable(
    lab: Lab, torture: Torture, record_property: Callable[[str, object], None]
) -> None:
    """E5: clients read, put and lock while links and servers fail; some order of the calls explains all answers."""
    chance = random.Random(torture.seed)
    faults = MORE_FAULTS if torture.whole else FAULTS
    rounds = 60 if torture.whole else 1
    calls = sum(_round(lab, chance, faults) for _ in range(rounds))
    record_property(
        "torture", f"{calls} calls of {rounds} histories, {len(faults)} kinds of faults"
    )
    assert calls > 20 * rounds


def _round(
    lab: Lab, chance: random.Random, faults: Mapping[str, Callable[[Lab, random.Random], None]]
) -> int:
    """One history, long enough for each fault once; how many calls."""
    own = Lab(lab.ensemble, f"{lab.root}{secrets.token_hex(4)}", lab.folder)
    history, ended = History(), threading.Event()
    order = chance.sample(sorted(faults), len(faults))
    with ExitStack() as stack:
        threads = []
        for _ in range(3):
            client = Client(stack.enter_context(own.coordinator(limits=QUICK)), history)
            seed = chance.random()
            threads.append(threading.Thread(target=_turns, args=(client, seed, ended)))
        for thread in threads:
            thread.start()
        try:
            for name in order:
                faults[name](own, chance)
                time.sleep(0.2)
            ended.wait(0.5)
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert is_linearizable(history.calls), f"faults in this order: {order}"
    return len(history.calls)


def _turns(client: Client, seed: float, ended: threading.Event) -> None:
    chance = random.Random(seed)
    while not ended.wait(chance.uniform(0, 0.02)):
        try:
            client.turn(chance)
        except (ConflictError, CoordinationError):
            continue


# ---------------------------------------------------------------- broken on purpose


class Unfenced(ZookeeperCoordinator):
    """Its puts do not check that its locks are still held."""

    @override
    def _fences(self, lease: Lease | None) -> tuple[Operation, ...]:
        return ()


class Stale(ZookeeperCoordinator):
    """It reads from whichever server it has, without a sync."""

    @override
    def get(self, key: str) -> Versioned | None:
        path = f"{self._settings.root}/kv/{key}"
        raw, stat = self._session.ask(lambda client: client.get_async(path))
        return Versioned(raw[33:], stat.version + 1)


class Blind(ZookeeperCoordinator):
    """It sends a put again without knowing what came of it."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        puts: Any = self._puts
        puts._found_out = lambda *_: False


class Deaf(ZookeeperCoordinator):
    """It takes a put whose answer was lost for one that was not made, and says so."""

    @override
    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        puts: Any = self._puts
        puts._found_out = self._give_up
        super().put(changes, lease=lease)

    def _give_up(self, *_: object) -> bool:
        raise ConflictError("it was not made")


class Forgetful(ZookeeperCoordinator):
    """It answers with what it has read once, even after its own change."""

    kept: Versioned | None = None

    @override
    def get(self, key: str) -> Versioned | None:
        self.kept = self.kept or super().get(key)
        return self.kept


def a_paused_holder(lab: Lab, kind: type[ZookeeperCoordinator]) -> History:
    history = History()
    with lab.coordinator(kind=kind) as paused, lab.coordinator() as other:
        first, second = Client(paused, history), Client(other, history)

        def meanwhile(lease: Lease) -> None:
            a_lock_is_lost(lab, random.Random())
            second.under_lock(lambda held: second.put(second.read(), held))
            first.put(first.read(), lease)

        first.under_lock(meanwhile)
        second.read()
    return history


def a_follower_behind(lab: Lab, kind: type[ZookeeperCoordinator]) -> History:
    history = History()
    leader = lab.ensemble.leader()
    behind = next(one for one in lab.ensemble.servers if one is not leader)
    with (
        lab.coordinator(hosts=f"localhost:{leader.port}") as writer,
        lab.coordinator(kind=kind, hosts=f"localhost:{behind.link.port}") as reader,
    ):
        first, second = Client(writer, history), Client(reader, history)
        first.put(first.read())
        wait_for(lambda: reader.version(KEY) == 1)
        second.read()
        leader.peers[behind.number].delay_s = 0.2
        first.put(first.read())
        second.read()
    return history


def a_lost_answer(lab: Lab, kind: type[ZookeeperCoordinator]) -> History:
    history = History()
    with lab.coordinator(kind=kind) as coordinator, lab.coordinator() as other:
        first, second = Client(coordinator, history), Client(other, history)
        first.put(first.read())
        direct = ",".join(f"localhost:{one.port}" for one in lab.ensemble.servers)
        with lab.coordinator(hosts=direct) as judge:
            with all_links(lab, Mode.LOSE_ANSWERS):
                put = Running(lambda: first.put(1))
                wait_for(lambda: judge.version(KEY) == 2)
            put.ended()
        second.read()
    return history


def an_own_change(lab: Lab, kind: type[ZookeeperCoordinator]) -> History:
    history = History()
    with lab.coordinator(kind=kind) as coordinator:
        client = Client(coordinator, history)
        client.put(0)
        client.put(client.read())
        client.read()
    return history


Scenario = Callable[[Lab, type[ZookeeperCoordinator]], History]
BROKEN: list[tuple[Scenario, type[ZookeeperCoordinator]]] = [
    (a_paused_holder, Unfenced),
    (a_follower_behind, Stale),
    (a_lost_answer, Blind),
    (a_lost_answer, Deaf),
    (an_own_change, Forgetful),
]


@pytest.mark.parametrize(
    ("scenario", "kind"), BROKEN, ids=[kind.__name__.lower() for _, kind in BROKEN]
)
def test_the_checker_finds_what_is_broken_on_purpose(
    lab: Lab, scenario: Scenario, kind: type[ZookeeperCoordinator]
) -> None:
    """E5, E22: five coordinators that are wrong; the real one passes the very same."""
    whole = scenario(lab, ZookeeperCoordinator).calls
    assert is_linearizable(whole), whole
    again = Lab(lab.ensemble, f"{lab.root}-broken", lab.folder)
    lab.ensemble.mend()
    assert not is_linearizable(scenario(again, kind).calls)
