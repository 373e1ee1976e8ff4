"""Packages are looked into, never unpacked; zip slip is refused (issue: bad input)."""

import io
import stat
import struct
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import FormatError
from strongroom.extracts import packages
from strongroom.extracts.packages import inspect_package
from strongroom.system.compat import override


def package_of(*entries: str | zipfile.ZipInfo) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as package:
        for entry in entries:
            package.writestr(entry, b"content")
    return made.getvalue()


def inspect(content: bytes) -> packages.PackageContents:
    return inspect_package(io.BytesIO(content), len(content))


def test_extracts_are_found() -> None:
    found = inspect(package_of("Book.twb", "Data/Extracts/Flights.HYPER"))
    assert (found.entries, found.has_extract) == (2, True)


def test_packages_without_extracts_are_fine() -> None:
    assert inspect(package_of("a.tds", "Data/")).has_extract is False
    assert inspect(package_of()).entries == 0


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/passwd",
        "..\\evil",
        "a\\..\\evil",
        "C:\\evil",
        "C:evil",
        "\\\\host\\x",
    ],
)
def test_entries_that_would_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="outside its folder"):
        inspect(package_of("ok.twb", name))


def test_links_are_refused() -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(FormatError, match="outside its folder"):
        inspect(package_of(link))


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_only_files_and_folders_are_packed(kind: int) -> None:
    """S9."""
    entry = zipfile.ZipInfo("special")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(FormatError):
        inspect(package_of(entry))


@pytest.mark.parametrize("again", ["a.hyper", "A.HYPER"])
def test_two_entries_of_one_name_are_refused(again: str) -> None:
    """S9: one program would unpack the first, another one the second."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as package, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package.writestr("a.hyper", b"one")
        package.writestr(again, b"two")
    with pytest.raises(FormatError, match="one name"):
        inspect(made.getvalue())


@pytest.mark.parametrize("name", ["../evil", "b.txt00"])
def test_an_entry_has_the_same_name_at_both_places(name: str) -> None:
    """Programs that unpack a stream never see the directory."""
    content = package_of("ok.tds1")
    with pytest.raises(FormatError, match="two names"):
        inspect(content.replace(b"ok.tds1", name.encode(), 1))


def test_an_entry_is_where_the_directory_says() -> None:
    content = package_of("a.tds")
    at = content.rindex(b"PK\x01\x02") + 42
    with pytest.raises(FormatError, match="damaged"):
        inspect(content[:at] + b"\x05\0\0\0" + content[at + 4 :])


METHODS = {"bzip2": zipfile.ZIP_BZIP2, "LZMA": zipfile.ZIP_LZMA}
OTHER_METHODS = {
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
    99: "method 99",
    1: "method 1",
}


def with_method(content: bytes, method: int, *, where: tuple[bytes, ...]) -> bytes:
    """The same package, whose only entry claims to be packed otherwise: in its header, the directory, or both."""
    changed = bytearray(content)
    for magic, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        if magic in where:
            place = changed.index(magic) + at
            changed[place : place + 2] = struct.pack("<H", method)
    return bytes(changed)


@pytest.mark.parametrize("name", METHODS)
def test_an_entry_packed_by_another_method_is_refused_by_name(name: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", METHODS[name]) as package:
        package.writestr("a.tds", b"x" * 1000, zipfile.ZIP_DEFLATED)
        package.writestr("Data/a\n.hyper", b"x" * 1000)
    with pytest.raises(FormatError, match=rf"'Data/a\\n\.hyper' is packed by {name}:") as refused:
        inspect(made.getvalue())
    assert "plain zip" in refused.value.hint


@pytest.mark.parametrize("method", OTHER_METHODS)
def test_a_method_that_python_does_not_know_is_refused_by_name(method: int) -> None:
    content = with_method(package_of("a.hyper"), method, where=(b"PK\x03\x04", b"PK\x01\x02"))
    with pytest.raises(FormatError, match=rf"'a\.hyper' is packed by {OTHER_METHODS[method]}:"):
        inspect(content)


def test_stored_and_deflated_entries_are_taken() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as package:
        package.writestr("a.tds", b"x" * 1000, zipfile.ZIP_DEFLATED)
        package.writestr("a.hyper", b"x" * 1000, zipfile.ZIP_STORED)
    assert inspect(made.getvalue()).entries == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_an_entry_is_packed_in_the_same_way_at_both_places(method: int) -> None:
    with pytest.raises(FormatError, match="in two ways"):
        inspect(with_method(package_of("a"), method, where=(b"PK\x03\x04",)))


@pytest.mark.parametrize("name", ["Straße.tds", "データ.hyper", "a b.twb"])
def test_names_may_have_any_letters(name: str) -> None:
    assert inspect(package_of(name)).entries == 1


class Counted(io.BytesIO):
    """Remembers the largest read."""

    largest = 0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.largest = max(self.largest, len(found))
        return found


def end_64(
    count: int, directory_at: int, directory_bytes: int, magic: bytes = b"PK\x06\x06"
) -> bytes:
    """The end of a package as zip64 has it: three records, of which the first is believed."""
    record = struct.pack(
        "<4sQ2H2L4Q", magic, 44, 45, 45, 0, 0, count, count, directory_bytes, directory_at
    )
    at = directory_at + directory_bytes
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return record + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 10, 0, 0)


def test_a_directory_of_zip64_does_not_get_past_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """S9: the small end record says little, the one of zip64 is believed, and what it names is read into memory."""
    monkeypatch.setattr(packages, "MAX_DIRECTORY_BYTES", 100_000)
    file = Counted(b"\0" * 500_000 + end_64(1, 0, 500_000))
    with pytest.raises(FormatError, match="larger than 100000"):
        inspect_package(file, len(file.getvalue()))
    assert file.largest <= 100_000


def test_packages_beyond_four_gibibytes_have_such_a_directory() -> None:
    content = package_of("a.hyper")
    at, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    assert inspect(content[:end] + end_64(1, at, end - at)).has_extract
    with pytest.raises(FormatError, match="zip64"):
        inspect(content[:end] + end_64(1, at, end - at, magic=b"junk"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100, package_of("a")[:-5]])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="damaged"):
        inspect(content)


@given(st.integers(0, 200), st.integers(0, 255))
def test_damage_is_a_format_error_or_nothing(at: int, byte: int) -> None:
    content = bytearray(package_of("a.hyper", "b/c.twb"))
    content[at % len(content)] = byte
    try:
        inspect(bytes(content))
    except FormatError:
        return


def test_a_huge_directory_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MAX_DIRECTORY_BYTES", 10)
    with pytest.raises(FormatError, match="larger than 10"):
        inspect(package_of("a"))


def test_the_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MAX_ENTRIES", 1)
    with pytest.raises(FormatError, match="more than 1"):
        inspect(package_of("a", "b"))


@pytest.mark.parametrize("where", ["local header", "directory", "both", "neither"])
def test_the_flag_for_utf8_may_stand_in_either_place(where: str) -> None:
    """Findings K17: the names are the same bytes; programs set the flag in the local header only, or in the directory only."""
    content = bytearray(package_of("Données/été.hyper"))
    local, directory = content.index(b"PK\x03\x04") + 7, content.index(b"PK\x01\x02") + 9
    for at, name in ((local, "local header"), (directory, "directory")):
        assert content[at] == 8
        content[at] = 8 if where in {name, "both"} else 0
    assert inspect(bytes(content)).has_extract


@pytest.mark.parametrize("name", ["../é.hyper", "/é.hyper", "a\\..\\é.hyper"])
def test_nor_does_the_flag_hide_a_way_out(name: str) -> None:
    content = bytearray(package_of(name))
    content[content.index(b"PK\x01\x02") + 9] = 0
    with pytest.raises(FormatError, match="outside its folder"):
        inspect(bytes(content))
