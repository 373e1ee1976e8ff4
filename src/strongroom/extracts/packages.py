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
    names = [entry.filename.lower() for entry in entries]
    return PackageContents(len(entries), any(name.endswith(_EXTRACT_ENDINGS) for name in names))


def _check_directory_size(file: IO[bytes], size: int) -> None:
    """Zipfile reads the whole directory into memory, so its declared size is bounded first.

    A zip64 directory declares 0xFFFFFFFF here and is refused with it: packages of 65,535 entries or with a directory beyond
    4 GiB are no real ones; zip64 entries in a small directory pass.
    """
    tail = min(size, _END_RECORD.size + _MAX_COMMENT)
    file.seek(size - tail)
    end = file.read(tail)
    at = end.rfind(_END_MAGIC)
    if at < 0 or len(end) - at < _END_RECORD.size:
        raise FormatError("the package is damaged: it has no zip directory")
    directory_bytes = _END_RECORD.unpack_from(end, at)[5]
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise FormatError(f"the package's zip directory is larger than {MAX_DIRECTORY_BYTES} bytes")
    file.seek(0)


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
        or stat.S_ISLNK(mode)
    ):
        raise FormatError(
            "the package holds an entry that would be unpacked outside its folder",
            hint="build the package anew with plain relative names",
        )
