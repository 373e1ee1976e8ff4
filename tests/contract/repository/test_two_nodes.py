"""What two nodes do at once is right in every order of their statements (issue 11 A; a2-1 to a2-3, b11).

SQLite has one writer, so there the second waits; PostgreSQL lets both in as far as their reach and their conditions say.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.jobs.model import JobKind
from strongroom.repository.reach import ROWS
from strongroom.repository.rows import JobRow, Owner
from tests.conftest import Torture
from tests.contract.repository import pairs
from tests.contract.repository.pairs import PAIRS, Pair, worker
from tests.contract.repository.two_nodes import Machine, Nodes, open_nodes
from tests.support.databases import Databases
from tests.support.interleaved import beside, count_boundaries
from tests.support.jobs_lab import NOW, SITE

pytestmark = pytest.mark.table


@pytest.fixture
def nodes(databases: Databases, tmp_path: Path) -> Iterator[Nodes]:
    opened = open_nodes(tmp_path, databases.with_rows())
    yield opened
    opened.close()


@pytest.fixture
def few(torture: Torture) -> Torture:
    return replace(torture, size=max(3, torture.size // 3))


def _fresh(nodes: Nodes, make: Callable[[Nodes], Pair]) -> Pair:
    nodes.reset()
    nodes.remember_files()
    return make(nodes)


def _try(nodes: Nodes, make: Callable[[Nodes], Pair], at: int) -> None:
    pair = _fresh(nodes, make)
    ended = beside(nodes.one.repository, pair.first, pair.second, at, nodes.two.repository)
    pair.check(*ended)
    nodes.check_files()


@pytest.mark.parametrize("make", PAIRS, ids=lambda make: make.__name__)
def test_two_at_once_are_right_in_every_order(
    nodes: Nodes, few: Torture, make: Callable[[Nodes], Pair]
) -> None:
    count = count_boundaries(nodes.one.repository, _fresh(nodes, make).first)
    assert count
    for at in few.choose(range(count + 1)):
        _try(nodes, make, at)


def test_a_node_leaves_the_jobs_of_another_alone(nodes: Nodes) -> None:
    """a2-2: it took over, and gave up, every running job that its own engine did not know."""
    nodes.reset()
    job = nodes.two.start(JobKind.ENCRYPT)
    waiting = nodes.one.jobs.enqueue(JobKind.DECRYPT, SITE, "os:test")
    here = worker(nodes.one)
    own, elsewhere = here._running()
    assert own == []
    assert [one.id for one in elsewhere] == [job.id]
    here._clear_away()
    assert nodes.one.jobs.show(job.id).owner == nodes.two.owner
    # it keeps its place in the order: the site's other job waits for it
    here._dispatch([], [], elsewhere)
    assert nodes.one.jobs.show(waiting.id).state == "queued"


def test_a_process_takes_over_the_jobs_of_its_nodes_dead_process(nodes: Nodes) -> None:
    nodes.reset()
    job = nodes.one.start(JobKind.ENCRYPT)
    after = Machine(nodes.one.folder, url=nodes.one.url, owner=Owner("node1", "later"))
    worker(after)._clear_away()
    assert after.jobs.show(job.id).owner == after.owner
    with nodes.one.repository.transaction() as tx:
        assert not tx.jobs.progress(job.id, done=1, total=1, bytes_done=1)
        assert not tx.jobs.is_held(job.id)
    after.repository.close()


def test_a_job_that_another_node_was_quicker_to_take_is_taken_when_it_is_given_back(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 32; found by E9. The queue looked as it had when the claim was lost, and nobody looked at the job ever again."""
    nodes.reset()
    job, here = nodes.one.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test"), worker(nodes.one)
    taken: list[str] = []
    monkeypatch.setattr(here, "_take_up", lambda one: taken.append(one.id))
    queued = here._queued

    def beaten() -> Iterator[JobRow]:
        found = list(queued())
        with nodes.two.repository.transaction() as tx:
            assert tx.jobs.claim(job.id, NOW)
        yield from found

    with monkeypatch.context() as patch:
        patch.setattr(here, "_queued", beaten)
        here._dispatch([], [], [])
    assert taken == []
    _, elsewhere = here._running()
    here._dispatch([], [], elsewhere)
    assert nodes.one.jobs.give_back(elsewhere[0])
    here._dispatch([], [], [])
    assert taken == [job.id]
    assert nodes.one.jobs.show(job.id).owner == nodes.one.owner


BROKEN = {
    "parts without a lock": (pairs.two_parts, "strongroom.services.content.uploads.of_site"),
    "publications without a lock": (
        pairs.one_quota_twice,
        "strongroom.services.content.publish.of_site",
    ),
    "jobs without a lock": (pairs.one_job_twice, "strongroom.services.jobs.queue.of_site"),
}


@pytest.fixture
def on_postgres(postgres_databases: Databases, tmp_path: Path) -> Iterator[Nodes]:
    opened = open_nodes(tmp_path, postgres_databases.with_rows())
    yield opened
    opened.close()


def _goes_wrong(nodes: Nodes, make: Callable[[Nodes], Pair]) -> bool:
    """Whether one order at least does."""
    count = count_boundaries(nodes.one.repository, _fresh(nodes, make).first)
    for at in range(count + 1):
        try:
            _try(nodes, make, at)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("name", BROKEN)
def test_a_lock_that_is_left_out_is_found(
    name: str, on_postgres: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The enumeration sees what it is for."""
    make, lock = BROKEN[name]
    monkeypatch.setattr(lock, lambda _: ROWS)
    assert _goes_wrong(on_postgres, make)


def test_a_key_without_its_lock_is_found(
    on_postgres: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.repository.gateways.guards.hold", lambda *_, **__: None)
    assert _goes_wrong(on_postgres, pairs.a_key_that_is_retired)
