"""Which files a command finds in folders (findings F5)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.filestore import trees

NOBODY = 65534


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that everybody may read."""
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def without_privilege() -> Iterator[None]:
    """The super-user reads everything, so it becomes somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_folder_that_may_not_be_read_is_told_and_the_others_are_searched(work: Path) -> None:
    """findings F5"""
    for name in ("tree/shut", "tree/to", "other"):
        (work / name).mkdir(parents=True)
        (work / name / "file").write_bytes(b"1234")
    (work / "tree/shut").chmod(0)
    with without_privilege():
        found = trees.find(["tree", "other"], recursive=True)
    (work / "tree/shut").chmod(0o700)
    assert [(file.path, file.place, file.size) for file in found.files] == [
        ("tree/to/file", "tree/to/file", 4),
        ("other/file", "other/file", 4),
    ]
    ((name, error),) = found.failed
    assert name == "tree/shut"
    assert isinstance(error, StorageError)
    assert error.message == "cannot read tree/shut: permission denied"


def test_the_order_is_steady_and_files_come_before_folders(work: Path) -> None:
    for name in ("b", "a", "c/2", "c/1", "c/d/0", "B"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).touch()
    found = trees.find(["."], recursive=True)
    assert [file.place for file in found.files] == ["B", "a", "b", "c/1", "c/2", "c/d/0"]
    assert found.folders == ["", "c", "c/d"]


@pytest.mark.parametrize("apart", [None, "missing", "tree/out", "link"])
def test_the_folder_of_the_outputs_is_known_by_any_name(work: Path, apart: str | None) -> None:
    """findings F5: by what it is, not by how it is spelled."""
    (work / "tree/out").mkdir(parents=True)
    (work / "tree/out/made").touch()
    (work / "link").symlink_to("tree/out")
    found = trees.find(["tree"], recursive=True, apart=apart)
    known = apart in {"tree/out", "link"}
    assert [file.path for file in found.files] == ([] if known else ["tree/out/made"])
    assert found.left_out == ([("tree/out", "the outputs go there")] if known else [])


def test_a_named_file_that_is_not_there_is_left_to_whoever_opens_it(work: Path) -> None:
    del work
    found = trees.find(["missing"], recursive=True)
    assert found.files == [trees.FoundFile("missing", "missing", 0, named=True)]
