"""Encrypting what is encrypted: said and refused, unless it is asked for (findings K19)."""

import os
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import FormatError
from strongroom.extracts import model
from strongroom.extracts.model import FileType
from tests.support import forked
from tests.support.servers import BIN

CONTENT = b"the content of a file"


@pytest.fixture
def sealed(node_dir: Path, tmp_path: Path) -> Path:
    (tmp_path / "plain").write_bytes(CONTENT)
    assert _run(node_dir, "encrypt", tmp_path / "plain", tmp_path / "x.sealed") == 0
    return tmp_path / "x.sealed"


def _run(node_dir: Path, *words: str | Path) -> int:
    return dispatch.main("strongroom", [*map(str, words), "--data-dir", str(node_dir)])


def _pipe(node_dir: Path, source: bytes, *words: str | Path) -> forked.Ended:
    command = [str(BIN / "strongroom"), *map(str, words), "--data-dir", str(node_dir)]
    return forked.run(command, folder=Path.cwd(), environment=os.environ, stdin=source)


def test_a_file_is_refused_and_nothing_is_written(
    node_dir: Path, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings K19: the example; a second layer went unnoticed."""
    target = sealed.with_name("y")
    assert _run(node_dir, "encrypt", sealed, target) == 6
    said = capsys.readouterr().err
    assert f"{sealed} is encrypted already" in said
    assert "--again" in said
    assert not target.exists()


def test_it_is_done_if_it_is_asked_for(node_dir: Path, sealed: Path) -> None:
    twice, once, plain = (sealed.with_name(name) for name in ("twice", "once", "out"))
    assert _run(node_dir, "encrypt", "--again", sealed, twice) == 0
    assert _run(node_dir, "decrypt", twice, once) == 0
    assert once.read_bytes() == sealed.read_bytes()
    assert _run(node_dir, "decrypt", once, plain) == 0
    assert plain.read_bytes() == CONTENT


def test_one_among_many_is_named_and_the_others_are_done(
    node_dir: Path, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings K19"""
    folder = sealed.with_name("vault")
    folder.mkdir()
    words = ("encrypt", "--into", folder, sealed, sealed.with_name("plain"))
    assert _run(node_dir, *words) == 6
    said = capsys.readouterr().err
    assert f"{sealed} is encrypted already" in said
    assert {path.name for path in folder.iterdir()} == {"plain"}
    (folder / "plain").unlink()
    assert _run(node_dir, *words, "--again") == 0
    assert {path.name for path in folder.iterdir()} == {"plain", "x.sealed"}


def test_a_pipe_is_refused_before_the_first_byte(node_dir: Path, sealed: Path) -> None:
    """findings K19"""
    ran = _pipe(node_dir, sealed.read_bytes(), "encrypt", "-", "-")
    assert (ran.returncode, ran.stdout) == (6, b"")
    assert b"standard input is encrypted already" in ran.stderr
    again = _pipe(node_dir, sealed.read_bytes(), "encrypt", "--again", "-", "-")
    assert again.returncode == 0
    opened = _pipe(node_dir, again.stdout, "decrypt", "-", "-")
    assert opened.stdout == sealed.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\x89", b"\x89STRONG", b"\x89strong\n", CONTENT], ids=repr
)
def test_what_only_begins_alike_is_encrypted(
    node_dir: Path, tmp_path: Path, content: bytes
) -> None:
    source, target, out = (tmp_path / name for name in ("in", "sealed", "out"))
    source.write_bytes(content)
    assert _run(node_dir, "encrypt", source, target) == 0
    assert _run(node_dir, "decrypt", target, out) == 0
    assert out.read_bytes() == content
    sealed = _pipe(node_dir, content, "encrypt", "-", "-")
    assert _pipe(node_dir, sealed.stdout, "decrypt", "-", "-").stdout == content


@pytest.mark.parametrize("declared", FileType)
def test_an_envelope_is_published_as_no_type(sealed: Path, declared: FileType) -> None:
    """findings K19, its sibling: it says what the file is, not only what it is not."""
    with pytest.raises(FormatError, match="is encrypted by strongroom already") as refused:
        model.check_head(declared, sealed.read_bytes()[: model.HEAD_BYTES])
    assert "decrypt it" in refused.value.hint
