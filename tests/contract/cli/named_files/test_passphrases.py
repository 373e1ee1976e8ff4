"""No command seals anything of a node to a passphrase that can be guessed (X10 of the review of format 1)."""

from pathlib import Path

import pytest

from strongroom.cli import dispatch

SEALERS = {
    "backup": ("maintenance", "backup", "-f", "b"),
    "settings": ("settings", "export", "-f", "out"),
    "bootstrap file": ("topology", "nodes", "get-bootstrap-file", "-f", "out"),
}


@pytest.mark.parametrize("words", SEALERS.values(), ids=SEALERS)
def test_one_character_seals_nothing_of_a_node(
    words: tuple[str, ...],
    node_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A passphrase of one character sealed the RMK of a backup, and was told as a proof of its origin."""
    monkeypatch.chdir(tmp_path)
    Path("phrase").write_text("a\n")
    command = ["--data-dir", str(node_dir), *words, "--passphrase-file", "phrase"]
    assert dispatch.main("tsm", command) == 2
    assert "at least 12 characters" in capsys.readouterr().err
    assert not Path("out").exists()
    assert not list(node_dir.rglob("*.tsbak"))
