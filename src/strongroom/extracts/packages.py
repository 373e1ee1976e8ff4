"""Examines a published package (.tdsx, .twbx) without unpacking it: whether it has an extract, and is safe to unpack.

Only the zip's directory and the headers of its entries are read. The server never unpacks a package, but its users do
after a download: a package with an entry that would be written outside the folder ("zip slip") is therefore refused.
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
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_NAMES_OF_METHODS = {
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}  # 4.4.5
_SHOWN = 100  # characters of an entry's name
_MAX_COMMENT = 0xFFFF


@dataclass(frozen=True)
class PackageContents:
    """The content of a package."""

    entries: int
    has_extract: bool


def inspect_package(file: IO[bytes], size: int) -> PackageContents:
    """Read the central directory of a seekable package.

    Raises:
        FormatError: The file is no zip, its directory is too large, or an entry would be unpacked outside the folder.
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
        check_method(entry)
        _check_local_header(file, entry)
    names = [entry.filename.lower() for entry in entries]
    if len(set(names)) < len(names):
        raise FormatError("the package holds two entries of one name")
    return PackageContents(len(entries), any(name.endswith(_EXTRACT_ENDINGS) for name in names))


def _check_directory_size(file: IO[bytes], size: int) -> None:
    """Refuse a large directory, since `zipfile` reads all of it into memory."""
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
    """The directory's size by the end record of zip64, which `zipfile` trusts in the place of the other record."""
    file.seek(max(0, locator_at - _END_RECORD_64.size))
    record = file.read(_END_RECORD_64.size)
    if len(record) < _END_RECORD_64.size or not record.startswith(_END_MAGIC_64):
        raise FormatError("the package is damaged: its zip64 directory is not where it should be")
    return int(_END_RECORD_64.unpack(record)[8])


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # the name as it is stored: `zipfile` cuts `filename` at a NUL and converts separators, and other programs may not
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


def check_method(entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that is packed by a method other than those of Tableau's own packages.

    The decoders of other methods raise errors of their own, and use as much memory as the entry asks for.

    Raises:
        FormatError: The entry is neither stored nor deflated.
    """
    if entry.compress_type not in _METHODS:
        method = _NAMES_OF_METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        raise FormatError(
            f"the package's entry {entry.filename[:_SHOWN]!r} is packed by {method}: entries are stored or deflated",
            hint="build the package anew as a plain zip",
        )


def _check_local_header(file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Refuse an entry whose local header differs from the directory: programs that unpack a stream use the local header."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MAGIC):
        raise FormatError("the package is damaged: an entry is not where its directory says")
    fields = _LOCAL_HEADER.unpack(header)
    if fields[3] != entry.compress_type:
        raise FormatError("the package is damaged: an entry is packed in two ways")
    length = fields[9]
    # The names are compared as bytes: some programs set the flag for UTF-8 in only one of the two places (findings
    # K17). In either coding, the characters that lead out of a folder are ASCII and have the same bytes.
    coding = "utf-8" if entry.flag_bits & _UTF8_FLAG else "cp437"
    if file.read(length) != entry.orig_filename.encode(coding, "surrogateescape"):
        raise FormatError("the package is damaged: an entry has two names")
