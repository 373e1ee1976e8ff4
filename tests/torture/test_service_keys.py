"""Kills at every system call of a change of service keys and tokens: what is there has its event, and all still opens.

docs/format/service-keys.md 5.1: a change is recorded in its transaction, before the commit.
"""

from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.service_keys.model import KeyKind, KeyState
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import own
from strongroom.services.service_keys.use import ToDecrypt, ToEncrypt
from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import KILL, Lab, Outcome

pytestmark = pytest.mark.torture
BY = By("os:tests")
COMMANDS = {
    "create": "strongroom keys create orders",
    "rotate": "strongroom keys rotate k",
    "schedule deletion": "strongroom keys schedule-deletion -y k",
    "create a token": "strongroom access token create --policy root",
}


@pytest.fixture(scope="module")
def start(fresh_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with a key, and beside it a value of that key."""
    place = nodes.copy(fresh_node, tmp_path_factory.mktemp("keys") / "start")
    with nodes.opened(place / "node") as node:
        node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
        (made,) = node.service_key_use.encrypt(BY, own("k"), [ToEncrypt(SecretBytes(b"x"))])
        (place / "value").write_text(made.text)
    return place


@pytest.mark.parametrize("title", COMMANDS)
def test_what_a_killed_change_left_has_its_event(
    title: str, start: Path, tmp_path: Path, torture: Torture
) -> None:
    words, home = COMMANDS[title].split(), tmp_path / "place" / "node"
    lab = Lab(start, tmp_path / "place", words, {"STRONGROOM_HOME": "{place}/node"})

    def check(_: Outcome) -> None:
        nodes.check_opens(home)
        with nodes.opened(home) as node:
            ids = ("SERVICE_KEY_CHANGED", "SERVICE_ACCESS_CHANGED")
            told = [str(dict(one)["details"]["operation"]) for one in node.events.history(*ids)]  # type: ignore[index]
            keys = {row.name: row for row in node.service_keys.all()}
            done = {
                "create": "orders" in keys,
                "rotate": keys["k"].latest > 1,
                "schedule deletion": keys["k"].state == KeyState.PENDING_DELETION,
                "create a token": bool(node.service_tokens.list()),
            }[title]
            # an event without its change is possible: the kill came before the commit
            assert not done or any(one.startswith(title) for one in told), told
            if keys["k"].state == KeyState.ENABLED:
                value = ToDecrypt((tmp_path / "place" / "value").read_text())
                (found,) = node.service_key_use.decrypt(BY, own("k"), [value])
                assert found.plain == SecretBytes(b"x")

    harness.torture(lab, torture.choose(lab.points(KILL)), check)
