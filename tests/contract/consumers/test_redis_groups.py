"""Servers of Redis beside the configured one learn the password too, or are named (findings K15)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from strongroom.consumers import redis_places
from strongroom.consumers.base import Credential, UnprovenLoginError
from strongroom.consumers.redis_server import Place, RedisSettings
from strongroom.consumers.redis_user import PARAMETER, RedisConsumer
from strongroom.crypto import rng
from strongroom.errors import ConsumerError, ConsumerRefusedError, ConsumerUnavailableError
from strongroom.node.opening import Node
from tests.contract.consumers.rotating import configure, configured, rotate
from tests.support.components.redis import Redis, acl_hash, running_redis
from tests.support.components.redis_groups import (
    ROOT,
    administer,
    attach,
    cluster,
    primary_with_replicas,
    sentinel,
)
from tests.support.emulators import free_port

USER = "strongroom"
DOCUMENTED = "~* &* +@read +@write +acl +client +ping +info"
Group = Callable[..., AbstractContextManager[list[Redis]]]


def fresh() -> Credential:
    return Credential({PARAMETER: rng.new_password()})


def text(credential: Credential) -> str:
    return credential.only().reveal().decode()


def line_of(present: Credential, rights: str = "~* &* +@all") -> str:
    return f"user {USER} on {acl_hash(text(present))} {rights}"


def consumer(server: Redis, **settings: Any) -> RedisConsumer:
    where = {"host": "127.0.0.1", "port": server.port, **settings}
    return RedisConsumer(RedisSettings(USER, **where), lambda _: ())


def chain(count: int, *acl: str) -> AbstractContextManager[list[Redis]]:
    return primary_with_replicas(count, *acl, chained=True)


GROUPS: dict[str, tuple[Group, int, str]] = {
    "replica": (primary_with_replicas, 1, DOCUMENTED),
    "replicas": (primary_with_replicas, 2, DOCUMENTED),
    "chained-replicas": (chain, 2, DOCUMENTED),
    "cluster": (cluster, 3, f"{DOCUMENTED} +cluster"),
}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("by_socket", [False, True], ids=["host", "socket"])
def test_every_server_of_a_group_has_the_new_password_and_no_old_one(
    group: str, node: Node, *, by_socket: bool
) -> None:
    """Findings K15: the replica kept the old one, and would have refused every client after a failover."""
    start, count, rights = GROUPS[group]
    present = fresh()
    with start(count, line_of(present, rights)) as servers:
        where = {"socket": str(servers[0].socket)} if by_socket else {}
        ours = consumer(servers[0], **where)
        configure(node, present)
        outcome = rotate(node, ours)
        assert outcome.state == "rotated", outcome
        new = configured(node, ours)
        for server in servers:
            assert server.accepts(USER, text(new))
            assert not server.accepts(USER, text(present))
            assert acl_hash(text(new)) in server.acl_file.read_text()
        ours.login(new)


def _no_user(server: Redis) -> None:
    administer(server, "ACL", "DELUSER", USER)


def _no_file(server: Redis) -> None:
    server.acl_file.unlink()
    server.acl_file.mkdir()


def _no_right(server: Redis) -> None:
    administer(server, "ACL", "SETUSER", USER, "-acl")


@pytest.mark.parametrize("spoil", [_no_user, _no_file, _no_right])
def test_a_replica_that_cannot_learn_it_is_named_and_nothing_changes_anywhere(
    spoil: Callable[[Redis], None], node: Node
) -> None:
    """Findings K6, K15: in all or in none."""
    present = fresh()
    with primary_with_replicas(2, line_of(present)) as (primary, good, bad):
        configure(node, present)
        spoil(bad)
        outcome = rotate(node, consumer(primary))
        assert outcome.state == "kept"
        assert str(bad.port) in outcome.problem
        for server in (primary, good):
            assert server.accepts(USER, text(present))
            passwords = administer(server, "ACL", "GETUSER", USER)
            assert passwords.count(acl_hash(text(present))[1:]) == 1
            assert administer(server, "ACL", "LIST").count("#") == 2  # the administrator's, and one


def test_a_replica_that_hangs_is_named(node: Node) -> None:
    present = fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        configure(node, present)
        with replica.component.hung():
            outcome = rotate(node, consumer(primary))
        assert (outcome.state, outcome.stage) == ("kept", "admit")
        assert f"127.0.0.1:{replica.port}" in outcome.problem
        assert "redis.replicas" in outcome.hint
        assert primary.accepts(USER, text(present))
        assert rotate(node, consumer(primary)).state == "rotated"


def test_replicas_that_are_ignored_are_named_in_the_result(node: Node) -> None:
    present = fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        configure(node, present)
        ours = consumer(primary, replicas="ignored")
        outcome = rotate(node, ours)
        assert outcome.state == "rotated"
        (remark,) = outcome.remarks
        assert f"127.0.0.1:{replica.port}" in remark
        assert replica.accepts(USER, text(present))
        assert not primary.accepts(USER, text(present))


def test_replicas_may_be_named(node: Node) -> None:
    """Behind an address that only the setting knows; nobody is asked for others then."""
    present = fresh()
    rights = "~* &* +acl +client +ping"
    with primary_with_replicas(1, line_of(present, rights)) as (primary, replica):
        configure(node, present)
        ours = consumer(primary, replicas=f"localhost:{replica.port}")
        assert rotate(node, ours).state == "rotated"
        assert not replica.accepts(USER, text(present))
        # without the right to ask it is told that there are some, and nothing changes
        outcome = rotate(node, consumer(primary))
        assert outcome.state == "kept"
        assert "NOPERM" in outcome.problem
        assert "+info" in outcome.hint


def test_a_user_without_the_right_to_ask_needs_none_where_there_is_no_replica(node: Node) -> None:
    present = fresh()
    with running_redis("user default off", line_of(present, "~* &* +acl +client +ping")) as server:
        configure(node, present)
        assert rotate(node, consumer(server)).state == "rotated"


def test_a_replica_that_replicates_as_the_user_would_lose_its_primary(node: Node) -> None:
    """Findings K15: told before anything changes; nothing is cut."""
    present = fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        attach(replica, primary, user=USER, password=text(present))
        administer(primary, "CLIENT", "KILL", "USER", ROOT)
        configure(node, present)
        outcome = rotate(node, consumer(primary))
        assert outcome.state == "kept"
        assert "masteruser" in outcome.hint
        assert primary.accepts(USER, text(present))


def test_a_replica_is_not_taken_for_the_primary(node: Node) -> None:
    present = fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        configure(node, present)
        outcome = rotate(node, consumer(replica))
        assert outcome.state == "kept"
        assert f"a replica of Redis of 127.0.0.1:{primary.port}" in outcome.problem
        assert outcome.accepts == "old"
        consumer(replica).login(present)


def test_a_sentinel_is_told(node: Node) -> None:
    present, port = fresh(), free_port()
    with sentinel(port, line_of(present)):
        configure(node, present)
        ours = RedisConsumer(RedisSettings(USER, host="127.0.0.1", port=port), lambda _: ())
        outcome = rotate(node, ours)
        assert outcome.state == "kept"
        assert "Sentinel" in outcome.problem


def test_a_login_is_no_proof_while_a_replica_refuses_it() -> None:
    present = fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        consumer(primary).login(present)
        administer(replica, "ACL", "SETUSER", USER, "resetpass", acl_hash("another"))
        with pytest.raises(UnprovenLoginError, match=str(replica.port)):
            consumer(primary).login(present)
        with replica.component.hung(), pytest.raises(ConsumerUnavailableError):
            consumer(primary).login(present)


def test_a_replica_of_another_machine_gets_no_password_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    present = fresh()
    with running_redis("user default off", line_of(present)) as server:
        monkeypatch.setattr(redis_places, "beside", lambda *_, **__: [Place(host="192.0.2.1")])
        with pytest.raises(ConsumerError, match="unencrypted"):
            consumer(server).admit(fresh(), present)


@contextmanager
def failing_second_save(ours: RedisConsumer, server: Redis) -> Iterator[None]:
    """The disk fills between the probe and the change."""
    really = ours._set_hashes
    calls = []

    def fail(ask: Any, valid: Any) -> None:
        calls.append(1)
        really(ask, valid)
        if len(calls) == 2:
            raise ConsumerRefusedError("ERR There was an error trying to save the ACLs")

    ours._set_hashes = fail  # type: ignore[method-assign]
    yield


def test_a_change_that_stops_at_the_second_server_is_put_back_in_both() -> None:
    present, new = fresh(), fresh()
    with primary_with_replicas(1, line_of(present)) as (primary, replica):
        ours = consumer(primary)
        with failing_second_save(ours, replica), pytest.raises(ConsumerRefusedError):
            ours.admit(new, present)
        for server in (primary, replica):
            assert server.accepts(USER, text(present))
            assert not server.accepts(USER, text(new))


def test_nodes_as_a_cluster_tells_them() -> None:
    """Redis 7 with a name, 6 without; oneself and nodes without an address do not count."""
    told = (
        b"a 127.0.0.1:1@11,one.example myself,master - 0 0 1 connected\n"
        b"b 127.0.0.1:2@12 slave a 0 0 1 connected\n"
        b"c ::1:3@13 master,fail - 0 0 1 disconnected\n"
        b"d :0@0 master,noaddr - 0 0 1 disconnected\n"
    )
    wanted = [Place(host="127.0.0.1", port=2), Place(host="::1", port=3)]
    assert redis_places.nodes(told) == wanted
    with pytest.raises(ConsumerRefusedError, match="without an address"):
        redis_places.nodes(b"b ?:2@12 slave a 0 0 1 connected\n")
