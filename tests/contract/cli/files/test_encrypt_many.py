"""`strongroom encrypt --into FOLDER FILE…`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli import dispatch

Run = Callable[..., int]


@pytest.fixture
def run(node_dir: Path) -> Run:
    def strongroom(*words: str | Path) -> int:
        return dispatch.main("strongroom", [*map(str, words), "--data-dir", str(node_dir)])

    return strongroom


def test_many_files_into_a_folder_and_back(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    paths = [tmp_path / name for name in ("a.hyper", "b.parquet", "c")]
    for path in paths:
        path.write_bytes(os.urandom(2000))
    assert run("encrypt", "--into", target, *paths, "--no-sync") == 0
    assert "3 encrypted, 0 failed" in capsys.readouterr().err
    for path in paths:
        assert run("decrypt", target / path.name, tmp_path / "back", "--overwrite") == 0
        assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_the_exit_code_is_that_of_the_first_failure(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"x")
    target = tmp_path / "target"
    target.mkdir()
    assert run("encrypt", "--into", target, tmp_path / "missing", good) == 5
    told = capsys.readouterr().err
    assert "missing" in told
    assert "1 encrypted, 1 failed" in told
    assert [path.name for path in target.iterdir()] == ["good"]


@pytest.mark.parametrize(
    "words",
    [
        ["encrypt", "one"],
        ["encrypt", "one", "two", "three"],
        ["encrypt", "--into", "folder", "x/one", "y/one"],
        ["encrypt", "--into", "folder", "x/one", "x/one"],
        ["encrypt", "--into", "", "one"],
        ["encrypt", "--into", "folder", "-"],
        ["encrypt", "--into", "folder", "one", "--suffix", "/../x"],
        ["encrypt", "-r", "one", "two"],
        ["encrypt", "--suffix", ".sealed", "one", "two"],
        ["encrypt", "--resume", "one", "two"],
        ["decrypt", "one"],
        ["decrypt", "one", "two", "three"],
        ["decrypt", "--into", "folder", "one", "one.sealed"],
        ["decrypt", "--into", "", "one"],
        ["decrypt", "--into", "folder", "-"],
        ["decrypt", "--into", "folder", "one", "--suffix", "a/b"],
        ["decrypt", "-r", "one", "two"],
        ["decrypt", "--suffix", ".sealed", "one", "two"],
        ["decrypt", "--resume", "one", "two"],
    ],
    ids=" ".join,
)
def test_command_lines_that_are_refused(run: Run, words: list[str]) -> None:
    """findings F5: an option that would say nothing, and two inputs with one output."""
    assert run(*words) == 2
    assert not Path("folder").exists()
