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
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.backgrounder import worker
from strongroom.backgrounder.worker import Advice, Place, Worker
from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.errors import StorageError
from strongroom.jobs.model import JobKind
from strongroom.node.opening import Node
from strongroom.repository.rows import IntentRow
from strongroom.runtime.processes import SERVICES
from strongroom.services.jobs.journal import JobJournal
from tests.conftest import Torture
from tests.support.jobs_lab import NOW, OTHER, SITE, Lab, open_lab

EXTRACTS = 7


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def command(lab: Lab, kill_at: int | None = None) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.support.jobs_worker",
        str(lab.folder),
        *([str(kill_at)] if kill_at else []),
    ]


def work_here(lab: Lab, bytes_per_s: int = 0) -> None:
    def idle() -> bool:
        return all(job.finished_at for job in lab.jobs.list())

    place = Place(lab.folder / "workflows.db", "node1")
    Worker(lab.ports, place, threading.Event(), Advice(lambda: (2, bytes_per_s))).run(until=idle)


def fill(lab: Lab, kind: JobKind, base: int = 0) -> None:
    encrypted = kind is not JobKind.ENCRYPT
    for number in range(EXTRACTS):
        lab.publish(bytes([base + number]) * 300 * number, encrypted=encrypted)
    if kind is JobKind.REWRAP:
        lab.ring.rotate()


def test_queued_jobs_are_done_in_their_order(lab: Lab) -> None:
    fill(lab, JobKind.ENCRYPT)
    lab.publish(b"elsewhere", encrypted=False, site_id=OTHER)
    jobs = [
        lab.jobs.enqueue(kind, site, "os:test").id
        for kind, site in (
            (JobKind.ENCRYPT, SITE),
            (JobKind.ENCRYPT, OTHER),
            (JobKind.REENCRYPT, SITE),
            (JobKind.DECRYPT, SITE),
        )
    ]
    work_here(lab)
    shown = [lab.jobs.show(job) for job in jobs]
    assert [job.state for job in shown] == ["succeeded"] * 4
    assert [lab.receipt(job).changed for job in jobs] == [EXTRACTS, 1, EXTRACTS, EXTRACTS]
    assert (shown[0].done, shown[0].total) == (EXTRACTS, EXTRACTS)
    lab.check_whole()
    with lab.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0}


def test_the_engine_keeps_ids_and_counts_only_in_a_private_file(lab: Lab) -> None:
    """No key, no secret, no content; JSON and no pickle."""
    fill(lab, JobKind.REENCRYPT)
    lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test")
    work_here(lab)
    database = lab.folder / "workflows.db"
    assert database.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(database)) as connection:
        text = "\n".join(connection.iterdump())
    assert "py_pickle" not in text
    assert "strongroom_json" in text
    for mek in lab.ring._read().values():
        assert mek not in text
    assert not re.search(r"[0-9a-f]{64}", text)


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_worker_killed_anywhere_is_gone_on_with(
    lab: Lab, torture: Torture, kind: JobKind
) -> None:
    """kill -9 before any change: no extract is lost, nothing is left over, the receipt is right."""
    fill(lab, kind)
    job = lab.jobs.enqueue(kind, SITE, "os:test").id
    whole = subprocess.run(command(lab), capture_output=True, text=True, check=True, timeout=60)
    points = int(whole.stdout.split()[-1])
    assert points > EXTRACTS * 2
    chosen = torture.choose(range(1, points + 1))
    if not torture.whole:
        chosen = chosen[1::5][:2]  # a process takes a second; `make torture` tries them all
    for number, kill_at in enumerate(chosen):
        again = Lab(lab.folder / f"at{kill_at}")
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


def test_sigterm_ends_soon_and_leaves_the_job_to_the_next(lab: Lab) -> None:
    for _ in range(30):
        lab.publish(b"x" * 300_000, encrypted=False)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    with subprocess.Popen(
        command(lab), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not lab.jobs.show(job).done:
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        _, errors = process.communicate(timeout=60)  # for a machine that is busy
    assert process.returncode == 0, errors
    assert lab.jobs.show(job).state == "running"  # it did not wait for the job's end
    before = lab.jobs.show(job).done
    work_here(lab)
    assert lab.jobs.show(job).done == 30 >= before
    assert lab.receipt(job).changed == 30
    lab.check_whole()


def test_a_job_claimed_without_a_workflow_is_started(lab: Lab) -> None:
    """The process died between claim and start."""
    fill(lab, JobKind.ENCRYPT)
    job = lab.start(JobKind.ENCRYPT)
    work_here(lab)
    assert lab.receipt(job.id).changed == EXTRACTS


def test_a_workflow_that_breaks_off_fails_its_job(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the work must not leave a job running for ever."""
    fill(lab, JobKind.ENCRYPT)

    def bug(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("strongroom.services.jobs.run.ExtractJobs._scan", bug)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    work_here(lab)
    shown = lab.jobs.show(job)
    assert shown.state == "failed"
    assert "broke off" in shown.note
    with lab.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {1}


def test_a_running_job_is_cancelled(lab: Lab) -> None:
    for _ in range(20):
        lab.publish(b"x" * 500_000, encrypted=False)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id

    def cancel() -> None:
        while not lab.jobs.show(job).done:
            time.sleep(0.01)
        lab.jobs.cancel(job, "os:test")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    work_here(lab, bytes_per_s=10_000_000)
    canceller.join()
    assert lab.jobs.show(job).state == "cancelled"
    receipt = lab.receipt(job)
    assert receipt.changed + receipt.remaining == receipt.scanned == 20
    assert receipt.remaining > 0
    with lab.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0, 1}
    lab.check_whole()


def test_records_of_ended_jobs_are_forgotten_at_the_next_start(lab: Lab) -> None:
    """The engine's database does not grow with the years; a running job's record stays."""
    fill(lab, JobKind.ENCRYPT)
    jobs = [lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id]
    work_here(lab)
    jobs.append(lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id)
    work_here(lab)
    with contextlib.closing(sqlite3.connect(lab.folder / "workflows.db")) as connection:
        kept = [row[0] for row in connection.execute("select workflow_uuid from workflow_status")]
        steps = connection.execute(
            "select count(*) from operation_outputs where workflow_uuid = ?", (jobs[0],)
        )
        assert steps.fetchone() == (0,)
    assert kept == jobs[1:]


def test_what_a_dead_process_was_writing_goes_at_the_start(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    one = lab.publish(b"x", encrypted=True)
    orphan = lab.store(one, b"never switched", encrypted=True)
    with lab.repository.transaction() as tx:
        tx.intents.insert(IntentRow(orphan.storage_key, orphan.file_id, orphan.mek_id, "job", NOW))
        tx.intents.insert(IntentRow(lab.row(one).storage_key, "", "", "job", NOW))
        tx.intents.insert(IntentRow("other/ab/part.sealed", "", "", "publish", NOW))
    with caplog.at_level("WARNING"):
        work_here(lab)
    assert "removed 1 files" in caplog.text
    with lab.repository.transaction() as tx:
        assert [intent.purpose for intent in tx.intents.list()] == ["publish"]
        tx.intents.delete("other/ab/part.sealed")
    lab.check_whole()


def test_limits_that_cannot_be_read_leave_the_last_ones(lab: Lab) -> None:
    fill(lab, JobKind.ENCRYPT)
    asked: list[int] = []

    def limits() -> tuple[int, int]:
        asked.append(1)
        if len(asked) > 1:
            raise StorageError("the configuration cannot be read")
        return 1, 0

    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    place = Place(lab.folder / "workflows.db", "node1")

    def ended() -> bool:
        return bool(lab.jobs.show(job).finished_at)

    Worker(lab.ports, place, threading.Event(), Advice(limits)).run(until=ended)
    assert lab.jobs.show(job).state == "succeeded"
    assert len(asked) > 1


def test_a_throttled_job_takes_its_time(lab: Lab) -> None:
    """P18: bytes per second over all extracts of a process."""
    for _ in range(4):
        lab.publish(b"x" * 500_000, encrypted=False)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id
    began = time.monotonic()
    work_here(lab, bytes_per_s=2_000_000)
    assert time.monotonic() - began > 1.4
    assert lab.jobs.show(job).state == "succeeded"


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
    assert node.jobs.wait(job.id, 120).state == "succeeded"
    stopping.set()
    waiting.join(60)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("owner", "slow"),
    [(JobJournal, "recover"), (WorkflowEngine, "launch")],
    ids=["clear", "launch"],
)
def test_a_worker_says_that_it_lives_while_it_launches(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, owner: type, slow: str
) -> None:
    """Findings R2: a launch that took longer than a loop may be silent was killed, and so was the next one, for ever."""
    heard, told, original = threading.Semaphore(0), list[bool](), getattr(owner, slow)

    def take_long(self: object, *places: int) -> object:
        while heard.acquire(blocking=False):
            pass
        told.extend(heard.acquire(timeout=60) for _ in range(2))
        return original(self, *places)

    monkeypatch.setattr(worker, "_LAUNCH_BEAT_S", 0.02, raising=False)
    monkeypatch.setattr(owner, slow, take_long)
    place = Place(lab.folder / "workflows.db", "node1")
    advice = Advice(lambda: (1, 0), beat=heard.release)
    Worker(lab.ports, place, threading.Event(), advice).run(until=lambda: True)
    assert told == [True, True]
    assert "launch_beat" not in {thread.name for thread in threading.enumerate()}


def test_a_launch_that_hangs_is_silent_in_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the process has to notice it some time."""
    beats, silent = list[float](), list[bool]()

    def hang(*_: object) -> None:
        end = time.monotonic() + 60
        while "launch_beat" in {one.name for one in threading.enumerate()}:
            assert time.monotonic() < end
            time.sleep(0.01)
        silent.append(True)

    monkeypatch.setattr(worker, "_LAUNCH_BEAT_S", 0.01)
    monkeypatch.setattr(worker, "LAUNCH_S", 0.1)
    monkeypatch.setattr(JobJournal, "recover", hang)
    place = Place(lab.folder / "workflows.db", "node1")
    advice = Advice(lambda: (1, 0), beat=lambda: beats.append(time.monotonic()))
    Worker(lab.ports, place, threading.Event(), advice).run(until=lambda: True)
    assert silent == [True]
    assert beats


def test_a_small_job_is_done_while_a_large_one_of_its_site_runs(lab: Lab) -> None:
    """Findings T6: the refresh of one item waited behind the re-encryption of the whole site."""
    ids = [lab.publish(b"x" * 500_000, encrypted=True) for _ in range(12)]
    large = lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id
    small = [
        lab.jobs.enqueue(kind, SITE, "os:test", content_ids=[content_id]).id
        for content_id in (ids[0], ids[-1])
        for kind in (JobKind.REWRAP, JobKind.REENCRYPT)
    ]
    undone = lab.jobs.enqueue(JobKind.DECRYPT, SITE, "os:test", content_ids=[ids[3]]).id
    seen: list[str] = []

    def idle() -> bool:
        if all(lab.jobs.show(job).finished_at for job in small) and not seen:
            seen.extend(lab.jobs.show(job).state for job in (large, undone))
        return all(job.finished_at for job in lab.jobs.list())

    place = Place(lab.folder / "workflows.db", "node1")
    advice = Advice(lambda: (1, 3_000_000))
    Worker(lab.ports, place, threading.Event(), advice).run(until=idle)
    assert seen == ["running", "queued"]
    assert {job.state for job in lab.jobs.list()} == {"succeeded"}
    assert lab.receipt(large).changed + lab.receipt(large).remaining == 12
    assert lab.row(ids[3]).file_id == ""  # the order at one extract: encrypted anew, then plain
    with lab.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} == {0, 1}
    lab.check_whole()


def test_in_a_maintenance_the_worker_ends_behind_the_extract_under_way(lab: Lab) -> None:
    """b14: no other one is begun, the job goes back to the queue, and the next worker goes on; nothing is done twice."""
    for _ in range(8):
        lab.publish(b"x" * 200_000, encrypted=False)
    job = lab.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id

    def encrypted() -> int:
        with lab.repository.reading() as tx:
            return sum(bool(row.file_id) for row in tx.contents.list_for_site(SITE))

    place = Place(lab.folder / "workflows.db", "node1")
    advice = Advice(lambda: (1, 800_000), is_maintained=lambda: encrypted() > 0)
    stopping = threading.Event()
    Worker(lab.ports, place, stopping, advice).run()
    assert 0 < encrypted() < 8
    shown = lab.jobs.show(job)
    assert (shown.state, shown.owner_node, shown.finished_at) == ("queued", "", None)
    with lab.repository.reading() as tx:
        assert tx.intents.list() == [], "an extract was cut off"
    work_here(lab)
    assert (lab.jobs.show(job).state, encrypted()) == ("succeeded", 8)
    done = [one for one in lab.events.read() if one["id"] == "EXTRACT_ENCRYPTED"]
    assert len(done) == 8


def test_records_go_as_jobs_end_and_the_file_gets_smaller(lab: Lab) -> None:
    """Findings R19: they went at a start only, and the file never shrank."""
    lab.publish(b"x", encrypted=True)
    database = lab.folder / "workflows.db"
    for _ in range(3):
        lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test")
        work_here(lab)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "insert into operation_outputs (workflow_uuid, function_id, function_name, output)"
        filler = [(number, "x" * 1000) for number in range(1000, 3000)]
        one = connection.execute("select workflow_uuid from workflow_status").fetchall()
        for job_id in one:
            connection.executemany(f"{query} values ('{job_id[0]}', ?, 'f', ?)", filler)
        connection.commit()
    before = database.stat().st_size
    jobs = [lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id for _ in range(2)]
    left: list[int] = []

    def until() -> bool:
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
            query = f"select count(*) from workflow_status where workflow_uuid = '{jobs[0]}'"
            left.append(connection.execute(query).fetchone()[0])
        return lab.jobs.show(jobs[0]).finished_at is not None and left[-1] == 0

    place = Place(lab.folder / "workflows.db", "node1")
    Worker(lab.ports, place, threading.Event(), Advice(lambda: (1, 0))).run(until=until)
    assert database.stat().st_size < before / 2


def test_rows_of_jobs_that_ended_long_ago_go(lab: Lab) -> None:
    """Findings R19: by age and by number; what runs or waits stays, whatever its age."""
    lab.publish(b"x", encrypted=True)
    ended = [lab.jobs.enqueue(JobKind.REENCRYPT, SITE, "os:test").id for _ in range(1)]
    work_here(lab)
    with lab.repository.transaction() as tx:
        for number in range(30):
            row = replace(
                tx.jobs.get(ended[0]), id=f"old{number:02}", created_at="2020-01-01T00:00:00Z"
            )
            tx.jobs.insert(replace(row, finished_at=f"2020-01-{number + 1:02}T00:00:00Z"))
    open_job = lab.jobs.enqueue(JobKind.REENCRYPT, OTHER, "os:test").id
    assert lab.jobs.forget_ended(365 * 100, 11) == 20
    assert [job.id for job in lab.jobs.list()][-1] == "old20"
    assert lab.jobs.forget_ended(90, 1000) == 10
    assert {job.id for job in lab.jobs.list()} == {open_job, ended[0]}
    assert lab.jobs.forget_ended(90, 1000) == 0
