"""The backgrounder with the real engine: durable, resumable, stoppable (issue part F; R3 in small)."""

import contextlib
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.backgrounder import worker
from strongroom.backgrounder.worker import Place, Worker
from strongroom.bootstrap import Node
from strongroom.errors import StorageError
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import IntentRow
from strongroom.topology.processes import SERVICES
from tests.conftest import Torture
from tests.jobs_bench import NOW, OTHER, SITE, Bench, open_bench

EXTRACTS = 7


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def command(bench: Bench, kill_at: int | None = None) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.jobs_worker",
        str(bench.folder),
        *([str(kill_at)] if kill_at else []),
    ]


def work_here(bench: Bench, bytes_per_s: int = 0) -> None:
    def idle() -> bool:
        return all(job.finished_at for job in bench.jobs.list())

    place = Place(bench.folder / "workflows.db", "node1")
    Worker(bench.ports, place, threading.Event(), lambda: (2, bytes_per_s)).run(until=idle)


def fill(bench: Bench, kind: JobKind, base: int = 0) -> None:
    encrypted = kind is not JobKind.ENCRYPT
    for number in range(EXTRACTS):
        bench.publish(bytes([base + number]) * 300 * number, encrypted=encrypted)
    if kind is JobKind.REWRAP:
        bench.ring.rotate()


def test_queued_jobs_are_done_in_their_order(bench: Bench) -> None:
    fill(bench, JobKind.ENCRYPT)
    bench.publish(b"elsewhere", encrypted=False, site_id=OTHER)
    jobs = [
        bench.jobs.enqueue(kind, site, "os:test").id
        for kind, site in (
            (JobKind.ENCRYPT, SITE),
            (JobKind.ENCRYPT, OTHER),
            (JobKind.REKEY, SITE),
            (JobKind.DECRYPT, SITE),
        )
    ]
    work_here(bench)
    shown = [bench.jobs.show(job) for job in jobs]
    assert [job.state for job in shown] == ["succeeded"] * 4
    assert [bench.receipt(job).changed for job in jobs] == [EXTRACTS, 1, EXTRACTS, EXTRACTS]
    assert (shown[0].done, shown[0].total) == (EXTRACTS, EXTRACTS)
    bench.check_whole()
    with bench.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0}


def test_the_engine_keeps_ids_and_counts_only_in_a_private_file(bench: Bench) -> None:
    """No key, no secret, no content; JSON and no pickle."""
    fill(bench, JobKind.REKEY)
    bench.jobs.enqueue(JobKind.REKEY, SITE, "os:test")
    work_here(bench)
    database = bench.folder / "workflows.db"
    assert database.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(database)) as connection:
        text = "\n".join(connection.iterdump())
    assert "py_pickle" not in text
    assert "strongroom_json" in text
    for mek in bench.ring._read().values():
        assert mek not in text
    assert not re.search(r"[0-9a-f]{64}", text)


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_worker_killed_anywhere_is_gone_on_with(
    bench: Bench, torture: Torture, kind: JobKind
) -> None:
    """kill -9 before any change: no extract is lost, nothing is left over, the receipt is right."""
    fill(bench, kind)
    job = bench.jobs.enqueue(kind, SITE, "os:test").id
    whole = subprocess.run(command(bench), capture_output=True, text=True, check=True, timeout=60)
    points = int(whole.stdout.split()[-1])
    assert points > EXTRACTS * 2
    chosen = torture.choose(range(1, points + 1))
    if not torture.whole:
        chosen = chosen[1::5][:2]  # a process takes a second; `make torture` tries them all
    for number, kill_at in enumerate(chosen):
        again = Bench(bench.folder / f"at{kill_at}")
        again.folder.mkdir()
        again.set_up()
        fill(again, kind, base=number)
        job = again.jobs.enqueue(kind, SITE, "os:test").id
        dead = subprocess.run(command(again, kill_at), capture_output=True, timeout=60, check=False)
        assert dead.returncode in {-signal.SIGKILL, 0}
        work_here(again)
        receipt = again.receipt(job)
        assert again.jobs.show(job).state == "succeeded"
        assert (receipt.scanned, receipt.changed, receipt.verified, receipt.remaining) == (
            EXTRACTS,
            EXTRACTS,
            EXTRACTS,
            0,
        ), kill_at
        again.check_whole()
        again.repository.close()


def test_sigterm_ends_soon_and_leaves_the_job_to_the_next(bench: Bench) -> None:
    for _ in range(30):
        bench.publish(b"x" * 300_000, encrypted=False)
    job = bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    with subprocess.Popen(
        command(bench), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not bench.jobs.show(job).done:
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        began = time.monotonic()
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 3
    assert process.returncode == 0, errors
    assert bench.jobs.show(job).state == "running"
    before = bench.jobs.show(job).done
    work_here(bench)
    assert bench.jobs.show(job).done == 30 >= before
    assert bench.receipt(job).changed == 30
    bench.check_whole()


def test_a_job_claimed_without_a_workflow_is_started(bench: Bench) -> None:
    """The process died between claim and start."""
    fill(bench, JobKind.ENCRYPT)
    job = bench.start(JobKind.ENCRYPT)
    work_here(bench)
    assert bench.receipt(job.id).changed == EXTRACTS


def test_a_workflow_that_breaks_off_fails_its_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the work must not leave a job running for ever."""
    fill(bench, JobKind.ENCRYPT)

    def bug(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("strongroom.services.extract_jobs.ExtractJobs._scan", bug)
    job = bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work_here(bench)
    shown = bench.jobs.show(job)
    assert shown.state == "failed"
    assert "broke off" in shown.note
    with bench.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {1}


def test_a_running_job_is_cancelled(bench: Bench) -> None:
    for _ in range(20):
        bench.publish(b"x" * 500_000, encrypted=False)
    job = bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id

    def cancel() -> None:
        while not bench.jobs.show(job).done:
            time.sleep(0.01)
        bench.jobs.cancel(job, "os:test")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    work_here(bench, bytes_per_s=10_000_000)
    canceller.join()
    assert bench.jobs.show(job).state == "cancelled"
    receipt = bench.receipt(job)
    assert receipt.changed + receipt.remaining == receipt.scanned == 20
    assert receipt.remaining > 0
    with bench.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0, 1}
    bench.check_whole()


def test_records_of_ended_jobs_are_forgotten_at_the_next_start(bench: Bench) -> None:
    """The engine's database does not grow with the years; a running job's record stays."""
    fill(bench, JobKind.ENCRYPT)
    jobs = [bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id]
    work_here(bench)
    jobs.append(bench.jobs.enqueue(JobKind.REKEY, SITE, "os:test").id)
    work_here(bench)
    with contextlib.closing(sqlite3.connect(bench.folder / "workflows.db")) as connection:
        kept = [row[0] for row in connection.execute("select workflow_uuid from workflow_status")]
        steps = connection.execute(
            "select count(*) from operation_outputs where workflow_uuid = ?", (jobs[0],)
        )
        assert steps.fetchone() == (0,)
    assert kept == jobs[1:]


def test_what_a_dead_process_was_writing_goes_at_the_start(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench.publish(b"x", encrypted=True)
    orphan = bench.store(one, b"never switched", encrypted=True)
    with bench.repository.transaction() as tx:
        tx.intents.insert(IntentRow(orphan.storage_key, orphan.file_id, orphan.mek_id, "job", NOW))
        tx.intents.insert(IntentRow(bench.row(one).storage_key, "", "", "job", NOW))
        tx.intents.insert(IntentRow("other/ab/part.sealed", "", "", "publish", NOW))
    with caplog.at_level("WARNING"):
        work_here(bench)
    assert "removed 1 files" in caplog.text
    with bench.repository.transaction() as tx:
        assert [intent.purpose for intent in tx.intents.list()] == ["publish"]
        tx.intents.delete("other/ab/part.sealed")
    bench.check_whole()


def test_limits_that_cannot_be_read_leave_the_last_ones(bench: Bench) -> None:
    fill(bench, JobKind.ENCRYPT)
    asked: list[int] = []

    def limits() -> tuple[int, int]:
        asked.append(1)
        if len(asked) > 1:
            raise StorageError("the configuration cannot be read")
        return 1, 0

    job = bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    place = Place(bench.folder / "workflows.db", "node1")

    def ended() -> bool:
        return bool(bench.jobs.show(job).finished_at)

    Worker(bench.ports, place, threading.Event(), limits).run(until=ended)
    assert bench.jobs.show(job).state == "succeeded"
    assert len(asked) > 1


def test_a_throttled_job_takes_its_time(bench: Bench) -> None:
    """P18: bytes per second over all extracts of a process."""
    for _ in range(4):
        bench.publish(b"x" * 500_000, encrypted=False)
    job = bench.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    began = time.monotonic()
    work_here(bench, bytes_per_s=2_000_000)
    assert time.monotonic() - began > 1.4
    assert bench.jobs.show(job).state == "succeeded"


@pytest.fixture
def signals_kept() -> Iterator[None]:
    """`main` takes signals and logging over; the next test wants them as they were."""
    kept = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    loggers = [logging.getLogger(name) for name in ("", *SERVICES)]
    before = [(one, list(one.handlers), one.propagate, one.level) for one in loggers]
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    for logger, handlers, propagate, level in before:
        for added in set(logger.handlers) - set(handlers):
            added.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("signals_kept")
def test_the_process_ends_with_its_standard_input_or_a_signal(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`serve` holds the other end of the pipe."""
    read, write = os.pipe()
    monkeypatch.setattr("strongroom.backgrounder.worker.STDIN", read)
    threading.Timer(0.5, os.close, [write]).start()
    assert worker.main(["--data-dir", str(node_dir)]) == 0
    os.close(read)
    read, write = os.pipe()
    monkeypatch.setattr("strongroom.backgrounder.worker.STDIN", read)
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
    assert worker.main(["--data-dir", str(node_dir)]) == 0
    os.close(write)


@pytest.mark.usefixtures("signals_kept")
def test_the_process_fails_when_it_cannot_work(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    monkeypatch.setattr("strongroom.backgrounder.worker.STDIN", read)
    for path in node_dir.rglob("repository.db*"):
        path.unlink()
    assert worker.main(["--data-dir", str(node_dir)]) == 1
    assert "there is no repository" in "".join(
        path.read_text() for path in node_dir.rglob("backgrounder_*.log")
    )
    os.close(write)


@pytest.mark.usefixtures("signals_kept")
def test_two_workers_of_one_node_take_turns(node: Node) -> None:
    """One lock per node: a job is taken over once."""
    stopping = threading.Event()
    with node.coordinator.lock("backgrounder-node1", wait_s=0):
        job = node.jobs.enqueue(JobKind.REWRAP, node.sites.find("default").id, "os:test")
        assert not worker.run_until_done(node, job.id, give_up=lambda _: False)
        waiting = threading.Thread(target=worker.run, args=(node, stopping))
        waiting.start()
        time.sleep(0.7)
        assert node.jobs.show(job.id).state == "queued"
    assert node.jobs.wait(job.id, 20).state == "succeeded"
    stopping.set()
    waiting.join(10)
    assert not waiting.is_alive()
