"""The work of jobs, without the engine: E-12, E-13, architecture way 5, requirements section 10 (crash rules)."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.errors import StorageError
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import ContentState
from strongroom.services.extract_item import ItemWork
from strongroom.services.extract_jobs import ExtractJobs, Limits
from strongroom.services.job_journal import JobJournal
from strongroom.services.job_pulse import Brake, WorkerStopping
from tests.jobs_bench import OTHER, SITE, Bench, FileRing, Memory, open_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def work(bench: Bench, *, brake: Brake | None = None) -> ExtractJobs:
    return ExtractJobs(bench.ports, Limits(brake or Brake(0, threading.Event())))


def run(bench: Bench, kind: JobKind, *ids: str, new_data_key: bool = False) -> str:
    job = bench.start(kind, *ids, new_data_key=new_data_key)
    work(bench).run(job.id, Memory())
    return job.id


def test_encrypt_brings_every_extract_of_the_site_under_the_active_key(bench: Bench) -> None:
    """E-13 as clients.md 0.2 wants it: unencrypted ones and those under an old MEK; others untouched."""
    plain = bench.publish(b"plain" * 100, encrypted=False)
    stale = bench.publish(b"stale" * 200, encrypted=True)
    mek = bench.ring.rotate()
    current = bench.publish(b"current", encrypted=True)
    elsewhere = bench.publish(b"elsewhere", encrypted=False, site_id=OTHER)
    before = {key: bench.row(key) for key in (stale, current, elsewhere)}
    job = run(bench, JobKind.ENCRYPT)
    assert bench.jobs.show(job).state == "succeeded"
    receipt = bench.receipt(job)
    assert (receipt.scanned, receipt.changed, receipt.verified, receipt.remaining) == (3, 2, 3, 0)
    assert (receipt.bytes, receipt.mek_id) == (1500, mek)
    assert {bench.row(key).mek_id for key in (plain, stale, current)} == {mek}
    assert bench.row(stale).storage_key == before[stale].storage_key  # rewrapped, not rewritten
    assert bench.vault.mek_ids(bench.row(stale).storage_key) == {mek}
    assert bench.row(current) == before[current]
    assert bench.row(elsewhere) == before[elsewhere]
    bench.check_whole()
    assert len(bench.seen("EXTRACT_ENCRYPTED")) == len(bench.seen("EXTRACT_REWRAPPED")) == 1
    assert bench.seen("JOB_FINISHED")[0]["remaining"] == 0


def test_encrypt_gives_stale_extracts_new_data_keys_if_asked(bench: Bench) -> None:
    stale = bench.publish(b"stale", encrypted=True)
    before = bench.row(stale)
    bench.ring.rotate()
    run(bench, JobKind.ENCRYPT, new_data_key=True)
    assert bench.row(stale).file_id != before.file_id
    bench.check_whole()


def test_rekey_gives_each_encrypted_extract_a_new_data_key_and_leaves_plain_ones(
    bench: Bench,
) -> None:
    """E-13."""
    encrypted = [bench.publish(b"x" * n, encrypted=True) for n in (0, 1, 300_000)]
    plain = bench.publish(b"plain", encrypted=False)
    before = {key: bench.row(key) for key in [*encrypted, plain]}
    job = run(bench, JobKind.REKEY)
    receipt = bench.receipt(job)
    assert (receipt.scanned, receipt.changed, receipt.verified) == (3, 3, 3)
    assert all(bench.row(key).file_id != before[key].file_id for key in encrypted)
    assert bench.row(plain) == before[plain]
    bench.check_whole()
    assert len(bench.seen("EXTRACT_REKEYED")) == 3


def test_rewrap_changes_headers_only(bench: Bench) -> None:
    one = bench.publish(b"x" * 300_000, encrypted=True)
    body = bench.path(one).read_bytes()[4096:]
    mek = bench.ring.rotate()
    job = run(bench, JobKind.REWRAP)
    assert bench.path(one).read_bytes()[4096:] == body
    assert bench.vault.mek_ids(bench.row(one).storage_key) == {mek}
    assert bench.receipt(job).changed == 1
    bench.check_whole()


def test_decrypt_leaves_no_envelope(bench: Bench) -> None:
    one = bench.publish(b"one", encrypted=True)
    bench.publish(b"two", encrypted=False)
    job = run(bench, JobKind.DECRYPT)
    receipt = bench.receipt(job)
    assert (receipt.scanned, receipt.changed, receipt.mek_id) == (2, 1, "")
    assert bench.path(one).read_bytes() == b"one"
    assert bench.row(one).state == ContentState.UNENCRYPTED
    bench.check_whole()


def test_only_the_named_extracts_are_touched(bench: Bench) -> None:
    one, two = (bench.publish(b"x", encrypted=False) for _ in range(2))
    job = run(bench, JobKind.ENCRYPT, one)
    assert bench.receipt(job).scanned == 1
    assert (bench.row(one).state, bench.row(two).state) == (1, 0)


def test_files_without_an_extract_stay_plain(bench: Bench) -> None:
    """E-07."""
    one = bench.publish(b"<workbook/>", encrypted=False, has_extract=False)
    job = run(bench, JobKind.ENCRYPT)
    assert bench.receipt(job).scanned == 0
    assert bench.jobs.show(job).state == "succeeded"
    assert bench.row(one).state == ContentState.UNENCRYPTED


def test_a_second_run_changes_nothing(bench: Bench) -> None:
    bench.publish(b"x", encrypted=False)
    run(bench, JobKind.ENCRYPT)
    job = run(bench, JobKind.ENCRYPT)
    assert (bench.receipt(job).changed, bench.receipt(job).verified) == (0, 1)


def test_a_damaged_extract_fails_the_job_by_name_and_the_others_are_done(bench: Bench) -> None:
    good = [bench.publish(b"good" * 10, encrypted=True) for _ in range(3)]
    bad = bench.publish(b"bad" * 10, encrypted=True)
    data = bytearray(bench.path(bad).read_bytes())
    data[-1] ^= 1
    bench.path(bad).write_bytes(data)
    before = {key: bench.row(key).file_id for key in good}
    job = run(bench, JobKind.REKEY)
    shown = bench.jobs.show(job)
    assert (shown.state, shown.done, shown.total) == ("failed", 4, 4)
    assert bad in shown.note
    assert bench.row(bad).name in shown.note
    assert "authentication failed" in shown.note
    receipt = bench.receipt(job)
    assert (receipt.changed, receipt.remaining, receipt.verified) == (3, 1, 3)
    assert all(bench.row(key).file_id != before[key] for key in good)
    assert bench.row(bad).state == ContentState.ENCRYPTED  # no longer pending
    del bench.plain[bad]
    bench.check_whole()


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_from_before_that_stays_fails_the_job_by_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Issue F: nothing left behind unsaid. It ended as succeeded while the plaintext was still there."""
    plain = bench.publish(b"plaintext", encrypted=False)
    other = bench.publish(b"other", encrypted=False)
    old, delete, refused = bench.row(plain).storage_key, bench.files.delete, 0

    def refuse(storage_key: str) -> None:
        nonlocal refused
        if storage_key == old and refused < times:
            refused += 1
            raise StorageError("the disk refuses")
        delete(storage_key)

    monkeypatch.setattr(bench.files, "delete", refuse)
    job = run(bench, JobKind.ENCRYPT)
    row, receipt = bench.jobs.show(job), bench.receipt(job)
    assert refused == times
    assert bench.row(plain).mek_id == bench.row(other).mek_id == bench.ring.active_mek_id
    if times == 1:  # the second attempt, at the end
        assert (row.state, receipt.remaining) == ("succeeded", 0)
    else:
        assert (row.state, receipt.changed, receipt.remaining) == ("failed", 2, 1)
        assert f"({plain}): its file from before cannot be removed: the disk refuses" in row.note
        assert JobJournal(bench.repository, bench.files, SystemClock()).recover() == 1
    assert old not in bench.files.list()
    with bench.repository.reading() as tx:
        assert tx.intents.list() == []
    bench.check_whole()


def test_a_missing_file_and_a_damaged_header_are_told(bench: Bench) -> None:
    missing = bench.publish(b"missing", encrypted=True)
    broken = bench.publish(b"broken", encrypted=True)
    bench.path(missing).unlink()
    bench.path(broken).write_bytes(b"\0" * 5000)
    job = run(bench, JobKind.ENCRYPT)
    note = bench.jobs.show(job).note
    assert missing in note
    assert broken in note
    assert bench.receipt(job).remaining == 2


def test_a_key_rotated_during_the_job_is_the_one_that_counts(bench: Bench) -> None:
    for _ in range(4):
        bench.publish(b"x" * 100, encrypted=False)
    job = bench.start(JobKind.ENCRYPT)
    steps = Memory()
    rotated: list[str] = []

    def rotating(name: str, step: Callable[[], object]) -> object:
        result = steps(name, step)
        if name == "work" and len(rotated) < 2:
            rotated.append(bench.ring.rotate())
        return result

    work(bench).run(job.id, rotating)  # type: ignore[arg-type]  # not generic, as steps are
    assert bench.receipt(job.id).mek_id == rotated[-1]
    assert bench.jobs.show(job.id).state == "succeeded"
    with bench.repository.reading() as tx:
        for row in tx.contents.list_for_site(SITE):
            assert bench.vault.mek_ids(row.storage_key) == {rotated[-1]}
    for mek in list(bench.ring._read())[:-1]:
        bench.ring.retire(mek)
    bench.check_whole()


def test_what_others_change_meanwhile_is_safe(bench: Bench) -> None:
    """Deleted, published anew, or decrypted between plan and work: nothing is lost, nothing fails."""
    deleted, replaced, kept = (bench.publish(b"old", encrypted=True) for _ in range(3))
    job = bench.start(JobKind.REKEY)
    steps = Memory()

    def meddling(name: str, step: Callable[[], object]) -> object:
        result = steps(name, step)
        if name == "plan":
            with bench.repository.transaction() as tx:
                bench.vault.delete(bench.row(deleted).storage_key)
                tx.contents.delete(deleted)
                new = bench.store(replaced, b"new", encrypted=True)
                old = tx.contents.get(replaced).storage_key
                assert tx.contents.switch_file(replaced, old, new, 1)
                bench.vault.delete(old)
        return result

    work(bench).run(job.id, meddling)  # type: ignore[arg-type]
    del bench.plain[deleted]
    bench.plain[replaced] = b"new"
    assert bench.jobs.show(job.id).state == "succeeded"
    assert bench.receipt(job.id).scanned == 2
    assert bench.row(kept).state == ContentState.ENCRYPTED
    bench.check_whole()


def test_a_row_switched_while_its_new_file_was_written_is_looked_at_again(bench: Bench) -> None:
    """The compare-and-set is lost: the file that nobody needs goes, the newly published one is done."""
    one = bench.publish(b"old", encrypted=True)
    job = bench.start(JobKind.REKEY)
    met: list[int] = []

    class Meddling(Brake):
        @override
        def take(self, count: int) -> None:
            super().take(count)
            if not met:
                met.append(1)
                new = bench.store(one, b"new", encrypted=True)
                with bench.repository.transaction() as tx:
                    old = tx.contents.get(one).storage_key
                    assert tx.contents.switch_file(one, old, new, ContentState.PENDING_REKEY)
                bench.vault.delete(old)

    work(bench, brake=Meddling(0, threading.Event())).run(job.id, Memory())
    bench.plain[one] = b"new"
    assert met
    assert bench.jobs.show(job.id).state == "succeeded"
    bench.check_whole()


@pytest.mark.parametrize("kind", list(JobKind))
def test_a_job_that_is_cut_after_any_step_goes_on_and_its_receipt_is_right(
    bench: Bench, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each step's result is kept: the step's work is done again, to no effect."""
    monkeypatch.setattr("strongroom.services.extract_jobs.BATCH_ITEMS", 2)
    for number in range(5):
        bench.publish(bytes([number]) * 50, encrypted=True)
    if kind in {JobKind.ENCRYPT, JobKind.REWRAP}:
        bench.ring.rotate()
    job = bench.start(kind)
    steps = Memory()

    class Cut(BaseException):
        pass

    cut_at: set[int] = set()

    def cutting(name: str, step: Callable[[], object]) -> object:
        if steps.position == len(steps.results) and steps.position not in cut_at:
            cut_at.add(steps.position)
            step()  # done, and not kept
            raise Cut
        return steps(name, step)

    for _ in range(50):
        with contextlib.suppress(Cut):
            work(bench).run(job.id, cutting)  # type: ignore[arg-type]
            break
        steps.begin()
    assert len(cut_at) > 7
    receipt = bench.receipt(job.id)
    assert (receipt.scanned, receipt.changed, receipt.verified) == (5, 5, 5)
    assert (receipt.bytes, receipt.remaining) == (250, 0)
    shown = bench.jobs.show(job.id)
    assert (shown.done, shown.total, shown.bytes_done) == (5, 5, 250)
    bench.check_whole()


def test_a_cancelled_job_says_what_it_left(bench: Bench) -> None:
    for _ in range(5):
        bench.publish(b"x" * 1000, encrypted=False)
    job = bench.start(JobKind.ENCRYPT)

    class Cancelling(Brake):
        @override
        def take(self, count: int) -> None:
            super().take(count)
            bench.jobs.cancel(job.id, "os:test")

    limits = Limits(Cancelling(0, threading.Event()), concurrency=1)
    steps = Memory()
    ExtractJobs(bench.ports, limits).run(job.id, steps)
    shown = bench.jobs.show(job.id)
    assert shown.state in {"cancelled", "succeeded"}
    receipt = bench.receipt(job.id)
    assert receipt.changed + receipt.remaining == 5
    with bench.repository.reading() as tx:
        assert {row.state for row in tx.contents.list_for_site(SITE)} <= {0, 1}
    bench.check_whole()


def test_a_job_cancelled_before_its_work_changes_nothing(bench: Bench) -> None:
    one = bench.publish(b"x", encrypted=False)
    job = bench.start(JobKind.ENCRYPT)
    bench.jobs.cancel(job.id, "os:test")
    assert work(bench).run(job.id, Memory()) == "cancelled"
    receipt = bench.receipt(job.id)
    assert (receipt.changed, receipt.remaining) == (0, 1)
    assert bench.row(one).state == ContentState.UNENCRYPTED


def test_a_stopping_process_leaves_the_job_as_it_is(bench: Bench) -> None:
    for _ in range(3):
        bench.publish(b"x" * 1000, encrypted=False)
    job = bench.start(JobKind.ENCRYPT)
    stopping = threading.Event()

    class Stopping(Brake):
        @override
        def take(self, count: int) -> None:
            stopping.set()
            super().take(count)

    steps = Memory()
    with pytest.raises(WorkerStopping):
        work(bench, brake=Stopping(0, stopping)).run(job.id, steps)
    assert bench.jobs.show(job.id).state == "running"
    work(bench).run(job.id, steps.begin())
    assert bench.receipt(job.id).changed == 3
    bench.check_whole()


def test_a_job_without_its_event_log_gives_up_and_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No change without an event; what was not switched is as it was."""
    one = bench.publish(b"x", encrypted=False)
    job = bench.start(JobKind.ENCRYPT)
    real = bench.events.append

    def refuse(_events: object) -> None:
        raise StorageError("the event log cannot be written")

    monkeypatch.setattr(bench.events, "append", refuse)
    with pytest.raises(StorageError):
        work(bench).run(job.id, Memory())
    assert bench.row(one).file_id == ""
    monkeypatch.setattr(bench.events, "append", real)
    work(bench).run(job.id, Memory())
    assert bench.jobs.show(job.id).state == "succeeded"


def test_an_unreadable_key_store_fails_the_job(bench: Bench) -> None:
    bench.publish(b"x", encrypted=False)
    job = bench.start(JobKind.ENCRYPT)

    class Locked(FileRing):
        @property
        @override
        def active_mek_id(self) -> str:
            raise StorageError("the KMS store is sealed", hint="unseal it")

    sealed = replace(bench.ports, keys=Locked(bench.folder / "ring.json"))
    ExtractJobs(sealed, Limits(Brake(0, threading.Event()))).run(job.id, Memory())
    shown = bench.jobs.show(job.id)
    assert shown.state == "failed"
    assert "the KMS store is sealed; unseal it" in shown.note
    assert bench.receipt(job.id).remaining == 1


def test_an_extract_that_others_change_again_and_again_is_left_and_told(bench: Bench) -> None:
    one = bench.publish(b"0", encrypted=True)
    job = bench.start(JobKind.REKEY)

    class Restless(Brake):
        @override
        def take(self, count: int) -> None:
            super().take(count)
            new = bench.store(one, b"0", encrypted=True)
            with bench.repository.transaction() as tx:
                old = tx.contents.get(one).storage_key
                assert tx.contents.switch_file(one, old, new, ContentState.PENDING_REKEY)
            bench.vault.delete(old)

    work(bench, brake=Restless(0, threading.Event())).run(job.id, Memory())
    shown = bench.jobs.show(job.id)
    assert shown.state == "failed"
    assert "changed by others" in shown.note
    bench.check_whole()


def test_a_key_rotated_while_a_file_is_written_does_not_get_into_its_row(bench: Bench) -> None:
    """The new file is rewrapped before the row names it: a retire may come any time after that."""
    one = bench.publish(b"x" * 100, encrypted=False)
    old = bench.ring.active_mek_id
    job = bench.start(JobKind.ENCRYPT)

    class Rotating(Brake):
        @override
        def take(self, count: int) -> None:
            super().take(count)
            bench.ring.rotate()

    work(bench, brake=Rotating(0, threading.Event())).run(job.id, Memory())
    assert bench.jobs.show(job.id).state == "succeeded"
    bench.ring.retire(old)
    assert bench.row(one).mek_id == bench.ring.active_mek_id
    bench.check_whole()


def test_a_job_whose_site_went_ends_quietly(bench: Bench) -> None:
    bench.publish(b"x", encrypted=False)
    job = bench.start(JobKind.ENCRYPT)
    with bench.repository.transaction() as tx:
        tx.jobs.delete(job.id)
    assert work(bench).run(job.id, Memory()) == "cancelled"


def test_an_extract_deleted_before_the_last_look_is_no_concern(bench: Bench) -> None:
    one = bench.publish(b"x", encrypted=True)
    job = bench.start(JobKind.REKEY)
    found = ItemWork(bench.ports, bench.jobs.show(job.id))
    with bench.repository.transaction() as tx:
        bench.vault.delete(tx.contents.get(one).storage_key)
        tx.contents.delete(one)
    assert found.wrong(one, open_file=True) == ""


def test_a_note_names_a_few_and_counts_the_rest(bench: Bench) -> None:
    for _ in range(25):
        bench.path(bench.publish(b"x", encrypted=True)).unlink()
    job = run(bench, JobKind.REKEY)
    note = bench.jobs.show(job).note
    assert note.startswith("25 left behind: ")
    assert note.endswith("and 5 more")
    bench.plain.clear()


def test_more_rows_than_are_read_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.services.extract_jobs.SCAN_ROWS", 2)
    monkeypatch.setattr("strongroom.services.extract_jobs.BATCH_BYTES", 10)
    for _ in range(5):
        bench.publish(b"x" * 6, encrypted=False)
    job = run(bench, JobKind.ENCRYPT)
    assert bench.receipt(job).changed == 5
    bench.check_whole()
