"""`tsm security kms roots` and `kms adopt`: Q-05, M1. The outside root is the fake of test_roots."""

import json
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import RootUnavailableError
from tests.support.memory_root import Outside

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
AWS = ("aws", "--aws-region", "us-west-2", "--key-arn", ARN)


def kms(node_dir: Path, *words: str) -> int:
    return dispatch.main("tsm", ["security", "kms", *words, "--data-dir", str(node_dir)])


def test_a_recovery_root_is_added_shown_verified_and_removed(
    node_dir: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kms(node_dir, "roots", "add", *AWS) == 0
    wrap_id = capsys.readouterr().out.split()[-1]
    assert kms(node_dir, "roots", "list") == 0
    shown = capsys.readouterr()
    assert ARN in shown.out
    assert shown.out.startswith("WRAP ID")
    assert kms(node_dir, "roots", "verify", "--json") == 0
    local, aws = json.loads(capsys.readouterr().out)
    assert (local["role"], local["state"]) == ("mode", "ok")
    assert (aws["role"], aws["state"], aws["wrap_id"]) == ("recovery", "ok", wrap_id)
    assert kms(node_dir, "roots", "add", *AWS) == 7
    assert kms(node_dir, "roots", "remove", local["wrap_id"]) == 7
    assert kms(node_dir, "roots", "remove", wrap_id) == 0
    assert kms(node_dir, "roots", "remove", wrap_id) == 5


def test_a_root_that_does_not_answer_makes_the_list_end_with_1(
    node_dir: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    kms(node_dir, "roots", "add", *AWS)
    outside.failure = RootUnavailableError("connection refused")
    capsys.readouterr()
    assert kms(node_dir, "roots", "list") == 1
    shown = capsys.readouterr()
    assert "error" in shown.out
    assert "connection refused" in shown.err


def test_keys_left_behind_are_taken_back(
    node_dir: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kms(node_dir, "set-mode", *AWS) == 0
    outside.failure = RootUnavailableError("gone")
    assert kms(node_dir, "set-mode", "local") == 30
    assert kms(node_dir, "set-mode", "local", "--abandon-external-keys") == 0
    capsys.readouterr()
    assert kms(node_dir, "adopt") == 0
    assert "nothing was changed" in capsys.readouterr().out
    outside.failure = None
    assert kms(node_dir, "adopt") == 0
    assert capsys.readouterr().out.count("available again: ") == 2
    assert kms(node_dir, "status") == 0


def test_a_root_that_goes_away_right_after_the_change_leaves_it_in_force(
    node_dir: Path, outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change was proved before its commit: it is said to be done, and the status is red."""
    outside.left = 5
    assert kms(node_dir, "set-mode", *AWS) == 0
    assert "KMS mode set to aws" in capsys.readouterr().out
    assert kms(node_dir, "status") == 1
    outside.left = -1
    assert kms(node_dir, "status") == 0
