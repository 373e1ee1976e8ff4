"""Pauses ended from the machine, and access tokens after a new password (findings S9, S13)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.node import opening
from tests.support.servers import BIN, ready
from tests.support.web_client import LOCAL, PASSWORD, Client


@contextmanager
def served(node_dir: Path) -> Iterator[Client]:
    command = [str(BIN / "strongroom"), "--data-dir", str(node_dir), "serve", "--port", "0"]
    line, errors = [*command, "--no-backgrounder"], node_dir.with_name("serve.err")
    with ready(line, errors, node_dir.parent, os.environ, forks=True) as (_, url):
        yield Client(int(url.rpartition(":")[2]))


def run(node_dir: Path, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(node_dir), "users", *words])


def test_the_owner_of_the_machine_ends_the_pauses_of_a_running_server(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings S9: the only administrator, guessed at from the address that he has."""
    with served(node_dir) as client:
        for _ in range(8):
            assert client.sign_in(password="wrong").status == 401
        assert client.sign_in(password=PASSWORD).status == 401
        assert run(node_dir, "unlock", "admin") == 0
        assert "'admin' may sign in again" in capsys.readouterr().out
        assert client.sign_in(password=PASSWORD).status == 200


def test_pauses_are_ended_without_a_server_too(node_dir: Path) -> None:
    assert run(node_dir, "unlock", "admin") == 0
    assert run(node_dir, "unlock", "nosuch") == 5


def test_a_new_password_says_which_access_tokens_go_on(
    node_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings S13: they survived it, and nobody said so."""
    file = tmp_path / "password"
    file.write_text("another good one\n")
    words = ("set-password", "admin", "--password-file", str(file))
    assert run(node_dir, *words) == 0
    assert "access token" not in "".join(capsys.readouterr())
    node = opening.open_node(str(node_dir))
    admin = node.users.find("admin")
    node.tokens.create(LOCAL, admin.id, "CI")
    assert run(node_dir, *words) == 0
    assert "1 access token of 'admin' can still be used" in capsys.readouterr().err
    assert run(node_dir, *words, "--revoke-tokens") == 0
    assert "1 access token revoked" in capsys.readouterr().out
    assert node.tokens.list(LOCAL, admin.id) == []
    node.close()
