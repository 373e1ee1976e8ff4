"""The container of a backup: a strict tar archive, written and read in pieces (docs/format/backup.md 1).

The archive comes from outside and may be an attacker's. Nothing is ever unpacked by its names or modes: `scan` checks
every byte of the file against the strict format first, and then gives positions of entries within that one file.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.errors import FormatError, StateError, StorageError
from strongroom.system.positions import Progress, Sink, Source

BLOCK = 512
MAX_ENTRIES = 1_000_000
MAX_NAME = 100
MARK = "strongroom-backup"
_TRAILER = bytes(2 * BLOCK)
_CHUNK = 1 << 20
_PART = "[a-z0-9][a-z0-9._-]*"
_NAME = re.compile(f"{_PART}(/{_PART}){{0,5}}")
_HINT = "the file is damaged or was changed: use another backup"


@dataclass(frozen=True)
class Entry:
    """An entry of the archive: a file with a name.

    Attributes:
        name: A relative name in the form of clause 1.3.
        size: The number of bytes of the entry's data.
        sha256: The digest of the data, hexadecimal.
        offset: The position in the archive at which the data begins.
    """

    name: str
    size: int
    sha256: str
    offset: int


class BytesSource:
    """Bytes in memory as a source."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Bytes in it."""
        return len(self._data)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        piece = self._data[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)


class Window:
    """The data of one entry of an archive, as a source of its own."""

    def __init__(self, archive: Source, entry: Entry) -> None:
        self._archive, self._entry = archive, entry

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self._entry.size

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        count = max(0, min(len(target), self._entry.size - offset))
        return self._archive.read_into_at(self._entry.offset + offset, target[:count])


class ArchiveWriter:
    """Writes entries one after the other.

    Args:
        sink: The new file.
        progress: Called with the number of bytes of data written, after each piece.
    """

    def __init__(self, sink: Sink, progress: Progress | None = None) -> None:
        self._sink, self._progress = sink, progress or (lambda _: None)
        self._position = 0
        self.entries: list[Entry] = []

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._position

    def add(self, name: str, source: Source) -> Entry:
        """Append an entry.

        Raises:
            StateError: A reader takes no more entries.
            StorageError: The source has fewer bytes than it said.
        """
        check_count(len(self.entries) + 1)
        size = source.size
        self._write(_header(name, size))
        offset, digest = self._position, hashlib.sha256()
        for piece in pieces(source, size):
            digest.update(piece)
            self._write(piece)
            self._progress(len(piece))
        if self._position - offset != size:
            raise StorageError(f"{name} became shorter while it was read")
        self._write(bytes(-size % BLOCK))
        entry = Entry(name, size, digest.hexdigest(), offset)
        self.entries.append(entry)
        return entry

    def add_bytes(self, name: str, data: bytes) -> Entry:
        """Append a small entry."""
        return self.add(name, BytesSource(data))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._write(_TRAILER)

    def _write(self, data: bytes | memoryview) -> None:
        if data:
            self._sink.write_at(self._position, data)
            self._position += len(data)


def check_count(entries: int) -> None:
    """Refuse to write more entries than a reader accepts (1.3).

    Raises:
        StateError: The number is above the bound.
    """
    if entries > MAX_ENTRIES:
        raise StateError(
            f"the backup would have {entries} entries, more than {MAX_ENTRIES}",
            hint="each extract is one: remove some that nobody needs",
        )


def scan(archive: Source, progress: Progress | None = None) -> tuple[Entry, ...]:
    """All entries with their digests; reads the whole file once, and trusts no header in it.

    Raises:
        FormatError: A byte is not as clause 1 demands: the file is of another format, damaged or truncated, or holds
            links, names that lead out of the archive, or two entries of one name.
    """
    found: list[Entry] = []
    names: set[str] = set()
    position = 0
    while (block := _read(archive, position, BLOCK)) != bytes(BLOCK):
        name, size = _parse_header(block, first=not found)
        if name in names:
            raise FormatError(f"the backup has two entries {name!r}", hint=_HINT)
        if len(found) == MAX_ENTRIES:
            raise FormatError(f"the backup has more than {MAX_ENTRIES} entries")
        entry = _digested(archive, name, size, position + BLOCK, progress)
        found.append(entry)
        names.add(name)
        position = entry.offset + size + -size % BLOCK
    if _read(archive, position, len(_TRAILER)) != _TRAILER or archive.size != position + len(
        _TRAILER
    ):
        raise FormatError("the backup does not end where its last entry does", hint=_HINT)
    return tuple(found)


def content(archive: Source, entry: Entry, limit: int) -> bytes:
    """The data of a small entry, compared with its digest once more.

    Raises:
        FormatError: The entry is longer than the limit, or its data differs from the scanned digest.
    """
    if entry.size > limit:
        raise FormatError(f"{entry.name} has {entry.size} bytes, more than {limit}", hint=_HINT)
    return b"".join(bytes(piece) for piece in checked(archive, entry))


def checked(archive: Source, entry: Entry) -> Iterator[memoryview]:
    """The data of an entry in pieces; after the last piece its digest is compared with the scanned one.

    Raises:
        FormatError: The file was changed since it was scanned. The caller must discard the pieces that it got.
    """
    # Between `scan` and this call somebody may have written to the file: without the second digest the check would hold
    # for other bytes than the restore uses.
    digest = hashlib.sha256()
    for piece in pieces(Window(archive, entry), entry.size):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != entry.sha256:
        raise FormatError(f"{entry.name} was changed while the backup was read", hint=_HINT)


def pieces(source: Source, size: int) -> Iterator[memoryview]:
    """The bytes of a source from its start on, in pieces of a mebibyte; the next piece overwrites the one before."""
    buffer = memoryview(bytearray(min(_CHUNK, size)))
    position = 0
    while position < size:
        count = source.read_into_at(position, buffer[: min(_CHUNK, size - position)])
        if count == 0:
            return
        yield buffer[:count]
        position += count


def _digested(
    archive: Source, name: str, size: int, offset: int, progress: Progress | None
) -> Entry:
    if offset + size + -size % BLOCK > archive.size:
        raise FormatError(f"the backup ends within {name!r}", hint=_HINT)
    digest = hashlib.sha256()
    done = Entry(name, size, "", offset)
    for piece in pieces(Window(archive, done), size):
        digest.update(piece)
        if progress is not None:
            progress(len(piece))
    # bytes in the padding would be in no digest: two files that differ could pass for the same backup
    if any(_read(archive, offset + size, -size % BLOCK)):
        raise FormatError(f"the padding behind {name!r} is not empty", hint=_HINT)
    return Entry(name, size, digest.hexdigest(), offset)


def _read(archive: Source, offset: int, count: int) -> bytes:
    buffer = bytearray(count)
    if archive.read_into_at(offset, memoryview(buffer)) != count:
        raise FormatError("the backup is cut: it ends too early", hint=_HINT)
    return bytes(buffer)


def _header(name: str, size: int) -> bytes:
    """The one header that an entry of this name and size can have (1.2)."""
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise FormatError(f"not the name of an entry of a backup: {name[:200]!r}")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _parse_header(block: bytes, *, first: bool) -> tuple[str, int]:
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        # tar knows many spellings of one header, and links, devices and modes beside: accept the one that we would
        # write
        same = info.size >= 0 and _header(info.name, info.size) == block
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError, FormatError) as error:
        raise _strange(first=first) from error
    if not same or (first and info.name != MARK):
        raise _strange(first=first)
    return info.name, info.size


def _strange(*, first: bool) -> FormatError:
    if first:
        return FormatError("this is no backup of strongroom", hint="it ends with .tsbak")
    return FormatError("an entry of the backup is no plain file of a safe name", hint=_HINT)
