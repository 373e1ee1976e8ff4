"""Says in one line where two long values differ.

pytest explains a comparison that failed by a diff of the whole values if the variable CI is set: of two values of a few
mebibytes that takes longer than a test may run, and the time limit then hides what failed.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

from _pytest.assertion import util

LONGEST_DIFF = 64 * 1024
"""Of longer values only sizes and the first difference are told."""


def told_briefly() -> None:
    """From now on, failed comparisons of two long byte strings or texts are explained in one line."""
    explain = util.assertrepr_compare

    def assertrepr_compare(*, op: str, left: Any, right: Any, **others: Any) -> Iterator[str]:
        if op == "==" and _is_long(left) and _is_long(right):
            return iter([difference(left, right)])
        return explain(op=op, left=left, right=right, **others)

    util.assertrepr_compare = assertrepr_compare  # type: ignore[assignment]


def difference(left: Any, right: Any) -> str:
    """Sizes of two values that are not equal, and the first position at which they differ."""
    pairs = zip(count(), left, right, strict=False)
    first = next((at for at, one, other in pairs if one != other), min(len(left), len(right)))
    return f"{len(left)} == {len(right)} long values, which differ first at {first}"


def _is_long(value: Any) -> bool:
    return isinstance(value, str | bytes | bytearray | memoryview) and len(value) > LONGEST_DIFF
