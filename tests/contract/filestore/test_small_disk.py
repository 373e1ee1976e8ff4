"""A real disk that is full: nothing is allocated for a file of one write, and the write finds out."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.filestore.blockfile import WRITE_SLICE_BYTES, NewFile
from tests.support.privileges import small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 1) as folder:
        yield folder


@pytest.mark.parametrize("size", [WRITE_SLICE_BYTES, WRITE_SLICE_BYTES + 1])
def test_a_full_disk_is_told_as_such_and_keeps_what_was_there(disk: Path, size: int) -> None:
    """Written at once or allocated before: the same words, and nothing half-made."""
    data, made = os.urandom(size), list[str]()
    with pytest.raises(StorageError, match="no space left") as caught:  # noqa: PT012 one of them is too many
        for number in range(10):
            with NewFile(disk / str(number), expected_bytes=size) as file:
                file.write_at(0, data)
                file.commit()
            made.append(str(number))
    assert "free some space" in caught.value.hint
    assert 1 <= len(made) < 5
    assert sorted(path.name for path in disk.iterdir()) == made
    assert all((disk / name).read_bytes() == data for name in made)
