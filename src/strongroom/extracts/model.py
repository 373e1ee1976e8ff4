"""Kinds of content, types of published files, and their first bytes; pure.

A file's declared type is accepted only if its first bytes agree.
"""

from dataclasses import dataclass
from enum import StrEnum

from strongroom.envelope.header import MAGIC as ENVELOPE_MAGIC
from strongroom.errors import FormatError, UsageError

HEAD_BYTES = 16  # how many first bytes suffice to check a type

HYPER_MAGIC = b"Hyper\x08\x00\x00\x01\x00"
PARQUET_MAGIC = b"PAR1"
TDE_MAGIC = bytes.fromhex("20020162")
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ContentKind(StrEnum):
    """The kinds of published items."""

    DATASOURCE = "datasource"
    WORKBOOK = "workbook"


class FileType(StrEnum):
    """The type of a published file; the value is its extension."""

    HYPER = "hyper"
    TDE = "tde"
    PARQUET = "parquet"
    TDS = "tds"
    TDSX = "tdsx"
    TWB = "twb"
    TWBX = "twbx"

    @property
    def kind(self) -> ContentKind:
        """The kind of item as which a file of this type is published."""
        if self in {FileType.TWB, FileType.TWBX}:
            return ContentKind.WORKBOOK
        return ContentKind.DATASOURCE

    @property
    def is_package(self) -> bool:
        """Whether the file is a zip that may contain extracts."""
        return self in {FileType.TDSX, FileType.TWBX}

    @property
    def is_extract(self) -> bool:
        """Whether the file itself is an extract."""
        return self in {FileType.HYPER, FileType.TDE, FileType.PARQUET}

    @property
    def needs_upgrade(self) -> bool:
        """Whether the file must be converted before it can be queried, as `.tde` to `.hyper` (E-06, Q-26)."""
        return self is FileType.TDE


@dataclass(frozen=True)
class Declared:
    """A client's declaration of a file."""

    kind: ContentKind
    type_word: str
    filename: str

    def file_type(self) -> FileType:
        """The declared type: the parameter, else the file name's extension.

        Raises:
            UsageError: The type is unknown, or not one of this kind of content.
        """
        word = self.type_word or self.filename.rpartition(".")[2]
        try:
            found = FileType(word.strip().lower())
        except ValueError as error:
            raise UsageError(f"unknown file type {word[:20]!r}", hint=_known(self.kind)) from error
        if found.kind is not self.kind:
            raise UsageError(
                f"a .{found} is not published as a {self.kind}", hint=_known(self.kind)
            )
        return found


def _known(kind: ContentKind) -> str:
    return "known: " + ", ".join(one for one in FileType if one.kind is kind)


def check_head(declared: FileType, head: bytes) -> None:
    """Refuse a file whose first bytes are not those of its declared type.

    Raises:
        FormatError: The first bytes are those of something else.
    """
    if head.startswith(ENVELOPE_MAGIC):
        raise FormatError(
            f"the file is no .{declared}: it is encrypted by strongroom already",
            hint="decrypt it, and publish the result: the site's mode says whether it is encrypted here",
        )
    if not _fits(declared, head):
        raise FormatError(
            f"the file is no .{declared}: its first bytes are those of something else",
            hint="publish the file under the type that it has",
        )


def _fits(declared: FileType, head: bytes) -> bool:
    match declared:
        case FileType.HYPER:
            return head.startswith(HYPER_MAGIC)
        case FileType.TDE:
            return head.startswith(TDE_MAGIC)
        case FileType.PARQUET:
            return head.startswith(PARQUET_MAGIC)
        case FileType.TDSX | FileType.TWBX:
            return head.startswith(_ZIP_MAGICS)
        case FileType.TDS | FileType.TWB:
            return head.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"<")
