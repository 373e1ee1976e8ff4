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

from strongroom.consumers import zookeeper_server, zookeeper_users
from strongroom.consumers.base import Credential, UnprovenLoginError
from strongroom.consumers.zookeeper_server import ZookeeperSettings
from strongroom.consumers.zookeeper_users import USERS, ZookeeperUser
from strongroom.crypto import rng
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from strongroom.node.opening import Node
from strongroom.service_users import zookeeper_digests
from strongroom.service_users.zookeeper_acls import AclWalk
from strongroom.system.compat import override
from tests.contract.consumers.component_zookeeper import ZookeeperLab, digest, login
from tests.contract.consumers.rotating import configure, configured, rotate
from tests.support.components.zookeeper import Zookeeper, running_zookeeper
from tests.support.tls import Authority

on_lab = pytest.mark.parametrize("lab", ["zookeeper"], indirect=True)
USER = "filestore"


def fresh() -> Credential:
    return Credential({USERS[USER]: rng.new_password()})


@pytest.fixture
def root(lab: ZookeeperLab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A root of the test's own."""
    path = f"/{request.node.name.partition('[')[0]}"
    yield path
    with lab.server.client() as client:
        client.delete(path, recursive=True)


def user_of(lab: ZookeeperLab, root: str) -> ZookeeperUser:
    return ZookeeperUser(ZookeeperSettings(lab.server.hosts, root), USER, USERS[USER], lambda _: ())


@on_lab
def test_a_subtree_that_is_not_there_is_created_for_its_user_alone(
    lab: ZookeeperLab, root: str
) -> None:
    consumer = user_of(lab, f"{root}/deep")
    new, present = fresh(), fresh()
    with pytest.raises(ConsumerRefusedError, match="has no znode"):
        consumer.login(present)
    consumer.admit(new, present)
    consumer.login(new)
    consumer.login(present)
    with lab.server.client("stranger:x") as stranger:
        with pytest.raises(NoAuthError):
            stranger.get(f"{root}/deep/{USER}")
        with pytest.raises(NoAuthError):
            stranger.set_acls(root, [ACL(31, Id("world", "anyone"))])
        with pytest.raises(NoAuthError):
            stranger.delete(f"{root}/deep/{USER}")


@on_lab
def test_a_subtree_of_many_znodes_and_of_other_users(lab: ZookeeperLab, root: str) -> None:
    """Others' entries and others' znodes stay as they are."""
    consumer, present, new = user_of(lab, root), fresh(), fresh()
    consumer.admit(present, present)
    foreign = make_digest_acl("stranger", "x", all=True)
    shared = make_digest_acl("reader", "x", read=True)
    own = ACL(31, Id("digest", digest(present)))
    top = f"{root}/{USER}"
    with lab.server.client() as client:
        made = [client.create_async(f"{top}/n{n}", b"", acl=[shared, own]) for n in range(550)]
        assert all(one.get(timeout=60) for one in made)
        client.create(f"{top}/n0/others", b"", acl=[foreign])
        client.create(f"{top}/n0/seen", b"", acl=[foreign, shared])
        consumer.admit(new, present)
        consumer.withdraw(present, new)
        for path in (f"{top}/n0", f"{top}/n549"):
            assert set(client.get_acls(path)[0]) == {shared, ACL(31, Id("digest", digest(new)))}
        assert client.get_acls(f"{top}/n0/others")[0] == [foreign]
        assert client.get_acls(f"{top}/n0/seen")[0] == [foreign, shared]


@on_lab
def test_what_is_created_meanwhile_is_not_forgotten(lab: ZookeeperLab, root: str) -> None:
    """A client with the old password goes on creating until it is refused: none of its znodes keeps the old one."""
    consumer, present, new = user_of(lab, root), fresh(), fresh()
    consumer.admit(present, present)
    top = f"{root}/{USER}"
    stopping, made, refused = threading.Event(), [top], threading.Event()
    with lab.server.client(login(present)) as old:
        creator = threading.Thread(target=_create, args=(old, present, made, stopping, refused))
        creator.start()
        consumer.admit(new, present)
        consumer.withdraw(present, new)
        assert refused.wait(60)
        stopping.set()
        creator.join()
    with lab.server.client() as client:
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


@on_lab
def test_a_znode_that_the_user_only_reads_is_told(lab: ZookeeperLab, root: str) -> None:
    """Its ACL cannot be changed by us, and would keep the old password."""
    consumer, present, new = user_of(lab, root), fresh(), fresh()
    consumer.admit(present, present)
    with lab.server.client() as client:
        client.create(f"{root}/{USER}/seen", b"", acl=[ACL(1, Id("digest", digest(present)))])
    with pytest.raises(ConsumerRefusedError, match="/seen"):
        consumer.admit(new, present)


@on_lab
def test_a_subtree_that_is_open_to_everybody_is_no_subtree_of_the_user(
    lab: ZookeeperLab, root: str
) -> None:
    with lab.server.client() as client:
        client.ensure_path(f"{root}/{USER}")
    with pytest.raises(ConsumerRefusedError):
        user_of(lab, root).admit(fresh(), fresh())
    with pytest.raises(UnprovenLoginError, match="proves nothing"):
        user_of(lab, root).login(fresh())


@on_lab
def test_a_password_that_the_operator_corrected_meanwhile_counts(
    lab: ZookeeperLab, root: str
) -> None:
    """The journal's old value was wrong; what was configured since is right."""
    actual, believed, new = fresh(), fresh(), fresh()
    user_of(lab, root).admit(actual, actual)
    settings = ZookeeperSettings(lab.server.hosts, root)
    consumer = ZookeeperUser(settings, USER, USERS[USER], lambda _: (actual.only(),))
    consumer.admit(new, believed)
    consumer.withdraw(believed, new)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(actual)


@on_lab
def test_a_request_that_zookeeper_does_not_understand_is_a_refusal(lab: ZookeeperLab) -> None:
    with pytest.raises(ConsumerRefusedError, match="refused a request"):
        user_of(lab, "/not\x01printable").admit(fresh(), fresh())


@on_lab
def test_znodes_that_go_meanwhile_are_passed_over(
    lab: ZookeeperLab, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, present, new = user_of(lab, root), fresh(), fresh()
    consumer.admit(present, present)
    with lab.server.client() as client:
        set_acls = AclWalk.set_acls

        def deleting(self: AclWalk, paths: Any, valid: Any) -> int:
            for path in paths[1:]:
                client.delete(path)
            return set_acls(self, paths, valid)

        for name in ("a", "b"):
            client.create(f"{root}/{USER}/{name}", b"", acl=[make_digest_acl("x", "y", all=True)])
        monkeypatch.setattr(AclWalk, "set_acls", deleting)
        user_of(lab, root).admit(new, present)
        with pytest.raises(NoNodeError):
            client.get(f"{root}/{USER}/b")
    consumer.login(new)


@on_lab
def test_a_subtree_that_does_not_come_to_rest_is_told(lab: ZookeeperLab) -> None:
    class Restless(ZookeeperUser):
        @override
        def _walk(self, client: Any, valid: Any) -> int:
            return 1

    present = lab.reset()
    settings = ZookeeperSettings(lab.server.hosts)
    with pytest.raises(ConsumerUnavailableError, match="keep changing"):
        Restless(settings, USER, USERS[USER], lambda _: ()).withdraw(present, present)


@on_lab
def test_the_client_library_writes_no_password_down(
    lab: ZookeeperLab, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level debug it writes each request, passwords too."""
    present = lab.reset()
    with caplog.at_level(logging.DEBUG):
        lab.consumer().login(present)
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
        zookeeper_users.consumers(ZookeeperSettings(hosts, root, ca_file), lambda _: ())


def test_settings_that_are_taken() -> None:
    for hosts, ca_file in (("zk1.example:2181", "/ca.pem"), ("[::1]:2181,localhost:2182", "")):
        assert len(
            zookeeper_users.consumers(ZookeeperSettings(hosts, ca_file=ca_file), lambda _: ())
        ) == len(USERS)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    consumer = ZookeeperUser(ZookeeperSettings("127.0.0.1:1"), USER, USERS[USER], lambda _: ())
    with pytest.raises(ConsumerError, match="not installed"):
        consumer.login(fresh())


def test_digests_are_those_of_the_client_library() -> None:
    password = fresh().only()
    theirs = make_digest_acl_credential(USER, password.reveal().decode())
    assert zookeeper_digests.name_of("sha1", USER, password) == theirs


@pytest.fixture(params=["SHA-256", "SHA-512"])
def of_another_digest(request: pytest.FixtureRequest) -> Iterator[Zookeeper]:
    """A server that names users by another hash than the client library does."""
    option = f"-Dzookeeper.DigestAuthenticationProvider.digestAlg={request.param}"
    with running_zookeeper(option, digest=request.param.replace("-", "").lower()) as server:
        yield server


def test_no_subtree_is_locked_by_a_digest_that_the_server_does_not_compute(
    of_another_digest: Zookeeper, node: Node
) -> None:
    """Findings K6: the first rotation made a subtree that nobody could administer, for good."""
    server = of_another_digest
    settings = ZookeeperSettings(server.hosts, "/deep/strongroom")
    consumer = ZookeeperUser(settings, USER, USERS[USER], lambda _: ())
    for _ in range(2):
        present = fresh()
        configure(node, present)
        outcome = rotate(node, consumer)
        assert outcome.state == "rotated", outcome
        new = configured(node, consumer)
        with server.client(login(new)) as client:
            client.set(f"/deep/strongroom/{USER}", b"x")
            client.ensure_path(f"/deep/strongroom/{USER}/made")
        with server.client(login(present)) as client, pytest.raises(NoAuthError):
            client.set(f"/deep/strongroom/{USER}", b"y")
        with server.client() as client:
            client.delete("/deep", recursive=True)


def test_a_subtree_by_the_wrong_digest_is_left_as_it_is(
    of_another_digest: Zookeeper, node: Node
) -> None:
    """As fda7c78 left them, and as `make_digest_acl` of client libraries makes them: told, and not changed."""
    server, present = of_another_digest, fresh()
    consumer = ZookeeperUser(ZookeeperSettings(server.hosts, "/x"), USER, USERS[USER], lambda _: ())
    wrong = [ACL(31, Id("digest", digest(present)))]
    with server.client() as client:
        client.ensure_path("/x")
        client.create(f"/x/{USER}", b"", acl=wrong)
    configure(node, present)
    outcome = rotate(node, consumer)
    assert (outcome.state, outcome.accepts) == ("kept", "neither")
    assert "digestAlg" in outcome.hint
    with server.client() as client:
        assert client.get_acls(f"/x/{USER}")[0] == wrong
        # what an administrator of ZooKeeper does then
        right = zookeeper_digests.name_of(server.digest, USER, present.only())
        client.set_acls(f"/x/{USER}", [ACL(31, Id("digest", right))])
    assert rotate(node, consumer).state == "rotated"


@on_lab
@pytest.mark.parametrize("kept_out", ["/", "/{root}"])
def test_where_no_subtree_may_be_created_nothing_is_left(
    lab: ZookeeperLab, root: str, kept_out: str, node: Node
) -> None:
    """Findings K6: parents that were made on the way go again."""
    path = kept_out.format(root=root[1:])
    with lab.server.client() as client:
        client.ensure_path(path)
        before = client.get_acls(path)[0]
        client.set_acls(path, [ACL(1, Id("world", "anyone"))])
        try:
            configure(node, fresh())
            outcome = rotate(node, user_of(lab, f"{root}/deep"))
        finally:
            client.set_acls(path, before)
        client.ensure_path(root)  # for the fixture, which removes it
        assert client.get_children(root) == []
    assert outcome.state == "kept"
    assert "NoAuth" in outcome.problem


@on_lab
def test_a_digest_that_nobody_here_knows_locks_nobody_out(
    lab: ZookeeperLab, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings K6: ZooKeeper computed the names itself, so old and new get in."""
    monkeypatch.setattr(zookeeper_digests, "ALGORITHMS", ("sha3_224",))
    present, new = fresh(), fresh()
    with pytest.raises(ConsumerRefusedError, match="administer"):
        user_of(lab, root).admit(new, present)
    for one in (present, new):
        with lab.server.client(login(one)) as client:
            client.set(f"{root}/{USER}", b"x")


@on_lab
def test_a_subtree_that_somebody_else_creates_meanwhile_is_taken_as_it_is(
    lab: ZookeeperLab, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of two nodes, or an administrator: the second one sees the first one's."""
    present, new = fresh(), fresh()
    consumer = user_of(lab, root)
    place = "strongroom.consumers.zookeeper_users.create_together"
    really = zookeeper_server.create_together

    def meanwhile(client: Any, created: Any) -> bool:
        with lab.server.client() as other:
            for path in created:
                acl = ACL(31, Id("digest", digest(present)))
                if other.exists(path) is None:
                    other.create(path, b"", acl=[acl])
        monkeypatch.setattr(place, really)
        return really(client, created)

    monkeypatch.setattr(place, meanwhile)
    consumer.admit(new, present)
    consumer.login(new)
    consumer.login(present)
