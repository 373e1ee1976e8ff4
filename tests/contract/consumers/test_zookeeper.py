"""What is ZooKeeper's own: subtrees, who else is in them, who creates meanwhile, and TLS."""

import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kazoo.exceptions import NoAuthError, NoNodeError
from kazoo.security import ACL, Id, make_digest_acl, make_digest_acl_credential

from strongroom.consumers import zookeeper
from strongroom.consumers.base import Credential
from strongroom.consumers.zookeeper import USERS, ZookeeperSettings, ZookeeperUser
from strongroom.crypto import rng
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from strongroom.overriding import override
from tests.components.zookeeper import running_zookeeper
from tests.contract.consumers.bench_zookeeper import ZookeeperBench, digest, login
from tests.tls import Authority

on_bench = pytest.mark.parametrize("bench", ["zookeeper"], indirect=True)
USER = "filestore"


def fresh() -> Credential:
    return Credential({USERS[USER]: rng.new_password()})


@pytest.fixture
def root(bench: ZookeeperBench, request: pytest.FixtureRequest) -> Iterator[str]:
    """A root of the test's own."""
    path = f"/{request.node.name.partition('[')[0]}"
    yield path
    with bench.server.client() as client:
        client.delete(path, recursive=True)


def user_of(bench: ZookeeperBench, root: str) -> ZookeeperUser:
    return ZookeeperUser(
        ZookeeperSettings(bench.server.hosts, root), USER, USERS[USER], lambda _: ()
    )


@on_bench
def test_a_subtree_that_is_not_there_is_created_for_its_user_alone(
    bench: ZookeeperBench, root: str
) -> None:
    consumer = user_of(bench, f"{root}/deep")
    new, present = fresh(), fresh()
    with pytest.raises(ConsumerRefusedError, match="has no znode"):
        consumer.login(present)
    consumer.admit(new, present)
    consumer.login(new)
    consumer.login(present)
    with bench.server.client("stranger:x") as stranger:
        with pytest.raises(NoAuthError):
            stranger.get(f"{root}/deep/{USER}")
        with pytest.raises(NoAuthError):
            stranger.set_acls(root, [ACL(31, Id("world", "anyone"))])
        with pytest.raises(NoAuthError):
            stranger.delete(f"{root}/deep/{USER}")


@on_bench
def test_a_subtree_of_many_znodes_and_of_other_users(bench: ZookeeperBench, root: str) -> None:
    """Others' entries and others' znodes stay as they are."""
    consumer, present, new = user_of(bench, root), fresh(), fresh()
    consumer.admit(present, present)
    foreign = make_digest_acl("stranger", "x", all=True)
    shared = make_digest_acl("reader", "x", read=True)
    own = ACL(31, Id("digest", digest(present)))
    top = f"{root}/{USER}"
    with bench.server.client() as client:
        made = [client.create_async(f"{top}/n{n}", b"", acl=[shared, own]) for n in range(550)]
        assert all(one.get(timeout=10) for one in made)
        client.create(f"{top}/n0/others", b"", acl=[foreign])
        client.create(f"{top}/n0/seen", b"", acl=[foreign, shared])
        consumer.admit(new, present)
        consumer.withdraw(present, new)
        for path in (f"{top}/n0", f"{top}/n549"):
            assert set(client.get_acls(path)[0]) == {shared, ACL(31, Id("digest", digest(new)))}
        assert client.get_acls(f"{top}/n0/others")[0] == [foreign]
        assert client.get_acls(f"{top}/n0/seen")[0] == [foreign, shared]


@on_bench
def test_what_is_created_meanwhile_is_not_forgotten(bench: ZookeeperBench, root: str) -> None:
    """A client with the old password goes on creating until it is refused: none of its znodes keeps the old one."""
    consumer, present, new = user_of(bench, root), fresh(), fresh()
    consumer.admit(present, present)
    top = f"{root}/{USER}"
    stopping, made, refused = threading.Event(), [top], threading.Event()
    with bench.server.client(login(present)) as old:
        creator = threading.Thread(target=_create, args=(old, present, made, stopping, refused))
        creator.start()
        consumer.admit(new, present)
        consumer.withdraw(present, new)
        assert refused.wait(10)
        stopping.set()
        creator.join()
    with bench.server.client() as client:
        for path in made:
            names = {entry.id.id for entry in client.get_acls(path)[0]}
            assert names == {digest(new)}


def _create(
    old: Any,
    present: Credential,
    made: list[str],
    stopping: threading.Event,
    refused: threading.Event,
) -> None:
    own = [ACL(31, Id("digest", digest(present)))]
    while not stopping.is_set():
        parent = made[-1] if len(made) % 3 else made[0]
        try:
            made.append(old.create(f"{parent}/x", b"", acl=own, sequence=True))
        except NoAuthError:
            refused.set()
            return


@on_bench
def test_a_znode_that_the_user_only_reads_is_told(bench: ZookeeperBench, root: str) -> None:
    """Its ACL cannot be changed by us, and would keep the old password."""
    consumer, present, new = user_of(bench, root), fresh(), fresh()
    consumer.admit(present, present)
    with bench.server.client() as client:
        client.create(f"{root}/{USER}/seen", b"", acl=[ACL(1, Id("digest", digest(present)))])
    with pytest.raises(ConsumerRefusedError, match="/seen"):
        consumer.admit(new, present)


@on_bench
def test_a_subtree_that_is_open_to_everybody_is_no_subtree_of_the_user(
    bench: ZookeeperBench, root: str
) -> None:
    with bench.server.client() as client:
        client.ensure_path(f"{root}/{USER}")
    with pytest.raises(ConsumerRefusedError):
        user_of(bench, root).admit(fresh(), fresh())
    with pytest.raises(ConsumerRefusedError):
        user_of(bench, root).login(fresh())


@on_bench
def test_a_password_that_the_operator_corrected_meanwhile_counts(
    bench: ZookeeperBench, root: str
) -> None:
    """The journal's old value was wrong; what was configured since is right."""
    actual, believed, new = fresh(), fresh(), fresh()
    user_of(bench, root).admit(actual, actual)
    settings = ZookeeperSettings(bench.server.hosts, root)
    consumer = ZookeeperUser(settings, USER, USERS[USER], lambda _: (actual.only(),))
    consumer.admit(new, believed)
    consumer.withdraw(believed, new)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(actual)


@on_bench
def test_a_request_that_zookeeper_does_not_understand_is_a_refusal(bench: ZookeeperBench) -> None:
    with pytest.raises(ConsumerRefusedError, match="refused a request"):
        user_of(bench, "/not\x01printable").admit(fresh(), fresh())


@on_bench
def test_znodes_that_go_meanwhile_are_passed_over(bench: ZookeeperBench, root: str) -> None:
    consumer, present, new = user_of(bench, root), fresh(), fresh()
    consumer.admit(present, present)
    with bench.server.client() as client:

        class Deleting(ZookeeperUser):
            @override
            def _set_acls(self, client_: Any, paths: Any, valid: Any) -> int:
                for path in paths[1:]:
                    client.delete(path)
                return super()._set_acls(client_, paths, valid)

        for name in ("a", "b"):
            client.create(f"{root}/{USER}/{name}", b"", acl=[make_digest_acl("x", "y", all=True)])
        settings = ZookeeperSettings(bench.server.hosts, root)
        Deleting(settings, USER, USERS[USER], lambda _: ()).admit(new, present)
        with pytest.raises(NoNodeError):
            client.get(f"{root}/{USER}/b")
    consumer.login(new)


@on_bench
def test_a_subtree_that_does_not_come_to_rest_is_told(bench: ZookeeperBench) -> None:
    class Restless(ZookeeperUser):
        @override
        def _walk(self, client: Any, valid: Any) -> int:
            return 1

    present = bench.reset()
    settings = ZookeeperSettings(bench.server.hosts)
    with pytest.raises(ConsumerUnavailableError, match="keep changing"):
        Restless(settings, USER, USERS[USER], lambda _: ()).withdraw(present, present)


@on_bench
def test_the_client_library_writes_no_password_down(
    bench: ZookeeperBench, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level debug it writes each request, passwords too."""
    present = bench.reset()
    with caplog.at_level(logging.DEBUG):
        bench.consumer().login(present)
    assert present.only().reveal().decode() not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_over_tls_the_certificate_must_be_the_servers(tmp_path: Path) -> None:
    # kazoo forgets to close sockets whose handshake failed: that is its warning, not ours
    with running_zookeeper(tls=True) as server:
        assert server.ca_file is not None
        settings = ZookeeperSettings(server.tls_hosts, "/x", str(server.ca_file))
        consumer = ZookeeperUser(settings, USER, USERS[USER], lambda _: ())
        present, new = fresh(), fresh()
        consumer.admit(new, present)
        consumer.login(new)
        consumer.withdraw(present, new)
        stranger = replace(settings, ca_file=str(Authority(tmp_path).ca_file))
        with pytest.raises(ConsumerUnavailableError):
            ZookeeperUser(stranger, USER, USERS[USER], lambda _: ()).login(new)


@pytest.mark.parametrize(
    ("hosts", "root", "ca_file"),
    [
        ("zk1.example:2181", "/strongroom", ""),
        ("127.0.0.1:2181,192.0.2.1:2181", "/strongroom", ""),
        ("127.0.0.1", "/strongroom", ""),
        ("127.0.0.1:x", "/strongroom", ""),
        (":2181", "/strongroom", ""),
        ("127.0.0.1:2181/chroot", "/strongroom", ""),
        ("127.0.0.1:2181", "strongroom", ""),
        ("127.0.0.1:2181", "/a//b", ""),
        ("127.0.0.1:2181", "/", ""),
        ("127.0.0.1:2181", "/a/../b", ""),
        ("127.0.0.1:2181", "/a\0", ""),
    ],
)
def test_settings_that_are_refused(hosts: str, root: str, ca_file: str) -> None:
    with pytest.raises(UsageError):
        zookeeper.consumers(ZookeeperSettings(hosts, root, ca_file), lambda _: ())


def test_settings_that_are_taken() -> None:
    for hosts, ca_file in (("zk1.example:2181", "/ca.pem"), ("[::1]:2181,localhost:2182", "")):
        assert len(
            zookeeper.consumers(ZookeeperSettings(hosts, ca_file=ca_file), lambda _: ())
        ) == len(USERS)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    consumer = ZookeeperUser(ZookeeperSettings("127.0.0.1:1"), USER, USERS[USER], lambda _: ())
    with pytest.raises(ConsumerError, match="not installed"):
        consumer.login(fresh())


def test_digests_are_those_of_the_client_library() -> None:
    credential = fresh()
    consumer = ZookeeperUser(ZookeeperSettings("127.0.0.1:1"), USER, USERS[USER], lambda _: ())
    text = credential.only().reveal().decode()
    assert consumer._id(credential.only()) == make_digest_acl_credential(USER, text)
