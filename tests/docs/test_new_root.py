"""The root of `docs/first-hour.md` is one file and one line, and every command that a root has knows it (ADR 26)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.crypto import age
from tests.docs import patches
from tests.docs.installation import Installation, forks_of
from tests.docs.test_first_hour import environment, layers, tree
from tests.support import forked

__all__ = ["tree"]
PATCH = patches.changes("A new root")


def roots(node: Installation) -> list[tuple[str, str, str]]:
    listed = node.told("tsm security kms roots list")
    return [(one["kind"], one["role"], one["state"]) for one in listed]


@pytest.fixture
def patched(tree: Path) -> Path:
    for change in PATCH:
        change.apply(tree)
    return tree


@pytest.fixture
def forks(patched: Path, tmp_path: Path) -> Iterator[forked.Forks]:
    with forks_of(environment(patched, tmp_path)) as found:
        yield found


@pytest.fixture
def node(patched: Path, forks: forked.Forks, tmp_path: Path) -> Installation:
    home = tmp_path / "home"
    found = Installation(home, environment(patched, home), forks).made()
    for name in ("root.key", "other.key"):
        (found.home / name).write_bytes(name.encode().ljust(32, b"."))
    return found


def test_it_is_one_file_and_one_line() -> None:
    """What it needs beside that in `src` would be a table by kind that somebody forgets."""
    (module,) = (change for change in PATCH if change.old is None)
    (line,) = (change for change in PATCH if change.old is not None)
    assert Path(module.path).parent == Path(line.path).parent
    assert line.path == "src/strongroom/roots/registry.py"
    assert len(line.new.splitlines()) == len((line.old or "").splitlines()) + 1


def test_the_layers_hold(patched: Path, tmp_path: Path) -> None:
    done = layers(patched, tmp_path)
    assert done.returncode == 0, done.stdout


def test_commands_know_it(node: Installation) -> None:
    """Options, words of status, moves there and back, beside the mode, taken away."""
    for group in ("set-mode", "roots add"):
        assert "a file with a key" in node.run(f"tsm security kms {group} --help")
        shown = node.run(f"tsm security kms {group} keyfile --help")
        assert re.search(r"--key-file FILE +file with 32 bytes", shown)
        assert f"example:  tsm security kms {group} keyfile --key-file root.key" in shown
    move = "tsm security kms set-mode keyfile --key-file"
    node.run("tsm security kms set-mode keyfile", code=2)
    assert "there is no file" in node.run(f"{move} none.key", code=2)
    assert "nothing was changed" in node.run(f"{move} root.key --dry-run")
    node.run(f"{move} root.key")
    said = node.run("tsm security kms status")
    assert "Mode: Key file" in said
    assert f"Root key: keyfile:{node.home / 'root.key'}" in said
    assert node.told("tsm security kms status")["mode"] == "keyfile"
    added = node.run("tsm security kms roots add keyfile --key-file other.key")
    assert roots(node) == [("keyfile", "mode", "ok"), ("keyfile", "recovery", "ok")]
    assert "other.key" in node.run("tsm security kms roots verify")
    node.run(f"tsm security kms roots remove {added.split()[-1]} --yes")
    node.run("tsm security kms rotate")
    assert roots(node) == [("keyfile", "mode", "ok")]
    node.run("tsm security kms set-mode local")
    assert "Mode: Local" in node.run("tsm security kms status")


def test_a_backup_is_opened_by_it_elsewhere(
    node: Installation, patched: Path, forks: forked.Forks, tmp_path: Path
) -> None:
    node.run("tsm security kms set-mode keyfile --key-file root.key")
    made = node.told("strongroom backup make -f nightly")["file"]
    home = tmp_path / "other"
    other = Installation(home, environment(patched, home), forks).made()
    refused = other.run(f"strongroom backup restore -f {made} --yes", code=30)
    assert "--use-backup-roots" in refused
    other.run(f"strongroom backup restore -f {made} --yes --use-backup-roots")


def test_a_node_whose_key_is_gone_is_recovered(node: Installation) -> None:
    identity = age.new_identity()
    (node.home / "identity").write_bytes(identity.text.reveal())
    node.run("tsm security kms set-mode keyfile --key-file root.key")
    node.run(f"tsm security kms roots add age --recipient {identity.recipient}")
    (node.home / "root.key").unlink()
    assert "cannot be read" in node.run("tsm security kms status", code=1)
    node.run("strongroom recover --identity identity")
    assert roots(node) == [("local", "mode", "ok"), ("age", "recovery", "offline")]


def test_without_the_line_it_is_no_kind(tree: Path, tmp_path: Path) -> None:
    """Or the commands above would prove nothing."""
    (module,) = (change for change in PATCH if change.old is None)
    module.apply(tree)
    variables = environment(tree, tmp_path / "home")
    with forks_of(variables) as forks:
        found = Installation(tmp_path / "home", variables, forks)
        said = found.run("tsm security kms set-mode keyfile --key-file root.key", code=2)
    assert "invalid choice: 'keyfile'" in said
