"""MariaDB's plugin for keys of a Vault, on our versioned secrets: tables that nobody reads on the disk (ADR 46)."""

import secrets
from collections.abc import Iterator

import pytest

from tests.support.components.mariadb import Mariadb, mariadb
from tests.support.vault_door import VaultDoor, vault_door
from tests.support.waiting import in_the_end

pytestmark = pytest.mark.interop

RULES = """
path "mariadb/data/*"          { capabilities = ["read"] }
path "sys/mounts/mariadb/tune" { capabilities = ["read"] }
"""
SECRET = "canary-in-a-table-40b8"
SPACES = """
select min(min_key_version), min(current_key_version), count(*)
from information_schema.innodb_tablespaces_encryption
"""
KEYS: list[str] = []
"""Every version of the key, in order."""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("mariadb")) as found:
        kind = {"type": "kv", "options": {"version": "2"}}
        assert found.call("POST", "sys/mounts/mariadb", kind).status == 204
        KEYS.clear()
        new_version(found)
        yield found


@pytest.fixture(scope="module")
def database(door: VaultDoor) -> Iterator[Mariadb]:
    token = door.make_token("mariadb", RULES, "--period", "1h")
    with mariadb(f"{door.url}/v1/mariadb", token) as made:
        made.component.start()
        made.sql("create database shop; create table shop.people (name varchar(80))")
        made.sql(f"insert into shop.people values ('{SECRET}')")
        yield made


def new_version(door: VaultDoor) -> None:
    """A version of the key of number 1, which MariaDB makes everything by."""
    KEYS.append(secrets.token_hex(32))
    made = door.call("POST", "mariadb/data/1", {"data": {"data": KEYS[-1]}})
    assert made.data["version"] == len(KEYS)


def versions(database: Mariadb) -> tuple[int, int]:
    """The oldest version that any table is under, and the newest that MariaDB knows."""
    oldest, newest, count = map(int, database.sql(SPACES).split())
    assert count > 4
    return oldest, newest


def test_what_is_in_a_table_is_on_no_disk_and_comes_back_after_a_stop_and_a_kill(
    door: VaultDoor, database: Mariadb
) -> None:
    assert versions(database) == (len(KEYS), len(KEYS))
    for end in (database.component.stop, database.component.kill):
        end()
        assert database.holders(SECRET, KEYS[-1]) == []
        database.component.start()
        assert database.sql("select name from shop.people") == SECRET
    read = [event for event in door.events() if event["details"].get("path") == "mariadb/1"]
    assert {event["id"] for event in read} == {"SERVICE_SECRET_READ", "SERVICE_SECRET_CHANGED"}


def test_versions_of_the_key_are_taken_up_by_every_table(
    door: VaultDoor, database: Mariadb
) -> None:
    start = len(KEYS)
    new_version(door)
    new_version(door)  # its threads rotate what is more than one version behind
    in_the_end(lambda: versions(database) == (start + 2, start + 2))
    database.component.stop()
    assert database.holders(SECRET) == []
    database.component.start()
    assert database.sql("select name from shop.people") == SECRET
    read = [
        event["details"]["version"]
        for event in door.events()
        if event["id"] == "SERVICE_SECRET_READ" and event["details"]["path"] == "mariadb/1"
    ]
    assert set(read) >= {start, start + 2}
    assert door.holders(*KEYS, SECRET) == []


def test_without_its_right_to_the_key_it_does_not_open_its_tables(
    door: VaultDoor, database: Mariadb
) -> None:
    """A server that was stolen with its disk opens nothing once its token was revoked; given back, all is there."""
    database.component.stop()
    door.policy("mariadb", 'path "sys/mounts/mariadb/tune" { capabilities = ["read"] }')
    try:
        said = database.component.fails_to_start()
        assert "permission denied" in said
        assert "cannot enable encryption" in said
        assert door.told_of("1")[-1] == "refused"
    finally:
        door.policy("mariadb", RULES)
    database.component.start()
    assert database.sql("select name from shop.people") == SECRET
