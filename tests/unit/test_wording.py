"""Sentences that people read."""

from strongroom.wording import counted


def test_one_is_not_told_as_many() -> None:
    assert [counted(number, "MEK") for number in (0, 1, 2)] == ["0 MEKs", "1 MEK", "2 MEKs"]
