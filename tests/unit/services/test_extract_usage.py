"""Who depends on which MEK: both key slots, parts, orphans and intents (architecture sections 5 and 9)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.envelope import header as headers
from strongroom.envelope.header import Placement
from strongroom.errors import NotFoundError
from strongroom.ids import new_id
from strongroom.repository.rows import IntentRow
from strongroom.services import extract_usage
from strongroom.services.kms_keeper import MekUse, UseCount
from tests.jobs_bench import NOW, SITE, Bench, open_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from open_bench(tmp_path)


def scan(bench: Bench) -> UseCount:
    return extract_usage.scan(bench.repository, bench.files, bench.vault)


def test_extracts_count_with_their_stored_bytes(bench: Bench) -> None:
    old = bench.ring.active_mek_id
    one = bench.publish(b"x" * 100, encrypted=True)
    bench.publish(b"plain", encrypted=False)
    new = bench.ring.rotate()
    two = bench.publish(b"y" * 300_000, encrypted=True)
    used, unreadable = scan(bench)
    assert unreadable == ()
    assert used == {
        old: MekUse(1, bench.path(one).stat().st_size),
        new: MekUse(1, bench.path(two).stat().st_size),
    }


def test_both_slots_of_a_header_count(bench: Bench) -> None:
    """A rewrap that was cut after its first slot: the old MEK still opens the file."""
    old = bench.ring.active_mek_id
    one = bench.publish(b"x", encrypted=True)
    new = bench.ring.rotate()
    path = bench.path(one)
    page = headers.parse(path.read_bytes()[:4096])
    slot = bench.ring.rewrapped_slot(page, Placement(SITE, one))
    with path.open("r+b") as file:
        file.write(headers.serialize(page.with_slot(slot)))
    used, _ = scan(bench)
    assert {mek: use.extracts for mek, use in used.items()} == {old: 1, new: 1}


def test_files_without_a_row_and_files_still_being_written_count(bench: Bench) -> None:
    mek = bench.ring.active_mek_id
    orphan = bench.store(new_id(), b"x", encrypted=True, site_id=SITE)
    with bench.repository.transaction() as tx:
        tx.intents.insert(IntentRow("site/ab/unseen.sealed", "f" * 32, mek, "publish", NOW))
        tx.intents.insert(IntentRow(orphan.storage_key, orphan.file_id, mek, "job", NOW))
        tx.intents.insert(IntentRow("site/ab/plain.plain", "", "", "publish", NOW))
    used, _ = scan(bench)
    assert used[mek].extracts == 2


def test_a_file_that_cannot_be_read_is_named(bench: Bench) -> None:
    one = bench.publish(b"x", encrypted=True)
    bench.path(one).write_bytes(b"junk")
    used, unreadable = scan(bench)
    assert used == {}
    assert bench.row(one).storage_key in unreadable[0]


def test_a_file_that_goes_during_the_scan_is_no_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(b"x", encrypted=True)

    def gone(_key: str) -> set[str]:
        raise NotFoundError("gone")

    monkeypatch.setattr(bench.vault, "mek_ids", gone)
    assert scan(bench) == ({}, ())
