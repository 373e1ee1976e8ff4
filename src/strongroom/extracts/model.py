"""What is published: kinds of content, types of file, and how a file shows by its first bytes what it is; pure.

A declared type is believed only if the bytes agree (clients.md 1.4: the magic of .hyper is ten bytes, the version follows).
"""

from dataclasses import dataclass
from enum import StrEnum

from strongroom.errors import FormatError, UsageError

HEAD_BYTES = 16  # enough of a file to know its type

HYPER_MAGIC = b"Hyper\x08\x00\x00\x01\x00"
PARQUET_MAGIC = b"PAR1"
TDE_MAGIC = bytes.fromhex("20020162")
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ContentKind(StrEnum):
    """What a published item is."""

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
        """What a file of this type is published as."""
        if self in {FileType.TWB, FileType.TWBX}:
            return ContentKind.WORKBOOK
        return ContentKind.DATASOURCE

    @property
    def is_package(self) -> bool:
        """Whether it is a zip that may hold extracts."""
        return self in {FileType.TDSX, FileType.TWBX}

    @property
    def is_extract(self) -> bool:
        """Whether the file itself is an extract."""
        return self in {FileType.HYPER, FileType.TDE, FileType.PARQUET}

    @property
    def needs_upgrade(self) -> bool:
        """`.tde` must become `.hyper` before it can be queried (E-06, Q-26); until then it is kept as it is."""
        return self is FileType.TDE


@dataclass(frozen=True)
class Declared:
    """What a client says about a file."""

    kind: ContentKind
    type_word: str
    filename: str

    def file_type(self) -> FileType:
        """The declared type: the parameter, else the file name's extension.

        Raises:
            UsageError: No type that this kind of content can have.
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
    """Whether a file that begins with these bytes can be what it is declared as.

    Raises:
        FormatError: It cannot.
    """
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
