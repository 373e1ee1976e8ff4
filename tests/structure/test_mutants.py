"""The list of mutants fits the code as it is (findings M3): `make mutants` tries them."""

from collections import Counter

import pytest

from scripts import mutants

LIST = mutants.read()
ROOMS = (
    "access",
    "backup",
    "crypto",
    "envelope",
    "eventlog",
    "keystore",
    "kms",
    "secrets",
    "services",
)


def test_no_two_have_one_name_or_one_change() -> None:
    assert (
        len({one.name for one in LIST})
        == len({(one.path, one.old, one.new) for one in LIST})
        == len(LIST)
    )


@pytest.mark.parametrize("mutant", LIST, ids=lambda one: one.name)
def test_each_changes_one_place_and_names_tests_that_exist(mutant: mutants.Mutant) -> None:
    text = (mutants.ROOT / mutant.path).read_text()
    changed = mutant.apply(text)
    compile(changed, mutant.path, "exec")
    assert mutant.tests
    assert all((mutants.ROOT / test.split("::")[0]).exists() for test in mutant.tests)


def test_there_are_enough_of_each_room_and_most_of_the_use_cases() -> None:
    """findings M3: at least 60; a fault of a use case costs more than one of a codec, which vectors hold."""
    counts = Counter(one.name.split(":")[0] for one in LIST)
    assert sum(counts.values()) >= 60
    assert {room: counts[room] for room in ROOMS if counts[room] < 3} == {}
    assert counts["services"] > max(count for room, count in counts.items() if room != "services")
    assert counts["services"] >= 20


@pytest.mark.parametrize("mutant", LIST, ids=lambda one: one.name)
def test_each_is_called_after_the_package_that_it_breaks(mutant: mutants.Mutant) -> None:
    package = f"src/strongroom/{mutant.name.split(':')[0]}"
    assert mutant.path.startswith(f"{package}/") or mutant.path == f"{package}.py"
    assert len(mutant.why) > 3


def test_those_that_once_survived_are_in_it() -> None:
    """findings M1, M2: eleven, each a sentence of the finding."""
    named = [one.name for one in LIST if "(M1)" in one.name or "(M2)" in one.name]
    assert len(named) >= 11
