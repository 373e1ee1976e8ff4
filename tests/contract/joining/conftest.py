"""Runs commands in this process, and serves a node beside them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from tests.contract.joining.commands import Said, Tsm
from tests.support.web_client import Served, serve


@pytest.fixture
def tsm(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tsm:
    """Runs a command; the first word is the tool."""
    monkeypatch.chdir(tmp_path)

    def call(tool: str, home: Path, *words: str) -> Said:
        code = dispatch.main(tool, [*words, "--data-dir", str(home)])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def served(node_dir: Path) -> Iterator[Served]:
    with serve(node_dir) as running:
        yield running
