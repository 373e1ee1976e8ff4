"""Clients in Python on the Vault door, as they are: Tink's own tests of its Vault client, and settings read by dynaconf."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import BIN
from tests.support.vault_door import VaultDoor, vault_door
from tests.support.vault_programs import PYTHON, Program

pytestmark = pytest.mark.interop

TINKS_TESTS = "tink.integration.hcvault._hcvault_kms_integration_test"
TINKS_KEY = "key-1"  # its tests name it
RULES = """
path "secret/data/dynaconf/*"   { capabilities = ["read"] }
path "secret/metadata/dynaconf" { capabilities = ["list"] }
"""
FIRST, SECOND = "canary-dynaconf-8d20", "canary-dynaconf-e1f7"
SHOW = """
from dynaconf import Dynaconf

loaders = ["dynaconf.loaders.env_loader", "dynaconf.loaders.vault_loader"]
settings = Dynaconf(loaders=loaders, settings_files=["settings.toml"])
print(settings.PORT, settings.get("PASSWORD", "none"))
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("clients")) as found:
        yield found


def test_tinks_own_tests_of_its_vault_client_pass(door: VaultDoor, tmp_path: Path) -> None:
    door.node.run("strongroom", "keys", "create", TINKS_KEY)
    rules = f'path "transit/+/{TINKS_KEY}" {{ capabilities = ["update"] }}'
    token = door.make_token("tink", rules)
    done = Program(BIN / "python", tmp_path, door, token).run("-m", TINKS_TESTS)
    assert re.search(r"^Ran 3 tests in .*\n\nOK$", done.err, re.MULTILINE), done.err
    assert set(door.told_of(TINKS_KEY)) == {"encrypt", "decrypt", "refused"}


@pytest.fixture
def settings(door: VaultDoor, tmp_path: Path) -> Program:
    """A program whose settings are a file and a secret, with a role of its own."""
    door.policy("app", RULES)
    made = door.node.run("strongroom", "access", "approle", "create", "app", "--policy", "app")
    role_id, secret_id = re.findall(r"^(?:role|secret) id: (\S+)$", made.out, re.MULTILINE)
    (tmp_path / "settings.toml").write_text("port = 5432\n")
    (tmp_path / "show.py").write_text(SHOW)
    variables = {
        "VAULT_ENABLED_FOR_DYNACONF": "true",
        "VAULT_URL_FOR_DYNACONF": door.url,
        "VAULT_KV_VERSION_FOR_DYNACONF": "2",
        "VAULT_ROLE_ID_FOR_DYNACONF": role_id,
        "VAULT_SECRET_ID_FOR_DYNACONF": secret_id,
    }
    return Program(PYTHON, tmp_path, variables=variables)


def test_dynaconf_reads_a_secret_as_a_setting_and_its_new_version(
    door: VaultDoor, settings: Program
) -> None:
    for password in (FIRST, SECOND):
        door.call("POST", "secret/data/dynaconf/main", {"data": {"password": password}})
        assert settings.run("show.py").out == f"5432 {password}\n"
    own = [event for event in door.events() if event["actor"] == "service:approle-app"]
    read = [event["details"] for event in own if event["id"] == "SERVICE_SECRET_READ"]
    assert [(one["operation"], one["path"]) for one in read] == [
        ("list", "secret/dynaconf/"),
        ("read", "secret/dynaconf/main"),
    ] * 2
    assert [one["version"] for one in read if one["operation"] == "read"] == [1, 2]
    secret_id = settings.variables["VAULT_SECRET_ID_FOR_DYNACONF"]
    assert door.holders(FIRST, SECOND, secret_id) == []


def test_dynaconf_gets_nothing_when_its_right_is_taken_away(
    door: VaultDoor, settings: Program
) -> None:
    door.call("POST", "secret/data/dynaconf/main", {"data": {"password": FIRST}})
    door.policy("app", 'path "secret/data/other" { capabilities = ["read"] }')
    assert settings.run("show.py").out == "5432 none\n"
    assert "refused" in door.told_of("dynaconf/main")
