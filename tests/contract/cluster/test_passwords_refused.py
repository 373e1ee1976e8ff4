"""Passwords of services that are refused, taken over, or prove nothing (issue 11 E, a2-19)."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER
from strongroom.coordination.zookeeper.tree_user import TreeUser
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import CoordinationError, StateError, StorageError
from strongroom.ids import new_id
from strongroom.node import service_passwords
from strongroom.repository import role_password
from strongroom.repository.role_password import RolePassword
from strongroom.service_users import postgres_verifiers
from strongroom.service_users.zookeeper_acls import AclWalk
from tests.contract.cluster.password_lab import (
    BOTH,
    changed_by_hand,
    password_file,
    passwords,
    present,
    root_of,
    told,
    works,
)
from tests.contract.cluster.test_enable import command, opened
from tests.support.cluster_services import ROLE_PASSWORD, ClusterServices
from tests.support.components.zookeeper_ensemble import PASSWORD

Said = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", BOTH)
def test_a_wrong_password_is_refused_and_nothing_changes(
    name: str, home: Path, tmp_path: Path, capsys: Said
) -> None:
    path = home / "tabsvc" / "addresses.json"
    before = path.read_bytes()
    given = password_file(tmp_path, "quite another password")
    code = command(home, "cluster", "set-password", name, "--password-file", given)
    assert code == (StorageError if name == POSTGRES else CoordinationError).exit_code
    said = capsys.readouterr().err
    assert ("does not let" if name == POSTGRES else "NoAuth") in said
    assert "quite another" not in said
    assert path.read_bytes() == before
    assert told(home, name) == []
    works(home)


@pytest.mark.parametrize("name", BOTH)
def test_a_password_that_was_changed_at_the_service_is_taken_over(
    name: str, home: Path, services: ClusterServices, tmp_path: Path, capsys: Said
) -> None:
    """The node opens nothing by its old password any more, and is brought back by one command."""
    changed_by_hand(services, home, name, "by hand")
    code = CoordinationError.exit_code if name == ZOOKEEPER else StorageError.exit_code
    assert command(home, "cluster", "check") == code
    given = password_file(tmp_path, "by hand")
    assert command(home, "cluster", "set-password", name, "--password-file", given) == 0
    assert present(home, name) == "by hand"
    assert told(home, name) == ["CHANGED"]
    works(home)


def test_nodes_above_the_root_stay_open_to_other_installations(
    home: Path, services: ClusterServices
) -> None:
    with services.ensemble.judge() as client:
        client.ensure_path("/strongroom/another")
        try:
            assert command(home, "cluster", "rotate-password", "zookeeper") == 0
            assert client.get_children("/strongroom")
        finally:
            client.delete("/strongroom/another")
    with services.ensemble.judge(f"tsm:{present(home, ZOOKEEPER)}") as client:
        assert client.get_children("/strongroom")


def test_a_server_that_lets_everybody_in_proves_nothing(
    home: Path, services: ClusterServices
) -> None:
    address = {
        "host": str(services.postgres.sockets),
        "port": str(services.postgres.port),
        "dbname": services.database,
        "user": "postgres",
    }
    with pytest.raises(StateError, match="without a password"):
        RolePassword(address).check(SecretBytes(b"anything"))


def test_a_standby_takes_no_password(
    services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role_password, "_LOOK", text("SELECT session_user, true"))
    with pytest.raises(StateError, match="only reads"):
        role_of(services).check(SecretBytes(ROLE_PASSWORD.encode()))


def test_a_change_that_postgres_refuses_shows_no_verifier(
    services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SecretBytes] = []
    setting = postgres_verifiers.setting

    def of_another(driver: Any, _role: str, password: SecretBytes) -> Any:
        found = setting(driver, "nobody", password)
        made.append(found.verifier)
        return found

    monkeypatch.setattr(postgres_verifiers, "setting", of_another)
    present = SecretBytes(ROLE_PASSWORD.encode())
    with pytest.raises(StorageError, match="did not change the password") as caught:
        role_of(services).change(lambda: (present,), SecretBytes(b"new"))
    [verifier] = made
    assert verifier.reveal().decode() not in str(caught.value)
    assert caught.value.__cause__ is None


def role_of(services: ClusterServices) -> RolePassword:
    return RolePassword(services.given.services(new_id(), new_id()).postgres)


def test_one_node_of_the_tree_that_a_password_does_not_open_is_named(
    home: Path, services: ClusterServices, tmp_path: Path, capsys: Said
) -> None:
    """Nobody is locked out of a part of the tree by a change that was made of the rest."""
    from kazoo.security import ACL, Id, make_digest_acl

    changed_by_hand(services, home, ZOOKEEPER, "by hand")
    root = root_of(home)
    left = [ACL(1, Id("world", "anyone")), make_digest_acl("tsm", PASSWORD, all=True)]
    with services.ensemble.judge("tsm:by hand") as client:
        client.set_acls(f"{root}/locks", left)
    given = password_file(tmp_path, "by hand")
    code = command(home, "cluster", "set-password", "zookeeper", "--password-file", given)
    assert code == CoordinationError.exit_code
    assert f"administer {root}/locks by this password" in capsys.readouterr().err
    changed_by_hand(services, home, ZOOKEEPER, "by hand")
    assert command(home, "cluster", "set-password", "zookeeper", "--password-file", given) == 0


def test_a_tree_that_does_not_come_to_rest_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, opened(home) as node:
        patched.setattr(AclWalk, "name", lambda *_: 1)
        with pytest.raises(CoordinationError, match="keep changing"):
            service_passwords.rotate(node, ZOOKEEPER, "os:tests", lambda _: None)
    works(home)
    assert command(home, "cluster", "rotate-password", "zookeeper") == 0


def test_a_process_stays_with_the_services_that_it_began_with(home: Path) -> None:
    """Somebody's file for other addresses gets none of its passwords."""
    with opened(home) as node:
        assert node.outside is not None
        before = node.outside.file
        other = before.services._replace(postgres={**before.services.postgres, "host": "evil"})
        node.outside.write(before._replace(services=other), node.file_modes)
        assert node.outside.file == before
        assert node.outside.passwords(POSTGRES).present.reveal().decode() == ROLE_PASSWORD
        node.outside.write(before, node.file_modes)


@pytest.mark.parametrize("name", BOTH)
def test_a_service_that_takes_the_old_password_still_is_told(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: type = RolePassword if name == POSTGRES else TreeUser
    with monkeypatch.context() as patched, opened(home) as node:
        patched.setattr(kind, "check", lambda *_: None)
        with pytest.raises(StateError, match="takes the old password still"):
            service_passwords.rotate(node, name, "os:tests", lambda _: None)
    assert passwords(home, name).former is not None
    assert command(home, "cluster", "rotate-password", name) == 0
