"""Who depends on which MEK: both key slots, parts, orphans and intents (architecture sections 5 and 9)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.envelope import pages
from strongroom.envelope.header import MAX_HEADER_BYTES, Placement
from strongroom.errors import NotFoundError
from strongroom.ids import new_id
from strongroom.repository.rows import IntentRow
from strongroom.services.keys import usage
from strongroom.services.keys.mek_use import MekUse, UseCount
from tests.support.jobs_lab import NOW, SITE, Lab, open_lab
from tests.support.stored_forms import rewrapped, with_slot


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield from open_lab(tmp_path)


def scan(lab: Lab) -> UseCount:
    return usage.scan(lab.repository, usage.Headers(lab.files, lab.vault))


def test_extracts_count_with_their_stored_bytes(lab: Lab) -> None:
    old = lab.ring.active_mek_id
    one = lab.publish(b"x" * 100, encrypted=True)
    lab.publish(b"plain", encrypted=False)
    new = lab.ring.rotate()
    two = lab.publish(b"y" * 300_000, encrypted=True)
    used, unreadable = scan(lab)
    assert unreadable == ()
    assert used == {
        old: MekUse(1, lab.path(one).stat().st_size),
        new: MekUse(1, lab.path(two).stat().st_size),
    }


def test_both_slots_of_a_header_count(lab: Lab) -> None:
    """A rewrap that was cut after its first slot: the old MEK still opens the file."""
    old = lab.ring.active_mek_id
    one = lab.publish(b"x", encrypted=True)
    new = lab.ring.rotate()
    path = lab.path(one)
    page = pages.parse(path.read_bytes()[:MAX_HEADER_BYTES])
    slot = rewrapped(lab.ring, page, Placement(SITE, one))
    with path.open("r+b") as file:
        file.write(pages.serialize(with_slot(page, slot)))
    used, _ = scan(lab)
    assert {mek: use.extracts for mek, use in used.items()} == {old: 1, new: 1}


def test_files_without_a_row_and_files_still_being_written_count(lab: Lab) -> None:
    mek = lab.ring.active_mek_id
    orphan = lab.store(new_id(), b"x", encrypted=True, site_id=SITE)
    with lab.repository.transaction() as tx:
        tx.intents.insert(IntentRow("site/ab/unseen.sealed", "f" * 32, mek, "publish", NOW))
        tx.intents.insert(IntentRow(orphan.storage_key, orphan.file_id, mek, "job", NOW))
        tx.intents.insert(IntentRow("site/ab/plain.plain", "", "", "publish", NOW))
    used, _ = scan(lab)
    assert used[mek].extracts == 2


def test_a_file_that_cannot_be_read_is_named(lab: Lab) -> None:
    one = lab.publish(b"x", encrypted=True)
    lab.path(one).write_bytes(b"junk")
    used, unreadable = scan(lab)
    assert used == {}
    assert lab.row(one).storage_key in unreadable[0]


def test_a_file_that_goes_during_the_scan_is_no_trouble(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.publish(b"x", encrypted=True)

    def gone(_key: str) -> set[str]:
        raise NotFoundError("gone")

    monkeypatch.setattr(lab.vault, "mek_ids", gone)
    assert scan(lab) == ({}, ())


def test_a_second_count_reads_the_headers_that_came_since_alone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F15: under the lock of keys, the store is listed and nothing else is read again."""
    mek = lab.ring.active_mek_id
    first = lab.publish(b"x", encrypted=True)
    headers = usage.Headers(lab.files, lab.vault)
    assert usage.scan(lab.repository, headers)[0][mek].extracts == 1
    lab.publish(b"y", encrypted=True)
    read: list[str] = []
    before = lab.vault.mek_ids

    def mek_ids(storage_key: str) -> set[str]:
        read.append(storage_key)
        return before(storage_key)

    monkeypatch.setattr(lab.vault, "mek_ids", mek_ids)
    assert usage.scan(lab.repository, headers)[0][mek].extracts == 2
    assert len(read) == 1
    lab.files.delete(lab.row(first).storage_key)
    assert usage.scan(lab.repository, headers)[0][mek].extracts == 1
    assert len(read) == 1
