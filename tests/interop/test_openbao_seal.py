"""A real OpenBao that is unsealed by a key of ours, through kills of both, rotations and a key that is taken away (ADR 46)."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.servers import create_node
from tests.support.unsealed_bao import UnsealedBao, unsealed_bao
from tests.support.vault_door import served_vault
from tests.support.waiting import in_the_end

pytestmark = pytest.mark.interop

RULES = """
path "transit/encrypt/unseal" { capabilities = ["update"] }
path "transit/decrypt/unseal" { capabilities = ["update"] }
"""
SECRET = "canary-of-the-other-vault-6e21"


class Estate:
    """A served node, and the OpenBao that it unseals."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.node = create_node(folder)
        self.door = stack.enter_context(served_vault(self.node))
        self.node.run("strongroom", "keys", "create", "unseal")
        root = self.node.run("strongroom", "access", "token", "create", "--policy", "root")
        self.door.root = root.last_word
        self.token = self.door.make_token("unseal", RULES, "--period", "1h")
        (folder / "bao").mkdir()
        self.bao = stack.enter_context(
            unsealed_bao(folder / "bao", self.door, "unseal", self.token)
        )

    def kill_the_door(self) -> None:
        """End strongroom at once."""
        self.door.process.kill()
        self.door.process.wait()

    def serve_again(self) -> None:
        """Serve strongroom anew at the same address."""
        port = urlsplit(self.door.url).port
        assert port is not None
        root = self.door.root
        self.door = self._stack.enter_context(served_vault(self.node, port))
        self.door.root = root

    def keys(self, operation: str) -> None:
        """Do something to the key that unseals, as its owner."""
        self.node.run("strongroom", "keys", operation, "unseal")


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with ExitStack() as stack:
        made = Estate(tmp_path_factory.mktemp("unseal"), stack)
        made.bao.initialize()
        in_the_end(lambda: made.bao.serves)
        made.bao.tool.run("secrets", "enable", "-path=kv", "kv")
        made.bao.tool.run("kv", "put", "kv/kept", f"value={SECRET}")
        yield made


def opens(bao: UnsealedBao) -> None:
    """It is unsealed, and has what it had."""
    in_the_end(lambda: bao.serves)
    assert SECRET in bao.tool.run("kv", "get", "kv/kept").out


def refuse_before(estate: Estate, version: int) -> None:
    """Let only versions from one on decrypt."""
    changed = {"min_decryption_version": version}
    assert estate.door.call("POST", "transit/keys/unseal/config", changed).status == 200


def restart(bao: UnsealedBao) -> None:
    """Kill it, and start it."""
    bao.server.kill()
    bao.server.start()


def test_it_opens_by_itself_after_a_kill_of_either_and_rotations(estate: Estate) -> None:
    restart(estate.bao)
    opens(estate.bao)
    estate.kill_the_door()
    opens(estate.bao)  # what is open needs nobody
    estate.bao.server.kill()
    assert "connection refused" in estate.bao.server.fails_to_start()
    estate.serve_again()
    estate.bao.server.start()
    opens(estate.bao)
    estate.keys("rotate")
    estate.kill_the_door()
    estate.serve_again()
    restart(estate.bao)
    opens(estate.bao)
    details = [event["details"] for event in estate.door.events()]
    assert "renew a token" in [one["operation"] for one in details if "operation" in one]
    used = [one for one in details if "key" in one]
    by_it = [one for one in used if one["operation"] in {"encrypt", "decrypt"}]
    assert {one["version"] for one in by_it} == {1, 2}
    assert {one["key"] for one in by_it} == {"transit/unseal"}
    assert estate.door.holders(SECRET, estate.token) == []


def test_with_the_key_disabled_it_stays_shut_and_says_why_and_opens_when_it_is_enabled(
    estate: Estate,
) -> None:
    estate.keys("disable")
    try:
        opens(estate.bao)  # it has what it needs until it ends
        estate.bao.server.kill()
        said = estate.bao.server.fails_to_start()
        assert "the key 'unseal' is disabled" in said
        assert "strongroom keys enable unseal" in said
        (refused, *_) = [
            event
            for event in reversed(estate.door.events())
            if event["id"] == "SERVICE_CALL_REFUSED"
        ]
        (own,) = [
            event["details"]["accessor"]
            for event in estate.door.events()
            if event["details"].get("operation") == "encrypt"
        ][-1:]
        assert refused["details"]["accessor"] == own  # the log names who asked
        assert refused["details"]["what"] == "transit/encrypt/unseal"
    finally:
        estate.keys("enable")
    estate.bao.server.start()
    opens(estate.bao)


def test_it_waits_sealed_for_a_version_that_was_taken_away(estate: Estate) -> None:
    """Its storage is under the version before: with that one refused it runs, and waits; then it takes up the newest."""
    estate.keys("rotate")
    latest = estate.door.call("GET", "transit/keys/unseal").data["latest_version"]
    refuse_before(estate, latest)
    restart(estate.bao)
    in_the_end(lambda: "failed to unseal core" in estate.bao.server.said())
    assert estate.bao.is_sealed
    assert "disallowed by policy" in estate.bao.server.said()
    refuse_before(estate, 1)
    opens(estate.bao)
    refuse_before(estate, latest)
    try:
        restart(estate.bao)
        opens(estate.bao)
    finally:
        refuse_before(estate, 1)
