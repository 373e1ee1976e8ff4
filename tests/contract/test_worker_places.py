"""Several backgrounders of one node: each goes on with what its own place left, and leaves its neighbours alone (ADR 61; b9)."""

import itertools
import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from strongroom.backgrounder import worker
from strongroom.backgrounder.worker import Advice, Place, Worker
from strongroom.errors import ConflictError
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind
from strongroom.node import opening
from strongroom.repository.rows import IntentRow, JobRow, Owner
from strongroom.services.jobs.journal import PURPOSE
from tests.support import loggers
from tests.support.jobs_lab import NOW, SITE, Lab

EXTRACTS = 6
LOOKS = 12
"""How often a backgrounder looks that has nothing to do."""


def lab_of(folder: Path, place: int, boot: str) -> Lab:
    """The same site, as a process in one place of node1 sees it."""
    return Lab(folder, owner=Owner.in_place("node1", boot, place))


def place_of(folder: Path, number: int) -> Place:
    name = f"workflows_{number}.db" if number else "workflows.db"
    return Place(folder / name, "node1", number=number)


def lives(_: JobRow) -> AbstractContextManager[object]:
    raise ConflictError("that place is held")


@pytest.fixture
def left(tmp_path: Path) -> Iterator[tuple[Path, str, dict[str, bytes]]]:
    """A job of the second backgrounder, which died in its middle: its folder, its id, and what was published."""
    lab = lab_of(tmp_path, 1, "dead").set_up()
    for _ in range(EXTRACTS):
        lab.publish(b"x" * 200_000, encrypted=False)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    stopping = threading.Event()

    def limits() -> tuple[int, int]:
        if any(lab.row(one).file_id for one in lab.plain):
            stopping.set()  # in the midst of the second extract
        return 1, 800_000

    Worker(lab.ports, place_of(tmp_path, 1), stopping, Advice(limits)).run()
    found = lab.jobs.show(job)
    assert (found.state, found.owner) == ("running", Owner("node1", "dead.1"))
    stored = lab.store(new_id(), b"half", encrypted=True)
    unfinished = (stored.storage_key, stored.file_id, stored.mek_id)
    with lab.repository.transaction() as tx:
        tx.intents.insert(IntentRow(*unfinished, PURPOSE, NOW))
    yield tmp_path, job, lab.plain
    lab.repository.close()


@contextmanager
def looking(
    folder: Path, number: int, left: worker.Left, most: float = math.inf
) -> Iterator[tuple[Lab, Callable[[], None]]]:
    """A backgrounder of the node that looks so often, or until all jobs have ended."""
    lab = lab_of(folder, number, "next")

    def run() -> None:
        looks = itertools.count()

        def enough() -> bool:
            return next(looks) > most or all(job.finished_at for job in lab.jobs.list())

        advice = Advice(lambda: (1, 0), hold_left=left)
        Worker(lab.ports, place_of(folder, number), threading.Event(), advice).run(until=enough)

    try:
        yield lab, run
    finally:
        lab.repository.close()


def test_a_neighbour_that_lives_keeps_its_job_and_its_files(
    left: tuple[Path, str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SIBLINGS_S", 0.0)
    folder, job, _ = left
    with looking(folder, 0, lives, LOOKS) as (lab, run):
        with lab.repository.reading() as tx:
            before = tx.intents.list()
        assert before
        run()
        with lab.repository.reading() as tx:
            assert tx.intents.list() == before
        assert lab.jobs.show(job).owner == Owner("node1", "dead.1")


def test_the_job_of_a_dead_neighbour_is_given_back_and_done(
    left: tuple[Path, str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place may have no successor: the number was lowered."""
    monkeypatch.setattr(worker, "SIBLINGS_S", 0.0)
    folder, job, plain = left
    with looking(folder, 0, lambda _: nullcontext()) as (lab, run):
        run()
        assert lab.jobs.show(job).state == "succeeded"
        lab.plain.update(plain)
        lab.check_whole()


def test_the_next_one_in_a_place_goes_on(left: tuple[Path, str, dict[str, bytes]]) -> None:
    """As one backgrounder of a node always did: by its own records, and its receipt counts what was done before."""
    folder, job, plain = left
    with looking(folder, 1, lives) as (lab, run):
        run()
        assert lab.jobs.show(job).state == "succeeded"
        lab.plain.update(plain)
        lab.check_whole()
        done = [one for one in lab.events.read() if one["id"] == "EXTRACT_ENCRYPTED"]
        assert len(done) == EXTRACTS


def test_what_it_says_is_in_the_logs_of_its_place(node_dir: Path) -> None:
    with loggers.as_before(), closing(opening.open_node(str(node_dir))) as node:
        node.place = 1
        with worker._logging(node):
            logging.getLogger("backgrounder.Jobs").info("a job of the second one")
        assert "of the second one" in node.paths.service_log("backgrounder", 1).read_text()
        assert not node.paths.service_log("backgrounder").exists()
