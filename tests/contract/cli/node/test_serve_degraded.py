"""`strongroom serve` with key files that open nothing: it serves what needs no key (findings B4)."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers import TestNode, create_node, serving
from tests.support.web_client import Client, Reply

_LIMIT_S = 60.0


def _first(node: TestNode, name: str) -> Path:
    """The replica that commands and servers read."""
    config = node.home / "tabsvc/config"
    return next(config.glob(f"tabadmincontroller_0.*/tabsvc/keystores/{name}"))


def _truncate(name: str) -> Callable[[TestNode], None]:
    def harm(node: TestNode) -> None:
        os.truncate(_first(node, name), 100)

    return harm


def _remove(name: str) -> Callable[[TestNode], None]:
    def harm(node: TestNode) -> None:
        _first(node, name).unlink()

    return harm


HARMS: dict[str, Callable[[TestNode], None]] = {
    "keystore cut": _truncate("tableauserver.jks"),
    "records gone": _remove("configuration_keys.json"),
}


def until_taken(publish: Callable[[], Reply]) -> Reply:
    """Keys that did not open are not asked for again for some seconds."""
    deadline = time.monotonic() + _LIMIT_S
    while (reply := publish()).status != 201:
        assert time.monotonic() < deadline, reply
        time.sleep(0.2)
    return reply


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TestNode:
    node = create_node(tmp_path_factory.mktemp("degraded"))
    node.run("strongroom", "sites", "set-mode", "Default", "enabled")
    return node


@pytest.mark.parametrize("harm", HARMS)
def test_a_start_with_key_files_that_open_nothing(made: TestNode, harm: str) -> None:
    """findings B4: the comment said that it serves; it ended with 33."""
    HARMS[harm](made)
    errors = made.folder / "serve.err"
    errors.unlink(missing_ok=True)
    with serving(made):
        assert "keys: " in errors.read_text()
        assert "tsm security keystore repair" in errors.read_text()
        status = made.run("tsm", "status", "--json", check=False)
        assert (status.code, status.json["status"]) == (1, "DEGRADED")
        client = Client(int(made.url.rpartition(":")[2]))
        assert client.sign_in().status == 200
        assert client.on_site("GET", "/datasources").status == 200
        kept = client.publish(f"plain {harm}")
        assert kept.status == 201
        assert client.download(kept.find("datasource").get("id", "")).status == 200
        sealed = 'encryptExtracts="true"'
        assert client.publish(f"refused {harm}", attributes=sealed).status >= 400
        made.run("tsm", "security", "keystore", "repair")
        assert made.run("tsm", "status", "--json").json["status"] == "RUNNING"
        after = until_taken(lambda: client.publish(f"sealed {harm}", attributes=sealed))
        assert client.download(after.find("datasource").get("id", "")).status == 200
