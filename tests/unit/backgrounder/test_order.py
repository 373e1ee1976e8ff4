"""Which jobs run beside which (findings T6): order and exclusion at one extract, and nowhere else."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from strongroom.backgrounder.order import LARGE_AT_ONCE, SMALL_AT_ONCE, SMALL_ITEMS, startable
from strongroom.jobs.model import JobKind, JobOptions
from strongroom.repository.rows import JobRow
from strongroom.services.jobs.turns import ItemTurns

E, D, K, W = JobKind.ENCRYPT, JobKind.DECRYPT, JobKind.REENCRYPT, JobKind.REWRAP
_numbers = itertools.count()


def job(kind: JobKind, *ids: str, site: str = "s", new_data_key: bool = False) -> JobRow:
    options = JobOptions(ids, new_data_key=new_data_key).to_dict()
    return JobRow(
        f"{next(_numbers):06}", kind, site, None, "", "queued", "me", "now", options=options
    )


def begun(running: list[JobRow], *queued: JobRow) -> list[int]:
    """Positions of the queued jobs that begin."""
    found = list(startable(running, queued))
    return [queued.index(one) for one in found]


@pytest.mark.parametrize("running", [E, K, W])
@pytest.mark.parametrize("small", [E, K, W])
def test_a_small_job_is_let_by_a_large_one_that_agrees_with_it(
    running: JobKind, small: JobKind
) -> None:
    """T6: the refresh of one item waited behind the re-encryption of the whole site."""
    assert begun([job(running)], job(small, "x")) == [0]
    # also one that waits itself
    assert begun([job(D, site="t"), job(K, site="u")], job(running), job(small, "x")) == [1]


@pytest.mark.parametrize("kind", [E, K, W])
def test_a_small_job_waits_for_a_large_one_that_wants_something_else(kind: JobKind) -> None:
    assert begun([job(D)], job(kind, "x")) == []
    assert begun([job(kind)], job(D, "x")) == []
    assert begun([], job(kind), job(D, "x")) == [0]
    assert begun([job(D)], job(D, "x")) == [0]


def test_a_rewrap_does_not_take_the_old_key_from_one_that_gives_new_data_keys() -> None:
    assert begun([job(E, new_data_key=True)], job(W, "x")) == []
    assert begun([job(E)], job(E, "x", new_data_key=True)) == []


@pytest.mark.parametrize("first", list(JobKind))
@pytest.mark.parametrize("second", list(JobKind))
def test_jobs_about_one_extract_keep_their_order(first: JobKind, second: JobKind) -> None:
    assert begun([job(first, "x")], job(second, "x")) == []
    assert begun([], job(first, "x"), job(second, "x")) == [0]
    assert begun([], job(first, "x", "y"), job(second, "y", "z"), job(second, "z")) == [0]
    assert begun([], job(first, "x"), job(second, "y")) == [0, 1]
    assert begun([], job(first, "x"), job(second, "x", site="t")) == [0, 1]


@pytest.mark.parametrize("first", list(JobKind))
@pytest.mark.parametrize("second", list(JobKind))
def test_a_large_job_waits_for_everything_before_it_on_its_site(
    first: JobKind, second: JobKind
) -> None:
    assert begun([job(first)], job(second)) == []
    assert begun([job(first, "x")], job(second)) == []
    assert begun([], job(first, "x"), job(second)) == [0]
    assert begun([job(first)], job(second, site="t")) == [0]


@pytest.mark.parametrize("whole", [E, K, W])
@pytest.mark.parametrize("small", [E, K, W])
def test_small_jobs_do_not_overtake_a_large_one_without_end(whole: JobKind, small: JobKind) -> None:
    """T6: small jobs that were asked for after it kept it waiting for as long as they came."""
    first, waiting = job(small, "x0"), job(whole)
    running, newer = [first], [job(small, f"x{number}") for number in range(1, 6)]
    assert begun(running, waiting, *newer) == [1]
    running = [first, newer.pop(0)]
    assert begun(running, waiting, *newer) == []  # the older one still runs
    assert begun(running[1:], waiting, *newer) == [0, 1]
    assert begun([newer[0], newer[1]], waiting, *newer[2:]) == [0]
    # one that cannot be worked on now is no reason either, if it is newer
    assert list(startable([], [waiting], before=newer[:1])) == [waiting]
    assert list(startable([], [waiting], before=[first])) == []


def test_a_large_job_waits_for_a_newer_one_that_wants_something_else() -> None:
    """It began before the large one was seen; which of them is first matters."""
    waiting = job(K)
    assert begun([job(D, "x")], waiting) == []
    assert begun([job(K, "x", new_data_key=True)], waiting) == []
    many = [f"x{number}" for number in range(SMALL_ITEMS + 1)]
    assert begun([job(K, *many)], waiting) == []
    assert begun([job(K)], waiting) == []


def test_a_job_for_many_extracts_is_large() -> None:
    many = tuple(f"x{number}" for number in range(SMALL_ITEMS + 1))
    assert begun([job(K)], job(W, *many)) == []
    assert begun([job(K)], job(W, *many[1:])) == [0]
    assert begun([job(K, "z")], job(W, *many)) == [0]
    assert begun([job(K, many[3])], job(W, *many)) == []


def test_there_is_room_for_small_jobs_beside_large_ones_and_for_no_more() -> None:
    large = [job(K, site=f"large{number}") for number in range(LARGE_AT_ONCE)]
    small = [job(W, "x", site=f"small{number}") for number in range(SMALL_AT_ONCE)]
    assert begun([], *large, job(K, site="t"), *small, job(W, "x", site="t")) == [0, 1, 3, 4]
    assert begun([*large, *small], job(K, site="t"), job(W, "x", site="t")) == []
    assert begun(large, job(K, site="t"), job(W, "x", site="v")) == [1]


def test_jobs_that_cannot_be_worked_on_keep_their_order_and_take_no_room() -> None:
    stuck = [job(K, site="s"), job(K, site="t")]
    queued = [job(D, "x"), job(K, site="u"), job(K, site="v")]
    assert [queued.index(one) for one in startable([], queued, before=stuck)] == [1, 2]


def test_no_more_is_read_than_there_is_room_for() -> None:
    read: list[JobRow] = []

    def queue() -> Iterator[JobRow]:
        for number in range(10_000):
            read.append(
                job(K if number % 2 else W, *([] if number % 2 else ["x"]), site=str(number))
            )
            yield read[-1]

    assert len(list(startable([], queue()))) == LARGE_AT_ONCE + SMALL_AT_ONCE
    assert len(read) < 20


def test_an_extract_belongs_to_one_job_at_a_time() -> None:
    turns, inside, met = ItemTurns(), list[str](), list[int]()

    def work(content_id: str) -> None:
        for _ in range(50):
            with turns.of(content_id, lambda: None):
                inside.append(content_id)
                met.append(inside.count(content_id))
                inside.remove(content_id)

    threads = [threading.Thread(target=work, args=(one,)) for one in ("x", "x", "y", "y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(met) == {1}


def test_whoever_waits_for_an_extract_may_be_told_to_stop() -> None:
    turns = ItemTurns()

    def stop() -> None:
        raise InterruptedError

    with turns.of("x", stop):
        with pytest.raises(InterruptedError), turns.of("x", stop):
            pytest.fail("two at once")
        with turns.of("y", stop):
            pass
    with turns.of("x", stop):
        pass
