"""The passwords of a node's own users at ZooKeeper and PostgreSQL change, and nothing stands still (issue 11 E, a2-19)."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER, ServicesFile
from strongroom.coordination.base import Change
from strongroom.coordination.zookeeper.tree_user import TreeUser
from strongroom.errors import StorageError
from strongroom.eventlog.base import SYSTEM
from strongroom.node import service_passwords
from strongroom.repository.role_password import RolePassword
from strongroom.service_users.zookeeper_acls import AclWalk
from tests.contract.cluster.password_lab import (
    BOTH,
    OLD,
    KilledError,
    admitted,
    after,
    killed,
    password_file,
    passwords,
    present,
    root_of,
    told,
    works,
)
from tests.contract.cluster.test_enable import command, opened
from tests.support import backups
from tests.support.cluster_services import ClusterServices
from tests.support.components.zookeeper_ensemble import PASSWORD

Said = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", BOTH)
def test_a_password_is_made_anew(
    name: str, home: Path, services: ClusterServices, capsys: Said
) -> None:
    assert command(home, "cluster", "rotate-password", name) == 0
    said = capsys.readouterr()
    assert said.out == f"The password for {name} is a new one.\n"
    new = present(home, name)
    assert new != OLD[name]
    assert new not in said.err
    assert admitted(home, services, name, new)
    assert not admitted(home, services, name, OLD[name])
    assert told(home, name) == ["CHANGING", "CHANGED", "WITHDRAWN"]
    works(home)
    assert command(home, "cluster", "check") == 0
    assert command(home, "cluster", "rotate-password", name) == 0
    assert not admitted(home, services, name, new)
    works(home)


def test_a_single_node_has_no_passwords_of_services(node_dir: Path, capsys: Said) -> None:
    assert command(node_dir, "cluster", "rotate-password", "postgres") == 7
    assert "a single one" in capsys.readouterr().err


@pytest.mark.parametrize("name", BOTH)
def test_a_node_that_runs_goes_on(name: str, home: Path, services: ClusterServices) -> None:
    """Its lock, its session and its connections stay; what it does next it does by the present password."""
    with opened(home) as served:
        assert served.outside is not None
        with served.coordinator.lock("topology", wait_s=1) as lease:
            before = served.repository
            backups.publish(served, "one", b"content")
            assert command(home, "cluster", "rotate-password", name) == 0
            served.coordinator.put({"journal/rotation/held": Change(b"x", 0)}, lease=lease)
            backups.publish(served, "two", b"content")
            # connections that nobody has used yet
            with before.reading(), before.reading(), before.reading() as tx:
                assert tx.sites.page().rows
            assert command(home, "cluster", "rotate-password", name) == 0
            served.coordinator.put({"journal/rotation/more": Change(b"x", 0)}, lease=lease)
    works(home)


def test_nodes_that_come_meanwhile_are_opened_by_the_new_password(
    home: Path, services: ClusterServices
) -> None:
    """A process that writes all the while loses nothing, and leaves nothing behind that the old password opens."""
    ended = threading.Event()
    failures: list[BaseException] = []
    with opened(home) as served:

        def write() -> None:
            try:
                for number in range(100_000):
                    key = f"journal/rotation/{number}"
                    served.coordinator.put({key: Change(b"x" * 100, 0)})
                    if ended.is_set():
                        return
            except BaseException as error:  # noqa: BLE001  told by the test
                failures.append(error)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            assert command(home, "cluster", "rotate-password", "zookeeper") == 0
        finally:
            ended.set()
            writing.join()
    assert failures == []
    assert admitted(home, services, ZOOKEEPER, present(home, ZOOKEEPER))
    assert not admitted(home, services, ZOOKEEPER, PASSWORD)


def test_a_child_that_comes_while_its_parent_is_changed_is_met_by_the_same_walk(
    home: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that knows the old password alone adds nothing behind the walk, which goes from the top down."""
    from kazoo.security import make_digest_acl

    parent = f"{root_of(home)}/kv"
    set_acls, name, met = AclWalk.set_acls, AclWalk.name, list[int]()
    with services.ensemble.judge() as client, opened(home) as node:

        def adding(self: AclWalk, paths: Any, valid: Any) -> int:
            if parent in paths and not client.exists(f"{parent}/late"):
                old = make_digest_acl("tsm", PASSWORD, all=True)
                client.create(f"{parent}/late", b"", acl=[old])
            return set_acls(self, paths, valid)

        def looked(self: AclWalk, valid: Any) -> int:
            name(self, valid)
            met.append(len(client.get_acls(f"{parent}/late")[0]))
            client.delete(f"{parent}/late")
            raise KilledError

        monkeypatch.setattr(AclWalk, "set_acls", adding)
        monkeypatch.setattr(AclWalk, "name", looked)
        with pytest.raises(KilledError):
            service_passwords.rotate(node, ZOOKEEPER, "os:tests", lambda _: None)
    assert met == [2]


class Point(NamedTuple):
    """A call of a change of a service's password, before or after which the process dies."""

    name: str
    kind: type
    method: str
    is_after: bool


POINTS = [
    Point(name, kind, method, is_after)
    for name, kind, method in (
        (POSTGRES, RolePassword, "change"),
        (ZOOKEEPER, TreeUser, "name"),
        (ZOOKEEPER, AclWalk, "set_acls"),
        *((name, ServicesFile, step) for name in BOTH for step in ("begun", "switched", "settled")),
    )
    for is_after in (False, True)
]


@pytest.mark.parametrize(
    "point",
    POINTS,
    ids=lambda one: f"{one.name} {'after' if one.is_after else 'before'} {one.method}",
)
def test_a_killed_change_leaves_a_node_that_opens_and_is_finished(
    point: Point, home: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = point.name
    with monkeypatch.context() as patched, opened(home) as node:
        dies = after(getattr(point.kind, point.method)) if point.is_after else killed
        patched.setattr(point.kind, point.method, dies)
        with pytest.raises(KilledError):
            service_passwords.rotate(node, name, "os:tests", lambda _: None)
    works(home)
    begun = passwords(home, name)
    is_begun = begun.next is not None or begun.former is not None
    assert is_begun or admitted(home, services, name, OLD[name])
    with opened(home) as node:
        assert service_passwords.resume(node, SYSTEM) == ((name,) if is_begun else ())
    if not is_begun:
        assert command(home, "cluster", "rotate-password", name) == 0
    new = present(home, name)
    # what was made before the kill is used, and no second one
    assert begun.next is None or new == begun.next.reveal().decode()
    assert admitted(home, services, name, new)
    assert not admitted(home, services, name, OLD[name])
    works(home)


@pytest.mark.parametrize("name", BOTH)
def test_the_same_command_finishes_what_was_interrupted(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    with monkeypatch.context() as patched, opened(home) as node:
        patched.setattr(ServicesFile, "switched", killed)
        with pytest.raises(KilledError):
            service_passwords.rotate(node, name, "os:tests", lambda _: None)
    begun = passwords(home, name).next
    assert begun is not None
    assert command(home, "cluster", "rotate-password", name) == 0
    assert "an interrupted change was finished" in capsys.readouterr().err
    assert present(home, name) == begun.reveal().decode()


@pytest.mark.parametrize("name", BOTH)
def test_an_interrupted_change_is_given_up_for_a_password_that_works(
    name: str,
    home: Path,
    services: ClusterServices,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with monkeypatch.context() as patched, opened(home) as node:
        kind, method = (RolePassword, "change") if name == POSTGRES else (TreeUser, "check")
        if name == ZOOKEEPER:
            patched.setattr(ServicesFile, "switched", killed)
        else:
            patched.setattr(kind, method, killed)
        with pytest.raises(KilledError):
            service_passwords.rotate(node, name, "os:tests", lambda _: None)
    given = password_file(tmp_path, OLD[name])
    assert command(home, "cluster", "set-password", name, "--password-file", given) == 0
    assert present(home, name) == OLD[name]
    assert admitted(home, services, name, OLD[name])
    works(home)


def test_the_passwords_stand_nowhere(home: Path, services: ClusterServices, capsys: Said) -> None:
    """Neither in a file of the node, nor in PostgreSQL's log of all statements, nor in a node of ZooKeeper."""
    services.query(f"ALTER DATABASE {services.database} SET log_statement = 'all'")
    seen = set(OLD.values())
    for name in BOTH:
        assert command(home, "cluster", "rotate-password", name) == 0
        seen.add(present(home, name))
    places = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for component in (
        services.postgres.component,
        *(one.component for one in services.ensemble.servers),
    ):
        for path in component.folder.rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
    assert any(b"ALTER ROLE" in raw for raw in places.values())
    said = capsys.readouterr()
    for password in seen:
        assert password not in said.out + said.err
        assert [path for path, raw in places.items() if password.encode() in raw] == []


def test_the_start_of_a_server_finishes_a_change(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    with monkeypatch.context() as patched, opened(home) as node:
        patched.setattr(ServicesFile, "switched", killed)
        for name in BOTH:
            with pytest.raises(KilledError):
                service_passwords.rotate(node, name, "os:tests", lambda _: None)
    with monkeypatch.context() as patched, at(home) as session:
        patched.setattr(RolePassword, "change", refuse)
        start_up.bring_in_order(session)
        assert (
            "a change of a service's password is still to be finished: no"
            in capsys.readouterr().err
        )
    with at(home) as session:
        start_up.bring_in_order(session)
    said = capsys.readouterr().err
    for name in BOTH:
        assert f"finished the change of the password for {name}" in said
        present(home, name)


def at(home: Path) -> Session:
    return Session(SessionOptions(str(home)))


def refuse(*_: object) -> None:
    raise StorageError("no")
