"""The consumer of `docs/first-hour.md` is one file and one line, and what rotates secrets knows it (ADR 26)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import patches
from tests.docs.installation import Installation, forks_of
from tests.docs.test_first_hour import environment, tree

__all__ = ["tree"]
PATCH = patches.changes("A new consumer")


@pytest.fixture
def node(tree: Path, tmp_path: Path) -> Iterator[Installation]:
    for change in PATCH:
        change.apply(tree)
    variables = environment(tree, tmp_path / "home")
    with forks_of(variables) as forks:
        yield Installation(tmp_path / "home", variables, forks).made()


def password(node: Installation) -> str:
    return node.run("tsm configuration get -k pager.password --reveal-key-material").strip()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_it_is_one_file_and_one_line() -> None:
    """What it needs beside that in `src` would be a table by kind that somebody forgets."""
    (module,) = (change for change in PATCH if change.old is None)
    (line,) = (change for change in PATCH if change.old is not None)
    assert Path(module.path).parent == Path(line.path).parent
    assert len(line.new.splitlines()) == len((line.old or "").splitlines()) + 1


def test_commands_know_it(node: Installation) -> None:
    """Its setting and its secret, a rotation, the inventory, and a regeneration."""
    first = password(node)
    place = node.home / "duty"
    place.write_text(f"{digest(first)}\n")
    assert "pager.file" in node.run("tsm configuration list pager")
    refused = node.run("tsm configuration set -k pager.file -v duty", code=2)
    assert "an absolute path" in refused
    node.run(f"tsm configuration set -k pager.file -v {place}")
    node.run("tsm pending-changes apply --ignore-prompt")
    node.run("tsm security secrets rotate pager.password")
    second = password(node)
    assert second != first
    assert place.read_text().split() == [digest(second)]
    assert "pager" in node.run("tsm security secrets verify")
    copies = str(node.told("tsm security secrets inventory"))
    assert str(place) in copies
    node.run("tsm security regenerate-internal-tokens --ignore-prompt")
    third = password(node)
    assert third not in {first, second}
    assert place.read_text().split() == [digest(third)]


def test_without_the_line_its_keys_are_unknown(tree: Path, tmp_path: Path) -> None:
    """Or the commands above would prove nothing."""
    (module,) = (change for change in PATCH if change.old is None)
    module.apply(tree)
    variables = environment(tree, tmp_path / "home")
    with forks_of(variables) as forks:
        found = Installation(tmp_path / "home", variables, forks).made()
        assert "Unknown key" in found.run("tsm configuration get -k pager.file", code=5)
