"""The container of backups (docs/format/backup.md 1.1, 1.2, 1.3): hostile archives are refused (S9)."""

import io
import tarfile
from collections.abc import Callable
from typing import Literal

import pytest

from strongroom.backup import archive
from strongroom.backup.archive import ArchiveWriter, BytesSource, Window
from strongroom.errors import FormatError, StateError, StorageError
from tests.support.archives import Memory, written

GOOD = written((archive.MARK, b"{}"), ("a/b.json", b"x" * 1000), ("c", b""), ("d", bytes(512)))


def test_what_is_written_is_found_again() -> None:
    source = BytesSource(GOOD)
    told: list[int] = []
    entries = archive.scan(source, told.append)
    assert [(one.name, one.size) for one in entries] == [
        (archive.MARK, 2),
        ("a/b.json", 1000),
        ("c", 0),
        ("d", 512),
    ]
    assert sum(told) == 1514
    assert archive.content(source, entries[1], 1000) == b"x" * 1000
    assert Window(source, entries[1]).size == 1000


def test_other_tools_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as listed:
        assert listed.getnames() == [archive.MARK, "a/b.json", "c", "d"]
        found = listed.extractfile("a/b.json")
        assert found is not None
        assert found.read() == b"x" * 1000


def test_every_changed_byte_outside_the_data_is_found() -> None:
    """1.2: headers, padding and trailer have one form; the data has its digest."""
    entries = archive.scan(BytesSource(GOOD))
    inside = {at for one in entries for at in range(one.offset, one.offset + one.size)}
    for at in range(len(GOOD)):
        broken = bytearray(GOOD)
        broken[at] ^= 1
        if at in inside:
            assert archive.scan(BytesSource(bytes(broken))) != entries
        else:
            with pytest.raises(FormatError):
                archive.scan(BytesSource(bytes(broken)))


def test_every_cut_is_found() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(FormatError):
            archive.scan(BytesSource(GOOD[:length]))


@pytest.mark.parametrize("behind", [b"\0", bytes(512), b"more" * 128])
def test_nothing_may_follow_the_end(behind: bytes) -> None:
    with pytest.raises(FormatError, match="does not end"):
        archive.scan(BytesSource(GOOD + behind))


def _of_tar(
    fill: Callable[[tarfile.TarInfo], None], *, form: Literal[0, 1, 2] = tarfile.GNU_FORMAT
) -> bytes:
    info = tarfile.TarInfo("evil")
    info.mode = 0o600
    fill(info)
    mark = written((archive.MARK, b"{}"))[:-1024]
    return mark + info.tobuf(form, "utf-8", "surrogateescape") + bytes(info.size) + bytes(1024)


def _set(**fields: object) -> Callable[[tarfile.TarInfo], None]:
    def fill(info: tarfile.TarInfo) -> None:
        for name, value in fields.items():
            setattr(info, name, value)

    return fill


HOSTILE = {
    "symlink": _set(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hardlink": _set(type=tarfile.LNKTYPE, linkname=archive.MARK),
    "directory": _set(type=tarfile.DIRTYPE),
    "fifo": _set(type=tarfile.FIFOTYPE),
    "character device": _set(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": _set(type=tarfile.BLKTYPE),
    "old regular": _set(type=tarfile.AREGTYPE),
    "contiguous": _set(type=tarfile.CONTTYPE),
    "sparse": _set(type=tarfile.GNUTYPE_SPARSE),
    "long name": _set(name="x" * 101),
    "absolute": _set(name="/etc/cron.d/x"),
    "traversal": _set(name="extracts/../../x"),
    "dot": _set(name="./x"),
    "hidden": _set(name="extracts/.pins"),
    "backslash": _set(name="..\\x"),
    "upper case": _set(name="EXTRACTS/x"),
    "control": _set(name="a\nb"),
    "not ascii": _set(name="é"),
    "deep": _set(name="a/b/c/d/e/f/g"),
    "empty": _set(name=""),
    "mode": _set(mode=0o4755),
    "owner": _set(uid=1000),
    "owner's name": _set(uname="root"),
    "time": _set(mtime=1),
    "twice": _set(name=archive.MARK),
    "bomb": _set(size=10 << 30, name="bomb"),
    "negative": _set(size=-512),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_entries_are_refused(name: str) -> None:
    """S9: links, devices, names that lead elsewhere, sizes that are not there."""
    fill = HOSTILE[name]
    if name in {"bomb", "negative"}:
        info = tarfile.TarInfo("evil")
        fill(info)
        mark = written((archive.MARK, b"{}"))[:-1024]
        data = mark + info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    else:
        data = _of_tar(fill)
    with pytest.raises(FormatError):
        archive.scan(BytesSource(data))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_other_forms_of_tar_are_refused(form: Literal[0, 1, 2]) -> None:
    with pytest.raises(FormatError):
        archive.scan(BytesSource(_of_tar(_set(), form=form)))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" * 400, bytes(2048), b"x" * 512])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        archive.scan(BytesSource(data))


def test_the_first_entry_is_the_mark() -> None:
    with pytest.raises(FormatError, match="no backup"):
        archive.scan(BytesSource(written(("other", b""))))


def test_the_count_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(FormatError, match="more than 3"):
        archive.scan(BytesSource(GOOD))


def test_the_writer_keeps_the_bound_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """1.3: what a reader refuses is not written."""
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    full = written((archive.MARK, b""), ("b", b""), ("c", b""))
    assert len(archive.scan(BytesSource(full))) == 3
    with pytest.raises(StateError, match="4 entries, more than 3"):
        written((archive.MARK, b""), ("b", b""), ("c", b""), ("d", b""))


def test_names_are_checked_before_they_are_written() -> None:
    with pytest.raises(FormatError, match="not the name"):
        ArchiveWriter(Memory()).add_bytes("../x", b"")


def test_a_large_size_has_a_header() -> None:
    """Beyond 8 GiB the size is binary; it is still one form."""
    block = archive._header("x", 20 << 30)
    assert len(block) == archive.BLOCK
    assert archive._parse_header(block, first=False) == ("x", 20 << 30)


def test_a_source_that_becomes_shorter_is_told() -> None:
    class Shrinking(BytesSource):
        size = 100

    with pytest.raises(StorageError, match="became shorter"):
        ArchiveWriter(Memory()).add("x", Shrinking(b"short"))


def test_small_entries_are_small_and_the_same_as_before() -> None:
    entries = archive.scan(BytesSource(GOOD))
    with pytest.raises(FormatError, match="more than 999"):
        archive.content(BytesSource(GOOD), entries[1], 999)
    changed = GOOD.replace(b"x" * 10, b"y" * 10, 1)
    with pytest.raises(FormatError, match="while the backup was read"):
        archive.content(BytesSource(changed), entries[1], 1000)
