"""What is in use is remembered, and the memory has a bound."""

import random
from concurrent.futures import ThreadPoolExecutor

from strongroom.recent import Recent


def test_what_is_asked_for_stays_whatever_else_comes_by() -> None:
    memory: Recent[int, str] = Recent(100)
    for name in range(10):
        memory.keep(name, str(name))
    for other in range(1000, 3000):
        memory.keep(other, "passes by")
        assert memory.get(other % 10) == str(other % 10)
    assert len(memory.names()) <= 100


def test_half_of_all_may_be_in_use_in_turn() -> None:
    """A rule that forgets the oldest, or all, would know none of them when its turn comes."""
    memory: Recent[int, int] = Recent(100)
    for name in range(50):
        memory.keep(name, name)
    for _ in range(5):
        assert [memory.get(name) for name in range(50)] == list(range(50))


def test_what_nobody_asks_for_is_forgotten() -> None:
    memory: Recent[int, int] = Recent(10)
    for name in range(9):
        memory.keep(name, name)
    assert memory.get(0) == 0  # the last of the young, now
    for name in range(20, 24):
        memory.keep(name, name)
    assert memory.get(0) == 0
    assert [memory.get(name) for name in range(1, 5)] == [None] * 4
    assert memory.get(23) == 23


def test_the_newest_of_a_name_counts() -> None:
    memory: Recent[str, int] = Recent(4)
    for number in range(5):
        memory.keep("a", number)
        memory.keep(f"b{number}", number)
        assert memory.get("a") == number


def test_the_least_memory_knows_the_last() -> None:
    memory: Recent[str, int] = Recent(1)
    memory.keep("a", 1)
    assert memory.get("a") == 1
    memory.keep("b", 2)
    assert memory.get("b") == 2
    assert len(memory.names()) <= 2


def test_threads_fill_it_together() -> None:
    memory: Recent[int, int] = Recent(64)

    def use(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(5000):
            name = chance.randrange(200)
            if memory.get(name) not in {None, name}:
                return False
            memory.keep(name, name)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))
    assert len(memory.names()) <= 64 + 4
