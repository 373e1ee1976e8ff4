"""The checker of histories finds what no order explains, and nothing else."""

import pytest

from tests.support.histories import NEVER, Call, Kind, State, is_linearizable

READ, PUT, TAKE = Kind.READ, Kind.PUT, Kind.TAKE

GOOD = {
    "nothing": [],
    "one-after-the-other": [
        Call(PUT, 0, 1, True, "a", 0),
        Call(READ, 2, 3, True, "a", 1),
    ],
    "at-once-either-way": [
        Call(PUT, 0, 9, True, "a", 0),
        Call(READ, 1, 2, True, "", 0),
        Call(READ, 3, 4, True, "a", 1),
    ],
    "refused-by-another": [
        Call(PUT, 0, 9, True, "a", 0),
        Call(PUT, 0, 9, False, "b", 0),
    ],
    "unknown-and-made": [
        Call(PUT, 0, NEVER, None, "a", 0),
        Call(READ, 5, 6, True, "", 0),
        Call(READ, 7, 8, True, "a", 1),
    ],
    "unknown-and-not-made": [
        Call(PUT, 0, NEVER, None, "a", 0),
        Call(PUT, 5, 6, True, "b", 0),
        Call(READ, 7, 8, True, "b", 1),
    ],
    "the-next-holder": [
        Call(TAKE, 0, 1, True, epoch=1),
        Call(TAKE, 2, 3, True, epoch=3),
        Call(PUT, 4, 5, True, "a", 0, 3),
        Call(PUT, 6, 7, False, "b", 1, 1),
    ],
}
BAD = {
    "the-past": [
        Call(PUT, 0, 1, True, "a", 0),
        Call(READ, 2, 3, True, "", 0),
    ],
    "forwards-and-back": [
        Call(PUT, 0, 9, True, "a", 0),
        Call(READ, 1, 2, True, "a", 1),
        Call(READ, 3, 4, True, "", 0),
    ],
    "twice": [
        Call(PUT, 0, 1, True, "a", 0),
        Call(READ, 2, 3, True, "a", 2),
    ],
    "both": [
        Call(PUT, 0, 1, True, "a", 0),
        Call(PUT, 0, 1, True, "b", 0),
    ],
    "refused-and-there": [
        Call(PUT, 0, 1, False, "a", 7),
        Call(READ, 2, 3, True, "a", 1),
    ],
    "refused-for-nothing": [
        Call(PUT, 0, 1, False, "a", 0),
    ],
    "a-holder-that-lost-the-lock": [
        Call(TAKE, 0, 1, True, epoch=1),
        Call(TAKE, 2, 3, True, epoch=2),
        Call(PUT, 4, 5, True, "late", 0, 1),
    ],
    "one-token-for-two": [
        Call(TAKE, 0, 1, True, epoch=1),
        Call(TAKE, 2, 3, True, epoch=1),
    ],
    "unknown-made-twice": [
        Call(PUT, 0, NEVER, None, "a", 0),
        Call(READ, 3, 4, True, "a", 1),
        Call(PUT, 5, 6, True, "b", 1),
        Call(READ, 7, 8, True, "a", 3),
    ],
}


@pytest.mark.parametrize("calls", GOOD.values(), ids=GOOD)
def test_what_an_order_explains(calls: list[Call]) -> None:
    assert is_linearizable(calls)


@pytest.mark.parametrize("calls", BAD.values(), ids=BAD)
def test_what_no_order_explains(calls: list[Call]) -> None:
    assert not is_linearizable(calls)


def test_a_history_may_begin_somewhere() -> None:
    assert is_linearizable([Call(READ, 0, 1, True, "a", 4)], State("a", 4, 2))
