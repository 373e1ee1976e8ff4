"""`bao agent` on our AppRole and our secrets: a template that follows a secret, a token kept alive, a wrapped secret id."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import emulators
from tests.support.vault_door import VaultDoor, vault_door
from tests.support.vault_programs import Program
from tests.support.waiting import in_the_end

pytestmark = pytest.mark.interop

RULES = 'path "secret/data/web/*" { capabilities = ["read"] }'
FIRST, SECOND, THIRD = "canary-first-2a96", "canary-second-77f0", "canary-third-c31d"
TEMPLATE = """\
password = {{ with secret "secret/data/web/db" }}{{ .Data.data.password }}{{ end }}
"""
SETTINGS = """\
auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "role-id"
      secret_id_file_path                 = "secret-id"
      secret_id_response_wrapping_path    = "auth/approle/role/web/secret-id"
      remove_secret_id_file_after_reading = true
    }
  }
}
template_config {
  static_secret_render_interval = "1s"
}
template {
  source      = "app.tmpl"
  destination = "app.conf"
  perms       = "0600"
}
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    """A role whose tokens live for three seconds, and for seven if they are renewed."""
    with vault_door(tmp_path_factory.mktemp("agent")) as found:
        found.policy("web", RULES)
        role = {"token_policies": "web", "token_ttl": "3s", "token_max_ttl": "7s"}
        assert found.call("POST", "auth/approle/role/web", role).status == 204
        yield found


def write(door: VaultDoor, password: str) -> None:
    """A new version of the secret."""
    made = door.call("POST", "secret/data/web/db", {"data": {"password": password}})
    assert made.status == 200


def settle(door: VaultDoor, folder: Path) -> str:
    """What stands beside the agent before it starts; gives the token that holds its secret id."""
    wrapped = door.call(
        "POST", "auth/approle/role/web/secret-id", headers={"X-Vault-Wrap-TTL": "5m"}
    )
    token = str(wrapped.json["wrap_info"]["token"])
    for name, text in (
        ("agent.hcl", SETTINGS),
        ("app.tmpl", TEMPLATE),
        ("role-id", door.call("GET", "auth/approle/role/web/role-id").data["role_id"]),
        ("secret-id", token),
    ):
        (folder / name).write_text(text)
    return token


@contextmanager
def agent(door: VaultDoor, folder: Path, ready: Callable[[str], bool]) -> Iterator[Path]:
    """The agent, until the end of the block, from when it has said something; gives its log."""
    log, tool = folder / "bao.log", Program(emulators.bao(), folder, door)
    command: list[str | Path] = [emulators.bao(), "agent", "-config=agent.hcl"]
    with emulators.process(command, folder, lambda: ready(log.read_text()), tool.environment()):
        yield log


def test_a_template_follows_its_secret_over_renewals_and_a_new_sign_in(
    door: VaultDoor, tmp_path: Path
) -> None:
    write(door, FIRST)
    wrapping = settle(door, tmp_path)
    rendered = tmp_path / "app.conf"
    with agent(door, tmp_path, lambda _: rendered.exists()) as log:
        assert rendered.read_text() == f"password = {FIRST}\n"
        assert rendered.stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / "secret-id").exists()  # it was read, and is kept nowhere
        write(door, SECOND)
        in_the_end(lambda: SECOND in rendered.read_text())
        # its token reaches its longest life, and it signs in anew with what it remembers
        in_the_end(lambda: log.read_text().count("authentication successful") == 2)
        write(door, THIRD)
        in_the_end(lambda: THIRD in rendered.read_text())

    own = [event for event in door.events() if event["actor"] == "service:approle-web"]
    done = [(event["details"]["operation"], event["details"]["accessor"]) for event in own]
    signed_in = [operation for operation, accessor in done if not accessor]
    assert signed_in == ["create a token"] * 2
    tokens = {accessor for _, accessor in done if accessor}
    assert len(tokens) == 2
    assert all(("renew a token", one) in done for one in tokens)
    readers = [one["details"]["accessor"] for one in own if one["id"] == "SERVICE_SECRET_READ"]
    assert set(readers) == tokens
    assert door.told_of("web/db").count("write") == 3
    assert door.holders(FIRST, SECOND, THIRD, wrapping) == []


def test_a_secret_id_that_somebody_else_unwrapped_is_noticed(
    door: VaultDoor, tmp_path: Path
) -> None:
    stolen = settle(door, tmp_path)
    assert door.call("POST", "sys/wrapping/unwrap", b"null", token=stolen).status == 200
    with agent(door, tmp_path, lambda said: "wrapping token is not valid" in said) as log:
        assert "authentication successful" not in log.read_text()
    assert not (tmp_path / "app.conf").exists()


def test_a_role_that_is_gone_lets_nobody_in(door: VaultDoor, tmp_path: Path) -> None:
    settle(door, tmp_path)
    role = tmp_path / "role-id"
    role.write_text("00000000-0000-4000-8000-000000000000")
    with agent(door, tmp_path, lambda said: "invalid role or secret ID" in said):
        assert not (tmp_path / "app.conf").exists()
