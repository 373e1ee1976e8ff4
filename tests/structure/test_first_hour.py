"""The patches of `docs/first-hour.md` fit the files as they are (issue 9, "Must show" 3); tests/docs tries what they do."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs import patches
from tests.structure.test_repository import ROOT


@pytest.mark.parametrize("section", patches.ANSWERS)
def test_each_patch_has_its_place_once(section: str, tmp_path: Path) -> None:
    """Whoever moves a place says so on the page: there it is what a newcomer reads first."""
    patch = patches.changes(section)
    for path in {change.path for change in patch if change.old is not None}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    for change in patch:
        change.apply(tmp_path)
        if change.path.endswith(".py"):
            compile((tmp_path / change.path).read_text(), change.path, "exec")


def test_the_page_has_six_files_to_read_and_no_answer_that_nobody_tries() -> None:
    table = patches.SECTIONS["Six files to read"]
    files = re.findall(r"^\| \[`[a-z_/]+\.py`\]\((\S+)\)", table, re.MULTILINE)
    assert len(files) == 6
    assert [name for name in files if not (patches.PAGE.parent / name).is_file()] == []
    assert set(patches.ANSWERS) == {name for name in patches.SECTIONS if name.startswith("A new ")}
    assert all(patches.changes(section) for section in patches.ANSWERS)
