"""Types of published files and their first bytes."""

import pytest

from strongroom.errors import FormatError, UsageError
from strongroom.extracts.model import ContentKind, Declared, FileType, check_head

HEADS = {
    FileType.HYPER: b"Hyper\x08\x00\x00\x01\x00\x02\x00\x00\x00\x00\x00",
    FileType.TDE: bytes.fromhex("20020162a0eb6400"),
    FileType.PARQUET: b"PAR1\x15\x04",
    FileType.TDSX: b"PK\x03\x04",
    FileType.TWBX: b"PK\x05\x06",
    FileType.TDS: b"\xef\xbb\xbf \n<?xml",
    FileType.TWB: b"<workbook>",
}


@pytest.mark.parametrize("declared", FileType)
def test_the_right_head_is_taken_and_others_are_refused(declared: FileType) -> None:
    check_head(declared, HEADS[declared])
    for head in (b"", b"\x00" * 16, b"hyper"):
        with pytest.raises(FormatError, match=rf"no \.{declared}"):
            check_head(declared, head)


@pytest.mark.parametrize("version", range(5))
def test_every_hyper_version_is_known(version: int) -> None:
    check_head(FileType.HYPER, b"Hyper\x08\x00\x00\x01\x00" + bytes([version]))


@pytest.mark.parametrize(
    ("kind", "word", "filename", "found"),
    [
        (ContentKind.DATASOURCE, "hyper", "x", FileType.HYPER),
        (ContentKind.DATASOURCE, "", "a.b.PARQUET", FileType.PARQUET),
        (ContentKind.WORKBOOK, "TWBX", "x.hyper", FileType.TWBX),
    ],
)
def test_declared_types(kind: ContentKind, word: str, filename: str, found: FileType) -> None:
    assert Declared(kind, word, filename).file_type() is found


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (ContentKind.DATASOURCE, "exe"),
        (ContentKind.DATASOURCE, "twb"),
        (ContentKind.WORKBOOK, "hyper"),
        (ContentKind.WORKBOOK, ""),
    ],
)
def test_unfitting_types_are_refused(kind: ContentKind, word: str) -> None:
    with pytest.raises(UsageError, match=r"type|not published"):
        Declared(kind, word, "noextension").file_type()


def test_only_tde_needs_an_upgrade() -> None:
    assert [one for one in FileType if one.needs_upgrade] == [FileType.TDE]
    assert [one for one in FileType if one.is_package] == [FileType.TDSX, FileType.TWBX]
    assert [one for one in FileType if one.is_extract] == [
        FileType.HYPER,
        FileType.TDE,
        FileType.PARQUET,
    ]
