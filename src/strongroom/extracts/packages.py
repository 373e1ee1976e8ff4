"""Looks into a published package (.tdsx, .twbx) without unpacking it: what it holds, and whether it is dangerous to unpack.

Only the central directory is read. Whoever downloads the package will unpack it, so one that would write outside its folder
(zip slip) is refused here. Nothing is ever extracted by us.
"""

import stat
import struct
import zipfile
from dataclasses import dataclass
from typing import IO

from strongroom.errors import FormatError

MAX_DIRECTORY_BYTES = 16 * 1024 * 1024  # a hundred thousand entries
MAX_ENTRIES = 100_000
_EXTRACT_ENDINGS = (".hyper", ".tde", ".parquet")
_END_RECORD = struct.Struct("<4s4H2LH")  # APPNOTE 4.3.16
_END_MAGIC = b"PK\x05\x06"
_END_RECORD_64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_END_MAGIC_64 = b"PK\x06\x06"
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15, right behind it
_LOCATOR_MAGIC = b"PK\x06\x07"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # 4.3.7
_LOCAL_MAGIC = b"PK\x03\x04"
_UTF8_FLAG = 0x800
_MAX_COMMENT = 0xFFFF


@dataclass(frozen=True)
class PackageContents:
    """What a package holds."""

    entries: int
    has_extract: bool


def inspect_package(file: IO[bytes], size: int) -> PackageContents:
    """Read the central directory of a seekable package.

    Raises:
        FormatError: Not a zip, unreasonably large a directory, or an entry that would leave its folder.
    """
    _check_directory_size(file, size)
    try:
        with zipfile.ZipFile(file) as package:
            entries = package.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise FormatError("the package is damaged: its zip directory cannot be read") from error
    if len(entries) > MAX_ENTRIES:
        raise FormatError(f"the package has more than {MAX_ENTRIES} entries")
    for entry in entries:
        _check_entry(entry)
        _check_local_name(file, entry)
    names = [entry.filename.lower() for entry in entries]
    if len(set(names)) < len(names):
        raise FormatError("the package holds two entries of one name")
    return PackageContents(len(entries), any(name.endswith(_EXTRACT_ENDINGS) for name in names))


def _check_directory_size(file: IO[bytes], size: int) -> None:
    """Zipfile reads the whole directory into memory, so its declared size is bounded first."""
    tail = min(size, _END_RECORD.size + _MAX_COMMENT)
    file.seek(size - tail)
    end = file.read(tail)
    at = end.rfind(_END_MAGIC)
    if at < 0 or len(end) - at < _END_RECORD.size:
        raise FormatError("the package is damaged: it has no zip directory")
    directory_bytes = _END_RECORD.unpack_from(end, at)[5]
    if end[max(0, at - _LOCATOR.size) : at].startswith(_LOCATOR_MAGIC):
        directory_bytes = _directory_bytes_64(file, size - tail + at - _LOCATOR.size)
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise FormatError(f"the package's zip directory is larger than {MAX_DIRECTORY_BYTES} bytes")
    file.seek(0)


def _directory_bytes_64(file: IO[bytes], locator_at: int) -> int:
    """From the end record of zip64, which is believed instead of the other, whatever that one says."""
    file.seek(max(0, locator_at - _END_RECORD_64.size))
    record = file.read(_END_RECORD_64.size)
    if len(record) < _END_RECORD_64.size or not record.startswith(_END_MAGIC_64):
        raise FormatError("the package is damaged: its zip64 directory is not where it should be")
    return int(_END_RECORD_64.unpack(record)[8])


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # what zipfile kept of the name as stored; it cuts `filename` at a NUL and turns separators
    name = entry.orig_filename.replace("\\", "/")
    parts = name.split("/")
    mode = entry.external_attr >> 16
    if (
        name.startswith("/")
        or ".." in parts
        or "\0" in name
        or (len(name) > 1 and name[1] == ":")
        or stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}
    ):
        raise FormatError(
            "the package holds an entry that would be unpacked outside its folder",
            hint="build the package anew with plain relative names",
        )


def _check_local_name(file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Programs that unpack a stream believe the name before an entry's data, not the one in the directory."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MAGIC):
        raise FormatError("the package is damaged: an entry is not where its directory says")
    fields = _LOCAL_HEADER.unpack(header)
    flags, length = fields[2], fields[9]
    coding = "utf-8" if flags & _UTF8_FLAG else "cp437"
    if file.read(length).decode(coding, "replace") != entry.orig_filename:
        raise FormatError("the package is damaged: an entry has two names")
