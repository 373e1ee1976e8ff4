"""A secret that is kept only until it was used: C-29."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.config import versions
from strongroom.eventlog.events import secret_events
from strongroom.node.opening import Node
from tests.support.small_node import copy_small_node

RUN_AS = "service.runas.password"
KEPT = "ssl.key.passphrase"


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path)
    yield made
    made.close()


def run(node: Node, *words: str) -> int:
    return dispatch.main("tsm", [*words, "--data-dir", str(node.paths.root)])


def test_applying_it_leaves_nothing_of_it(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """It stood in the configuration for ever, and in every service's files."""
    for name in (RUN_AS, KEPT):
        assert run(node, "configuration", "set", "-k", name, "-v", "once") == 0
    assert run(node, "pending-changes", "list") == 0
    assert RUN_AS in capsys.readouterr().out
    assert run(node, "pending-changes", "apply", "--ignore-prompt") == 0
    said = capsys.readouterr().err
    assert f"{RUN_AS} is not kept" in said
    assert f"{KEPT} is not kept" not in said
    assert node.configuration.open_secret(KEPT).reveal() == b"once"
    assert run(node, "configuration", "get", "-k", RUN_AS) == 7
    assert not node.configuration.has_pending
    assert RUN_AS not in node.configuration.document().values
    previous = versions.load_previous(node.coordinator)
    assert previous is not None
    assert RUN_AS not in previous.values
    files = [path for path in node.paths.config.rglob("*.yml") if RUN_AS in path.read_text()]
    assert files == []
    (told,) = [
        one for one in node.events.read() if one["id"] == secret_events.CONFIGURATION_APPLIED
    ]
    assert f"'secrets': '{RUN_AS} {KEPT}'" in str(told["details"])


def test_one_that_an_older_version_kept_goes_with_the_next_change(node: Node) -> None:
    sealed = node.configuration.seal_secret(RUN_AS, b"once")
    node.configuration.compare_and_put(lambda old: old.with_values({RUN_AS: sealed}))
    assert run(node, "configuration", "set", "-k", "gateway.timeout", "-v", "10") == 0
    assert run(node, "pending-changes", "apply", "--ignore-prompt") == 0
    assert RUN_AS not in node.configuration.document().values


def test_nothing_is_said_of_one_that_was_not_set(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(node, "configuration", "set", "-k", RUN_AS, "-d") == 0
    assert run(node, "pending-changes", "apply", "--ignore-prompt") == 0
    assert "is not kept" not in capsys.readouterr().err
