"""Faults between a coordinator and real servers of ZooKeeper: lost answers, lost locks, lost servers (matrix 1–6, 8)."""

import time
from collections.abc import Callable

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.coordination.zookeeper.settings import Limits
from strongroom.errors import (
    ConflictError,
    CoordinationError,
    OutcomeUnknown,
)
from tests.conftest import Torture
from tests.contract.coordination.calls import Running, all_links, wait_for
from tests.contract.coordination.conftest import Lab
from tests.support.components.zookeeper_ensemble import LIMITS, SESSION_S, Server
from tests.support.links import Mode

IMPATIENT = LIMITS._replace(session_s=5.0, read_s=1.0, put_s=1.0)
# a machine that is busy gives a thread its processor this much later; a call without an end takes for ever
BUSY_S = 5.0


def swallowed(lab: Lab) -> int:
    return sum(link.swallowed for link in lab.ensemble.links())


def markers(lab: Lab) -> dict[str, bytes]:
    """The markers of puts, as a foreign client reads them."""
    with lab.ensemble.judge() as client:
        folder = f"{lab.root}/txn"
        return {name: client.get(f"{folder}/{name}")[0] for name in client.get_children(folder)}


def test_a_lost_answer_of_a_put_that_was_made(lab: Lab) -> None:
    """Matrix 3: the put returns, was made once, and was not sent again."""
    with lab.two() as (coordinator, judge):
        coordinator.put({"config": Change(b"first", 0)})
        with all_links(lab, Mode.LOSE_ANSWERS):
            put = Running(lambda: coordinator.put({"config": Change(b"second", 1)}))
            wait_for(lambda: judge.version("config") == 2)
            assert put.goes_on
        assert put.ended().error is None
        assert judge.get("config") == Versioned(b"second", 2)
    assert list(markers(lab).values()) == [b"made", b"made"]


def test_a_lost_request_of_a_put(lab: Lab) -> None:
    """Matrix 3: the put is first known not to be made, then sent again, and made once."""
    with lab.two() as (coordinator, judge):
        coordinator.put({"config": Change(b"first", 0)})
        with all_links(lab, Mode.LOSE_REQUESTS):
            put = Running(lambda: coordinator.put({"config": Change(b"second", 1)}))
            wait_for(lambda: swallowed(lab))
            assert judge.version("config") == 1
        assert put.ended().error is None
        assert judge.get("config") == Versioned(b"second", 2)
    assert sorted(markers(lab).values()) == [b"made", b"made", b"withdrawn"]


def unknown_put(lab: Lab, mode: Mode, change: Change) -> OutcomeUnknown:
    """A put whose outcome its own process cannot find out in its limit."""
    with lab.coordinator(limits=IMPATIENT) as coordinator:
        coordinator.version("config")
        for link in lab.ensemble.links():
            link.become(mode)
        put = Running(lambda: coordinator.put({"config": change})).ended()
        for link in lab.ensemble.links():
            # as when a request waits in a network: the server's side stays, and the session with it
            link.cut_clients()
            link.become(Mode.REFUSE)
        assert isinstance(put.error, OutcomeUnknown), put.error
        assert put.error.exit_code == 42
        assert put.took < IMPATIENT.put_s + IMPATIENT.read_s + BUSY_S
        error = put.error
    for link in lab.ensemble.links():
        link.become(Mode.PASS)
    return error


def test_an_outcome_that_another_process_finds_out(lab: Lab) -> None:
    """Both outcomes, after the process of the put gave up with exit code 42."""
    with lab.two() as (_, judge):
        judge.put({"config": Change(b"first", 0)})
        made = unknown_put(lab, Mode.LOSE_ANSWERS, Change(b"second", 1))
        assert judge.outcome(made.change_id)
        lost = unknown_put(lab, Mode.LOSE_REQUESTS, Change(b"third", 2))
        assert not judge.outcome(lost.change_id)
        assert judge.get("config") == Versioned(b"second", 2)
        assert judge.outcome(made.change_id)
        assert not judge.outcome(lost.change_id)


def late_version(lab: Lab, resolve: Callable[[ZookeeperCoordinator, str], object]) -> int:
    """The entry's version after a put came too late, whose outcome was found out meanwhile in some way."""
    with lab.two() as (_, judge):
        judge.put({"config": Change(b"first", 0)})
        late = unknown_put(lab, Mode.HOLD_REQUESTS, Change(b"late", 1))
        assert not resolve(judge, late.change_id)
        assert sum(link.deliver() for link in lab.ensemble.links())
        until = time.monotonic() + 3
        while judge.version("config") == 1 and time.monotonic() < until:
            time.sleep(0.1)
        return judge.version("config")


def test_a_put_that_comes_too_late_is_refused(lab: Lab) -> None:
    """A request that waited in the network is delivered after its outcome was told: not made, and so it stays."""
    assert late_version(lab, ZookeeperCoordinator.outcome) == 1


def test_a_mere_look_at_the_marker_would_not_do(lab: Lab) -> None:
    """The twin that is broken on purpose: who only looks says "not made", and then it is made."""

    def look(_: ZookeeperCoordinator, put_id: str) -> bool:
        return put_id in markers(lab)

    assert late_version(lab, look) == 2


def test_a_holder_whose_session_ended_cannot_put(lab: Lab) -> None:
    """Matrix 5 and 6: it was cut off while the lock passed on, and knows of nothing."""
    with lab.two() as (paused, other):
        other.put({"config": Change(b"first", 0)})
        with paused.lock("kms", wait_s=0) as lease:
            with all_links(lab, Mode.LOSE_ALL), other.lock("kms", wait_s=30) as next_lease:
                assert next_lease.token > lease.token
                other.put({"config": Change(b"next", 1)})
            with pytest.raises(ConflictError, match="'kms' is no longer held"):
                paused.put({"config": Change(b"late", 2), "more": Change(b"late", 0)})
        assert other.get("config") == Versioned(b"next", 2)
        assert other.get("more") is None


def test_a_short_cut_does_not_cost_the_lock(lab: Lab) -> None:
    with lab.coordinator() as coordinator:
        with coordinator.lock("kms", wait_s=0):
            for link in lab.ensemble.links():
                link.cut()
            coordinator.put({"config": Change(b"held", 0)})
        with coordinator.lock("kms", wait_s=0):
            pass


def test_the_lost_answer_of_a_lock(lab: Lab) -> None:
    """The lock is taken once, by whoever asked for it, and freed at the end of its block."""
    for mode in (Mode.LOSE_ANSWERS, Mode.LOSE_REQUESTS):
        with lab.two() as (coordinator, other):
            coordinator.version("config")
            got: list[int] = []

            def take(coordinator: ZookeeperCoordinator = coordinator, got: list[int] = got) -> None:
                with coordinator.lock("kms", wait_s=0) as lease:
                    coordinator.put({"config": Change(b"x", coordinator.version("config"))})
                    got.append(lease.token)

            with all_links(lab, mode):
                taking = Running(take)
                wait_for(lambda: swallowed(lab))
                time.sleep(0.1)
            assert taking.ended().error is None
            with other.lock("kms", wait_s=0) as lease:
                assert lease.token > got[0]


def test_a_lock_that_could_not_be_freed_is_freed_later(lab: Lab) -> None:
    """The block ends while nobody answers; the session goes on, and the lock must not go on with it."""
    with lab.coordinator(limits=IMPATIENT) as coordinator, lab.coordinator() as other:
        with coordinator.lock("kms", wait_s=0):
            for link in lab.ensemble.links():
                link.become(Mode.REFUSE)
                link.cut()
            began = time.monotonic()
        assert time.monotonic() - began < IMPATIENT.read_s + 1
        lab.ensemble.mend()
        with other.lock("kms", wait_s=SESSION_S + 5):
            pass


def test_a_killed_server(lab: Lab, torture: Torture) -> None:
    """Matrix 1: changes are made again within the limit of a put, whichever server goes; in a sample, the leader."""
    leader = lab.ensemble.leader()
    followers = [one for one in lab.ensemble.servers if one is not leader]
    for gone in [leader, *followers] if torture.whole else [leader]:
        own = Lab(lab.ensemble, f"{lab.root}-{gone.number}", lab.folder)
        changes_go_on(own, gone)
        lab.ensemble.mend()


def changes_go_on(lab: Lab, gone: Server) -> None:
    only = f"localhost:{gone.link.port}"
    everywhere = lab.ensemble.hosts
    # the client begins at the server that goes
    hosts = ",".join([only, *(one for one in everywhere.split(",") if one != only)])
    with lab.coordinator(hosts=hosts) as coordinator, coordinator.lock("kms", wait_s=0):
        coordinator.put({"config": Change(b"before", 0)})
        gone.component.kill()
        began = time.monotonic()
        coordinator.put({"config": Change(b"after", 1)})
        assert time.monotonic() - began < LIMITS.put_s
        assert coordinator.get("config") == Versioned(b"after", 2)


def test_without_a_quorum_every_call_ends(lab: Lab) -> None:
    """Matrix 2, E13: exit code 40 within the stated limit, whatever is asked; afterwards all goes on by itself."""
    limits = LIMITS._replace(read_s=3.0, put_s=5.0)
    with lab.coordinator(limits=limits) as coordinator:
        coordinator.put({"config": Change(b"before", 0)})
        for one in lab.ensemble.servers[:2]:
            one.component.kill()
        # a leader answers for a moment after it has lost its followers
        wait_for(lambda: b"Mode: " not in lab.ensemble.said(lab.ensemble.servers[2]))
        calls: list[Callable[[], object]] = [
            lambda: coordinator.get("config"),
            lambda: coordinator.version("config"),
            lambda: coordinator.list("journal/"),
            coordinator.members,
            lambda: coordinator.lock("kms", wait_s=0).__enter__(),
            lambda: coordinator.outcome("01890a5d-ac96-774b-bcce-b302099a8057"),
        ]
        # all that are sent before it is known that nobody answers
        putting = Running(lambda: coordinator.put({"config": Change(b"after", 1)}))
        asked = [Running(call) for call in calls]
        for asking in asked:
            ended = asking.ended(limits.read_s + BUSY_S)
            assert isinstance(ended.error, CoordinationError), ended.error
            assert ended.error.exit_code == 40
            assert ended.took < limits.read_s + BUSY_S
        put = putting.ended(limits.put_s + limits.read_s)
        assert isinstance(put.error, CoordinationError | OutcomeUnknown), put.error
        again = Running(lambda: coordinator.put({"config": Change(b"after", 1)}))
        assert isinstance(again.ended(limits.read_s + BUSY_S).error, CoordinationError)
        lab.ensemble.mend()
        assert coordinator.get("config") in {Versioned(b"before", 1), Versioned(b"after", 2)}
        with coordinator.lock("kms", wait_s=SESSION_S + 5):
            pass


def test_a_follower_that_is_behind_does_not_answer_with_the_past(lab: Lab) -> None:
    """Matrix 8: what a put has returned is read at once, also by a server that gets it late."""
    leader = lab.ensemble.leader()
    behind = next(one for one in lab.ensemble.servers if one is not leader)
    direct = f"localhost:{leader.port}"
    with (
        lab.coordinator(hosts=direct) as writer,
        lab.coordinator(hosts=f"localhost:{behind.link.port}") as reader,
    ):
        writer.put({"config": Change(b"0", 0)})
        reader.get("config")
        leader.peers[behind.number].delay_s = 0.05
        for number in range(1, 6):
            writer.put({"config": Change(str(number).encode(), number)})
            assert reader.version("config") == number + 1
            assert reader.get("config") == Versioned(str(number).encode(), number + 1)
        # broken on purpose: the same server, asked without a sync
        writer.put({"config": Change(b"last", 6)})
        path = f"{lab.root}/kv/config"
        stat = reader._session.ask(lambda client: client.exists_async(path))
        assert stat.version == 5


def test_limits_are_those_of_the_design() -> None:
    """The defaults: a session of 10 s, exit code 40 before 10 s, and no put beyond 30 s."""
    assert Limits() == Limits(session_s=10, read_s=9, put_s=30, poll_s=15, connect_s=2)
