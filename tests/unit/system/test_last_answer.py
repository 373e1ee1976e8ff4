"""A question whose last answer stays while there is none (P18)."""

import logging

import pytest

from strongroom.errors import CoordinationError, FormatError, StrongroomError
from strongroom.system.last_answer import LastAnswer


def test_the_last_answer_stays_and_each_cause_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cause: StrongroomError | None = FormatError("the entry is damaged")

    def ask() -> int:
        if cause is not None:
            raise cause
        return 2

    answer = LastAnswer(ask, 1, logging.getLogger("tests"), "the number")
    assert [answer(), answer()] == [1, 1]
    cause = CoordinationError("nobody answers")
    assert answer() == 1
    cause = None
    assert answer() == 2
    cause = FormatError("the entry is damaged")
    assert [answer(), answer()] == [2, 2]
    assert [one.getMessage() for one in caplog.records] == [
        f"the number cannot be read; what was known stays: {cause}"
        for cause in ("the entry is damaged", "nobody answers", "the entry is damaged")
    ]
