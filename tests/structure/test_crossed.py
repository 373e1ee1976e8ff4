"""What a run takes of a table that crosses two things (`tests.support.crossed`)."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support import crossed

COMMANDS = [f"command {number}" for number in range(40)]
FAULTS = ["full", "closed", "slow"]


@dataclass(eq=False)
class _Case:
    callspec: SimpleNamespace
    get_closest_marker: Any = None


def _table(*values: list[str]) -> list[Any]:
    cases: list[dict[str, str]] = [{}]
    for name, some in zip("abc", values, strict=False):
        cases = [{**case, name: one} for case in cases for one in some]
    return [_Case(callspec=SimpleNamespace(params=case)) for case in cases]


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_each_value_is_tried_and_hardly_more(seed: str) -> None:
    table = _table(COMMANDS, FAULTS)
    taken = [case.callspec.params for case in table if case in crossed.chosen(table, seed)]
    assert {case["a"] for case in taken} == set(COMMANDS)
    assert {case["b"] for case in taken} == set(FAULTS)
    assert len(taken) == len(COMMANDS)


def test_another_seed_takes_others_and_the_same_seed_the_same() -> None:
    table = _table(COMMANDS, FAULTS, COMMANDS)
    assert crossed.chosen(table, "1") == crossed.chosen(table, "1")
    assert crossed.chosen(table, "1") != crossed.chosen(table, "2")


def test_a_table_of_one_thing_is_taken_whole() -> None:
    table = _table(COMMANDS)
    assert crossed.chosen(table, "1") == set(table)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_of_a_sampled_test_a_part_is_taken_and_never_none(seed: str) -> None:
    for count, taken in ((40, 14), (3, 1), (1, 1)):
        table = _table(COMMANDS[:count])
        for case in table:
            case.get_closest_marker = lambda _: pytest.mark.sampled(3).mark
        found = crossed.drawn(set(table), table, seed)
        assert len(found) == taken
        assert found <= set(table)
        assert found == crossed.drawn(set(table), table, seed)


@pytest.mark.crossed
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS[:6])
def test_this_one_is_such_a_table(request: pytest.FixtureRequest, command: str, fault: str) -> None:
    """Of eighteen cases six are run, unless all are asked for, or this one by its name."""
    named = any("[" in one for one in request.config.args)
    mine = [one for one in request.session.items if one.name.startswith("test_this_one_is")]
    whole = request.config.option.torture == "whole"
    assert named or len(mine) == (18 if whole else 6)
    assert cast("Any", request.node).callspec.params == {"command": command, "fault": fault}
