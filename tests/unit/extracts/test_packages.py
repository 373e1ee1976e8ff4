"""Packages are looked into, never unpacked; zip slip is refused (issue: bad input)."""

import io
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import FormatError
from strongroom.extracts import packages
from strongroom.extracts.packages import inspect_package


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
