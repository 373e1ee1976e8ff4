"""`docs/first-hour.md` says where a new thing goes, and it goes there (issue 9, "Must show" 3).

Each answer of the page is a patch with commands. It is applied to a copy of the tree, where the layers are checked and the
commands run; then it is taken out again, and the copy is what it was.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs import patches, transcript
from tests.structure.test_repository import ROOT
from tests.support.servers import BIN


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source, with its bytecode, and its contracts."""
    copy = tmp_path / "tree"
    shutil.copytree(ROOT / "src", copy / "src")
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def contents(tree: Path) -> dict[str, bytes]:
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def environment(tree: Path, home: Path) -> dict[str, str]:
    """The commands of `.venv`, with the copy's code."""
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(tree / "src"),
        "STRONGROOM_HOME": str(home / "node"),
        "HOME": str(home),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }


def layers(tree: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--no-cache"],
        cwd=tree,
        env=environment(tree, home),
        capture_output=True,
        text=True,
        check=False,
    )


def run(section: str, tree: Path, home: Path) -> None:
    """The commands of an answer, on a node that the copy made."""
    home.mkdir()
    (home / "password").write_text("correct horse battery\n")
    page = home / "page.md"
    page.write_text(patches.SECTIONS[section])
    shell = transcript.Shell(home, environment(tree, home))
    made = transcript.Step(
        "strongroom init --admin admin --admin-password-file password", 0, ("…",)
    )
    try:
        for step in [made, *transcript.steps(page)]:
            code, lines = shell.run(step)
            said = "\n".join(lines)
            assert code == step.code, f"$ {step.command}\n{said}"
            assert transcript.agrees(step.expected, lines), f"$ {step.command}\n{said}"
    finally:
        shell.close()


@pytest.mark.parametrize("section", patches.ANSWERS)
def test_a_new_thing_goes_where_the_page_says_and_out_again(
    section: str, tree: Path, tmp_path: Path
) -> None:
    before = contents(tree)
    patch = patches.changes(section)
    for change in patch:
        change.apply(tree)
    assert contents(tree) != before
    checked = layers(tree, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    run(section, tree, tmp_path / "home")
    for change in reversed(patch):
        change.take_out(tree)
    assert contents(tree) == before


@pytest.mark.parametrize("section", patches.ANSWERS)
def test_without_the_patch_its_commands_fail(section: str, tree: Path, tmp_path: Path) -> None:
    """Or the commands would prove nothing."""
    with pytest.raises(AssertionError, match=re.escape(patches.ANSWERS[section])):
        run(section, tree, tmp_path / "home")


def test_a_door_without_a_layer_and_one_that_knows_the_rows_are_refused(
    tree: Path, tmp_path: Path
) -> None:
    files = [change for change in patches.changes("A new door") if change.old is None]
    rest = [change for change in patches.changes("A new door") if change.old is not None]
    for change in files:
        change.apply(tree)
    refused = layers(tree, tmp_path)
    assert refused.returncode == 1
    assert "doorbell" in refused.stdout
    for change in rest:
        change.apply(tree)
    assert layers(tree, tmp_path).returncode == 0
    (tree / files[0].path).with_name("rows.py").write_text('"""Rows."""\n\nimport sqlalchemy\n')
    assert "SQL stays in the repository" in layers(tree, tmp_path).stdout
