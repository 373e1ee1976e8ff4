"""Sentences that people read."""

import pytest

from strongroom.system.plural import counted, sized


def test_one_is_not_told_as_many() -> None:
    assert [counted(number, "MEK") for number in (0, 1, 2)] == ["0 MEKs", "1 MEK", "2 MEKs"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1023 * 1024, "1023.0 KiB"),
        (3_000_000, "2.9 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 60, "1048576.0 TiB"),
    ],
)
def test_bytes_for_people(count: int, shown: str) -> None:
    """Findings F4; 1024.0 KiB are 1.0 MiB."""
    assert sized(count) == shown
