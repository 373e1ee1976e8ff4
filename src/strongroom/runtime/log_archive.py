"""An archive of the service logs to send to support; every text in it is masked once more."""

import io
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.filestore.blockfile import NewFile
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk
from strongroom.system.compat import override
from strongroom.system.redaction import redact

if TYPE_CHECKING:
    from typing_extensions import Buffer


def logs(paths: DataPaths) -> Iterator[tuple[str, str]]:
    """The service logs of a node, rotated ones too: name in the archive and text."""
    for path in sorted(paths.logs.iterdir()) if paths.logs.is_dir() else ():
        if stat.S_ISREG(path.lstat().st_mode):
            yield f"logs/{path.name}", path.read_text(errors="replace")


def write(path: Path, entries: Iterable[tuple[str, str]]) -> int:
    """Write an archive of texts, mode 0600, whole or not at all; returns how many are in it.

    Raises:
        UsageError: The name belongs to something that is no file.
        StorageError: The archive cannot be written, or a log cannot be read.
    """
    count = 0
    try:
        with NewFile(path, replace=True) as file:
            with zipfile.ZipFile(_Appending(file), "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in entries:
                    archive.writestr(name, redact(text))
                    count += 1
            file.commit()
    except OSError as error:
        raise disk.problem(f"cannot write {path}", error) from error
    return count


class _Appending(io.RawIOBase):
    """A new file that is written from front to back, as a stream for the archive writer."""

    def __init__(self, file: NewFile) -> None:
        self._file, self._end = file, 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: "Buffer", /) -> int:
        view = memoryview(data)
        self._file.write_at(self._end, view)
        self._end += len(view)
        return len(view)
