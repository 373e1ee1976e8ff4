"""Small things that a newcomer and a script met (findings K2, K13, D8, D19, D20, D24)."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import StorageError
from tests.support.command_lines import lines

Capture = pytest.CaptureFixture[str]
DATA = os.urandom(700_000)
"""Three segments."""


def _run(home: Path, tool: str, *words: str | Path) -> int:
    return dispatch.main(tool, ["--data-dir", str(home), *map(str, words)])


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["version"]])
@pytest.mark.parametrize("tool", ["strongroom", "tsm"])
def test_both_tools_tell_their_version(tool: str, words: list[str], capsys: Capture) -> None:
    """Findings D8."""
    assert dispatch.main(tool, words) == 0
    assert capsys.readouterr().out.startswith("strongroom 0.")


@pytest.mark.parametrize("word", ["-v", "--version"])
def test_what_follows_the_version_is_not_ignored(word: str, capsys: Capture) -> None:
    """Findings D8: `strongroom -v status` printed the version."""
    assert dispatch.main("strongroom", [word, "status"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"'strongroom status {word}'" in said.err


@pytest.mark.parametrize(
    "line", [line for line in lines() if line.verbs], ids=lambda line: line.name.replace(" ", "-")
)
def test_help_of_a_command_is_its_help(line: object, capsys: Capture) -> None:
    """Findings D19: `help encrypt`."""
    from tests.support.command_lines import Line

    assert isinstance(line, Line)
    assert dispatch.main(line.tool, ["help", *line.verbs]) == 0
    first = capsys.readouterr().out
    assert dispatch.main(line.tool, [*line.verbs, "--help"]) == 0
    assert capsys.readouterr().out == first
    assert first.startswith("usage: ")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
def test_the_date_in_a_backups_name_is_that_of_whoever_asks(
    node_dir: Path, zone: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K13: UTC's date was appended, and nobody said so. The two zones never have the same date."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        ours = {f"{datetime.now().astimezone():%Y-%m-%d}"}
        assert _run(node_dir, "tsm", "maintenance", "backup", "-f", "n", "-d") == 0
        ours.add(f"{datetime.now().astimezone():%Y-%m-%d}")  # midnight may have passed
    finally:
        monkeypatch.undo()
        time.tzset()
    (made,) = node_dir.rglob("n-*.tsbak")
    assert made.stem.removeprefix("n-") in ours
    offset = {"Pacific/Kiritimati": 14, "Pacific/Pago_Pago": -11, "UTC": 0}[zone]
    there = datetime.now(UTC) + timedelta(hours=offset)
    assert made.stem.removeprefix("n-") in {f"{there:%Y-%m-%d}", *ours}
    capsys.readouterr()


@pytest.mark.parametrize("kept", [-1, 262_144, 4096 + 100, 4096])
@pytest.mark.parametrize("verb", ["verify", "decrypt"])
def test_a_file_that_was_cut_has_no_wrong_key(
    node_dir: Path, tmp_path: Path, kept: int, verb: str, capsys: Capture
) -> None:
    """Findings D24: the header opened, so the key is right."""
    plain, sealed, out = tmp_path / "plain", tmp_path / "sealed", tmp_path / "out"
    plain.write_bytes(DATA)
    assert _run(node_dir, "strongroom", "encrypt", plain, sealed) == 0
    sealed.write_bytes(sealed.read_bytes()[:kept])
    capsys.readouterr()
    assert _run(node_dir, "strongroom", verb, sealed, *([out] if verb == "decrypt" else [])) == 20
    said = capsys.readouterr().err
    assert "its header opened, but the rest was cut or changed" in said
    assert "wrong key" not in said
    assert not out.exists()


@pytest.mark.parametrize("value", ["0", "65", "-1"])
def test_no_extract_at_a_time_is_refused(node_dir: Path, value: str, capsys: Capture) -> None:
    """Findings D20: it was taken, and meant 1."""
    name = "backgrounder.extracts.concurrency"
    words = ("configuration", "set", "-k", name, f"--value={value}")
    assert _run(node_dir, "tsm", *words) == 2
    assert "a whole number from 1 to 64" in capsys.readouterr().err


def test_a_bootstrap_file_that_did_not_arrive_admits_nobody(
    node_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K2: no credential is valid that nobody has; an event tells that it was withdrawn."""

    def fail(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("strongroom.system.durable.write_file", fail)
    words = ("topology", "nodes", "get-bootstrap-file", "-f", tmp_path / "out")
    assert _run(node_dir, "tsm", *words) == 41
    monkeypatch.undo()
    capsys.readouterr()
    assert _run(node_dir, "strongroom", "events", "list", "--json") == 0
    told = {one["id"]: one["details"] for one in json.loads(capsys.readouterr().out)}
    withdrawn = told["NODE_CREDENTIAL_WITHDRAWN"]
    assert withdrawn["credential_id"] == told["BOOTSTRAP_FILE_MADE"]["credential_id"]
    assert not (tmp_path / "out").exists()
