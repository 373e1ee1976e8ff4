"""Stored extracts: every change is a new file, read back; a file opens only where it belongs."""

import dataclasses
import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.envelope.header import MAX_HEADER_BYTES, KeySlot, Placement, Prelude
from strongroom.envelope.keys import OpenedKey
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    NotFoundError,
    StateError,
    StorageError,
)
from strongroom.extracts.vault import ExtractVault, StoredFile
from strongroom.filestore.base import Step
from strongroom.filestore.local import LocalFileStore
from strongroom.ids import new_id
from strongroom.system.compat import override
from tests.support.memory_keys import MemoryKeys

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = Placement(new_id(), new_id())
DATA = os.urandom(3 * 1024 * 1024 + 17)


class Setup:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = MemoryKeys()
        self.files = LocalFileStore(folder)
        self.intents: list[StoredFile] = []
        self.vault = ExtractVault(self.files, self.keys, threads=2, intent=self.intents.append)

    def store(self, data: bytes = DATA, *, encrypted: bool = True) -> StoredFile:
        with self.vault.create(PLACE, encrypted=encrypted) as out:
            for start in range(0, len(data), 100_000):
                out.write(data[start : start + 100_000])
            return out.commit()

    def content(self, stored: StoredFile) -> bytes:
        with self.vault.open(stored, PLACE) as reader:
            return b"".join(reader.iterate())

    def on_disk(self, stored: StoredFile) -> bytes:
        return (self.folder / stored.storage_key).read_bytes()

    def keys_stored(self) -> list[str]:
        return sorted(self.files.list())


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "extracts")


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
@pytest.mark.parametrize("size", [0, 1, 300_000, len(DATA)])
def test_what_is_stored_comes_back(setup: Setup, size: int, encrypted: bool) -> None:
    stored = setup.store(DATA[:size], encrypted=encrypted)
    assert stored.encrypted is encrypted
    assert stored.plaintext_bytes == size
    assert stored.stored_bytes == len(setup.on_disk(stored))
    assert setup.content(stored) == DATA[:size]
    assert setup.vault.verify(stored, PLACE) == size
    assert setup.vault.mek_ids(stored.storage_key) == (
        {setup.keys.active_mek_id} if encrypted else set()
    )


def test_no_plaintext_lies_on_the_disk(setup: Setup) -> None:
    """P: the marker is not in any file while and after it is written."""
    marker = b"a marker that nobody writes by chance"
    with setup.vault.create(PLACE, encrypted=True) as out:
        out.write(marker * 100_000)
        stored = out.commit()
    for path in setup.folder.rglob("*"):
        assert path.is_dir() or marker not in path.read_bytes()
    assert setup.content(stored) == marker * 100_000


def test_intents_come_before_anything_is_written(tmp_path: Path) -> None:
    """Rule 9.4: a MEK is known to be in use before its first envelope exists."""
    seen: list[tuple[str, list[str]]] = []
    files = LocalFileStore(tmp_path)

    def intent(planned: StoredFile) -> None:
        assert planned.file_id
        seen.append((planned.mek_id, list(files.list())))

    keys = MemoryKeys()
    vault = ExtractVault(files, keys, intent=intent)
    with vault.create(PLACE, encrypted=True) as out:
        assert seen == [(keys.active_mek_id, [])]
        stored = out.commit()
    vault.reencrypt(stored, PLACE)
    assert len(seen) == 2


def test_a_refused_intent_stores_nothing(tmp_path: Path) -> None:
    def refuse(_: StoredFile) -> None:
        raise StateError("no")

    files = LocalFileStore(tmp_path)
    with pytest.raises(StateError):
        ExtractVault(files, MemoryKeys(), intent=refuse).create(PLACE, encrypted=True)
    assert list(files.list()) == []


def test_an_abandoned_writer_leaves_nothing(setup: Setup) -> None:
    for encrypted in (True, False):
        with setup.vault.create(PLACE, encrypted=encrypted, expected_bytes=10**6) as out:
            out.write(DATA)
        with pytest.raises(StateError):
            out.write(b"more")
        with pytest.raises(StateError):
            out.commit()
    assert setup.keys_stored() == []


def test_a_committed_writer_stays_committed(setup: Setup) -> None:
    out = setup.vault.create(PLACE, encrypted=True)
    stored = out.commit()
    out.abort()
    assert setup.content(stored) == b""


def test_ranges(setup: Setup) -> None:
    stored = setup.store()
    with setup.vault.open(stored, PLACE) as reader:
        assert reader.size == len(DATA)
        assert b"".join(reader.iterate(5, 15)) == DATA[5:15]
        assert b"".join(reader.iterate(len(DATA) - 3, len(DATA) + 7)) == DATA[-3:]
        assert b"".join(reader.iterate(len(DATA) + 3)) == b""
        target = bytearray(100)
        assert reader.read_into_at(262_000, memoryview(target)) == 100
        assert bytes(target) == DATA[262_000:262_100]
        assert b"".join(reader.iterate(100, 300_000, 7_777)) == DATA[100:300_000]
        assert b"".join(reader.iterate(len(DATA) - 10, 10**9)) == DATA[-10:]


def test_a_reader_as_a_file_serves_other_libraries(setup: Setup) -> None:
    """A .twbx is one envelope; what is inside is read from it without a clear copy."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Data/extract.hyper", DATA[:100_000])
    stored = setup.store(packed.getvalue())
    reader = setup.vault.open(stored, PLACE)
    file = reader.as_file()
    with file, zipfile.ZipFile(file) as archive:
        assert archive.read("Data/extract.hyper") == DATA[:100_000]
    with pytest.raises(StorageError):
        next(reader.iterate())
    with pytest.raises(ValueError, match="closed file"):
        file.read(1)


def test_a_file_object_refuses_negative_positions(setup: Setup) -> None:
    with setup.vault.open(setup.store(b"abc"), PLACE).as_file() as file:
        assert file.readable()
        assert file.seekable()
        assert file.seek(1) == 1
        assert file.seek(1, io.SEEK_CUR) == 2
        assert file.read() == b"c"
        with pytest.raises(ValueError, match="negative"):
            file.seek(-4, io.SEEK_END)


def test_encrypt_decrypt_and_reencrypt_make_new_files(setup: Setup) -> None:
    plain = setup.store(encrypted=False)
    done: list[int] = []
    encrypted = setup.vault.encrypt(plain, PLACE, throttle=done.append)
    assert sum(done) == 2 * len(DATA)  # written, and read back
    again = setup.vault.reencrypt(encrypted, PLACE, throttle=done.append)
    back = setup.vault.decrypt(again, PLACE, throttle=done.append)
    assert sum(done) == 6 * len(DATA)
    rows = [plain, encrypted, again, back]
    assert len({row.storage_key for row in rows}) == 4
    assert encrypted.file_id != again.file_id
    for row in rows:
        assert setup.content(row) == DATA
        assert row.stored_bytes == len(setup.on_disk(row))
    assert setup.on_disk(back) == DATA
    assert len(setup.keys_stored()) == 4


def test_each_change_wants_the_right_state(setup: Setup) -> None:
    plain, encrypted = setup.store(b"x", encrypted=False), setup.store(b"x")
    calls: list[Callable[[], object]] = [
        lambda: setup.vault.encrypt(encrypted, PLACE),
        lambda: setup.vault.decrypt(plain, PLACE),
        lambda: setup.vault.reencrypt(plain, PLACE),
        lambda: setup.vault.rewrap(plain, PLACE),
    ]
    for call in calls:
        with pytest.raises(StateError):
            call()


def test_rewrap_changes_the_header_page_only(setup: Setup) -> None:
    stored = setup.store()
    before = setup.on_disk(stored)
    active = setup.keys.rotate()
    after = setup.vault.rewrap(stored, PLACE)
    assert after == dataclasses.replace(stored, mek_id=active)
    assert setup.on_disk(after)[MAX_HEADER_BYTES:] == before[MAX_HEADER_BYTES:]
    assert setup.vault.mek_ids(stored.storage_key) == {active}
    assert setup.content(after) == DATA


class Rotating(MemoryKeys):
    """Keys that another process changes behind the next slot that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] | None = None

    @override
    def rewrapped_slot(self, prelude: Prelude, opened: OpenedKey) -> KeySlot:
        slot = super().rewrapped_slot(prelude, opened)
        then, self.then = self.then, None
        if then is not None:
            then()
        return slot


@pytest.mark.parametrize("retired", [False, True], ids=["rotated", "retired"])
def test_a_rewrap_beside_a_rotation_names_the_mek_of_the_file(
    tmp_path: Path, *, retired: bool
) -> None:
    """findings D5: the row named a MEK that the file never had; and what opens it is not overwritten under a MEK that went."""
    keys = Rotating()
    vault = ExtractVault(LocalFileStore(tmp_path / "extracts"), keys)
    with vault.create(PLACE, encrypted=True) as out:
        out.write(b"content")
        stored = out.commit()
    sealing = keys.rotate()

    def change() -> None:
        keys.rotate()
        if retired:
            keys.forget(sealing)

    keys.then = change
    after = vault.rewrap(stored, PLACE)
    assert vault.mek_ids(stored.storage_key) == {after.mek_id} == {keys.active_mek_id}
    with vault.open(after, PLACE) as reader:
        assert b"".join(reader.iterate()) == b"content"


def test_a_rewrap_right_before_a_rotation_names_the_mek_of_the_file(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: a job that sees an older MEK in the answer rewraps once more; it was given the newer one."""
    stored = setup.store(b"content")
    active = setup.keys.rotate()
    swap_header = setup.files.swap_header

    def swap_then_rotate(key: str, change: Step) -> None:
        swap_header(key, change)
        setup.keys.rotate()

    monkeypatch.setattr(setup.files, "swap_header", swap_then_rotate)
    assert setup.vault.rewrap(stored, PLACE).mek_id == active
    assert setup.vault.mek_ids(stored.storage_key) == {active}


def test_a_half_done_rewrap_shows_both_meks(setup: Setup) -> None:
    """§5.7."""
    stored = setup.store(b"x")
    path = setup.folder / stored.storage_key
    half = bytearray(path.read_bytes())
    old = setup.keys.active_mek_id
    active = setup.keys.rotate()
    setup.vault.rewrap(stored, PLACE)
    half[1024:1536] = path.read_bytes()[1024:1536]
    path.write_bytes(half)
    assert setup.vault.mek_ids(stored.storage_key) == {old, active}


def test_an_extract_of_another_site_or_row_is_refused(setup: Setup) -> None:
    """C6: the extract of site A recorded under site B."""
    stored, other = setup.store(b"one"), setup.store(b"two")
    elsewhere = Placement(new_id(), PLACE.extract_id)
    calls: list[Callable[[StoredFile, Placement], object]] = [
        setup.vault.open,
        setup.vault.verify,
        setup.vault.decrypt,
        setup.vault.reencrypt,
        setup.vault.rewrap,
    ]
    for call in calls:
        with pytest.raises(IntegrityError, match="belongs to"):
            call(stored, elsewhere)
        with pytest.raises(IntegrityError):
            call(dataclasses.replace(stored, storage_key=other.storage_key), PLACE)
    assert len(setup.keys_stored()) == 2


def test_a_file_of_another_length_than_its_row_is_refused(setup: Setup) -> None:
    for encrypted in (True, False):
        stored = setup.store(b"12345", encrypted=encrypted)
        with pytest.raises(IntegrityError):
            setup.vault.open(dataclasses.replace(stored, plaintext_bytes=4), PLACE)


def test_missing_files_and_keys_are_told(setup: Setup) -> None:
    stored = setup.store(b"x")
    setup.keys.rotate()
    setup.keys.forget(stored.mek_id)
    with pytest.raises(KeyNotFoundError):
        setup.vault.open(stored, PLACE)
    setup.vault.delete(stored.storage_key)
    setup.vault.delete(stored.storage_key)
    with pytest.raises(NotFoundError):
        setup.vault.open(stored, PLACE)


@pytest.mark.parametrize("verb", ["encrypt", "decrypt", "reencrypt"])
def test_a_damaged_source_leaves_no_new_file(setup: Setup, verb: str) -> None:
    stored = setup.store(encrypted=verb != "encrypt")
    path = setup.folder / stored.storage_key
    data = bytearray(path.read_bytes())
    if verb == "encrypt":
        path.write_bytes(data[:-1])
    else:
        data[1_000_000] ^= 1
        path.write_bytes(data)
    with pytest.raises(IntegrityError):
        getattr(setup.vault, verb)(stored, PLACE)
    assert setup.keys_stored() == [stored.storage_key]


@pytest.mark.parametrize("verb", ["encrypt", "decrypt", "reencrypt"])
def test_a_result_that_does_not_compare_is_removed(
    setup: Setup, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 9.1: read back before the old one may go."""
    from strongroom.filestore.blockfile import NewFile

    stored = setup.store(encrypted=verb != "encrypt")
    real = NewFile.write_at

    def rotten(self: NewFile, offset: int, data: bytes | memoryview) -> None:
        changed = bytearray(data)
        if offset > 1_000_000:
            changed[0] ^= 1
        real(self, offset, bytes(changed))

    monkeypatch.setattr(NewFile, "write_at", rotten)
    with pytest.raises(IntegrityError):
        getattr(setup.vault, verb)(stored, PLACE)
    assert setup.keys_stored() == [stored.storage_key]
    assert setup.content(stored) == DATA


def test_a_throttle_may_end_the_work(setup: Setup) -> None:
    """Cancellation: nothing is left of what was begun."""
    stored = setup.store()

    class CancelledError(Exception):
        pass

    def cancel(_: int) -> None:
        raise CancelledError

    for verb in (setup.vault.decrypt, setup.vault.reencrypt):
        with pytest.raises(CancelledError):
            verb(stored, PLACE, throttle=cancel)
    with pytest.raises(CancelledError):
        setup.vault.verify(stored, PLACE, throttle=cancel)
    assert setup.keys_stored() == [stored.storage_key]


def test_a_full_disk_at_the_header_leaves_nothing(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.filestore.blockfile import NewFile

    def full(*_: object) -> None:
        raise StorageError("no space left on device")

    monkeypatch.setattr(NewFile, "write_at", full)
    with pytest.raises(StorageError):
        setup.vault.create(PLACE, encrypted=True)
    assert setup.keys_stored() == []


def test_leftovers_are_what_no_row_knows(setup: Setup) -> None:
    known, unknown = setup.store(b"x"), setup.store(b"y", encrypted=False)
    assert setup.vault.leftovers({known.storage_key}) == [unknown.storage_key]


def test_standalone_files_have_a_folder_of_their_own(setup: Setup) -> None:
    with setup.vault.create(Placement.standalone(), encrypted=True) as out:
        assert out.commit().storage_key.startswith("standalone/")
