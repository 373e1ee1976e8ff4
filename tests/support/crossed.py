"""Tables of one thing crossed with another, as commands with faults: a run takes a sample in which everything stands.

Four hundred pairs of a command and a fault say little more than forty in which each command and each fault occurs: what
breaks is mostly one of the two. Of a test marked `crossed` or `torture` that is parametrized more than once, a run takes
as many cases, by its seed, as show every value of each `parametrize`. `--torture whole` takes all of them, and so does
a command line that names a case.

Of a test marked `sampled(n)` a run takes, by its seed, one case of each n of those that are left then: an enumeration
that is long for what one more of its cases finds, as the same fault in twenty commands.

Coverage leaves them out (`unmeasured`): lines that count may not depend on a seed.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest


def without_whole(
    items: Sequence[pytest.Item], named: Iterable[str]
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests of which a sample is tried, in their order, and those that are tried whole or not at all.

    Args:
        items: All tests.
        named: The command line's arguments; whatever one of them names with its parameters is taken.
    """
    asked = {one for one in named if one.endswith("]")}
    left = {
        item
        for item in items
        if item.get_closest_marker("whole") and not any(one.endswith(item.nodeid) for one in asked)
    }
    return [one for one in items if one not in left], [one for one in items if one in left]


def split(
    items: Sequence[pytest.Item], seed: int, named: Iterable[str]
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that a run takes, in their order, and those that it leaves out.

    Args:
        items: All tests.
        seed: What the choice depends on, besides the tests' names.
        named: The command line's arguments; whatever one of them names with its parameters is taken.
    """
    asked = {one for one in named if one.endswith("]")}
    tables: dict[str, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and _is_crossed(item):
            tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left = {
        item
        for name, table in tables.items()
        for item in set(table) - drawn(chosen(table, f"{seed} {name}"), table, f"{seed} {name}")
        if not any(one.endswith(item.nodeid) for one in asked)
    }
    return [one for one in items if one not in left], [one for one in items if one in left]


def drawn(
    taken: set[pytest.Function], table: Sequence[pytest.Function], seed: str
) -> set[pytest.Function]:
    """One of each n of the cases that were taken, at least one, if their test is marked `sampled(n)`; else all of them."""
    mark = table[0].get_closest_marker("sampled")
    if mark is None:
        return taken
    cases = [one for one in table if one in taken]
    return set(random.Random(f"{seed} sampled").sample(cases, -(-len(cases) // mark.args[0])))


def chosen(table: Sequence[pytest.Function], seed: str) -> set[pytest.Function]:
    """So many cases of a table that each value of each parameter is in one of them, and hardly more."""
    shuffled = list(table)
    random.Random(seed).shuffle(shuffled)
    taken: set[pytest.Function] = set()
    seen: Counter[tuple[str, int]] = Counter()
    most = max(len(_values(one)) for one in table)
    for new in range(most, 0, -1):  # those first that show the most that was not yet seen
        for one in shuffled:
            values = _values(one)
            if sum(not seen[value] for value in values) >= new:
                taken.add(one)
                seen.update(values)
    return taken


def _is_crossed(item: pytest.Item) -> bool:
    """An enumeration of faults is so, too: over formats, commands and kinds of faults."""
    return any(
        item.get_closest_marker(one) is not None for one in ("crossed", "sampled", "torture")
    )


def _values(item: pytest.Function) -> list[tuple[str, int]]:
    """Each parameter of a case with its value, told by which object it is: pytest hands the same one to all cases."""
    return [(name, id(value)) for name, value in sorted(item.callspec.params.items())]
