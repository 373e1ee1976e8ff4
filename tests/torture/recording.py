"""What a mutating call of a stopped thread is about to do, with its data: enough to make it again on a model of a disk.

`tracing.py` stops the thread; the words are read from its registers, its memory and its descriptors, as lines of JSON.
"""

import base64
import ctypes
import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

Registers: TypeAlias = "ctypes.Array[ctypes.c_ulonglong]"
_R10, _R8, _RDX, _RSI, _RDI = 7, 9, 12, 13, 14
_AT_FDCWD = -100
_AT_REMOVEDIR = 0x200
_LONGEST_PATH = 4096
_OWN_DESCRIPTOR = "/proc/self/fd/"
_BY_DESCRIPTOR = (
    *("write", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range", "ftruncate"),
    *("fallocate", "fsync", "fdatasync", "syncfs", "sync_file_range", "fchmod"),
)


class Stopped:
    """A thread that is stopped at the entry of a call."""

    def __init__(self, thread: int, registers: Registers) -> None:
        self._process = Path(f"/proc/{thread}")
        self._registers = registers

    def described(self, call: str) -> dict[str, Any]:
        """The call with all that it says."""
        told: dict[str, Any] = {"call": call}
        if call in _BY_DESCRIPTOR:
            told |= self._of_descriptor(self._word(_RDI))
        if call == "write":
            told |= {"at": self._position(), "data": self._bytes(_RSI, self._word(_RDX))}
        elif call == "pwrite64":
            told |= {"at": self._word(_R10), "data": self._bytes(_RSI, self._word(_RDX))}
        elif call in {"pwritev", "pwritev2"}:
            told |= {"at": self._word(_R10), "data": self._vector()}
        elif call == "ftruncate":
            told["size"] = self._word(_RSI)
        elif call == "fallocate":
            told |= {"flags": self._word(_RSI), "size": self._word(_RDX) + self._word(_R10)}
        else:
            told |= self._of_names(call)
        return told

    def _of_names(self, call: str) -> dict[str, Any]:  # noqa: PLR0911  one line for each kind of call
        if call == "openat":
            return {"path": self._path(_RSI, _RDI), "flags": self._word(_RDX)}
        if call in {"mkdir", "rmdir", "unlink"}:
            return {"path": self._path(_RDI)}
        if call == "mkdirat":
            return {"call": "mkdir", "path": self._path(_RSI, _RDI)}
        if call == "unlinkat":
            name = "rmdir" if self._word(_RDX) & _AT_REMOVEDIR else "unlink"
            return {"call": name, "path": self._path(_RSI, _RDI)}
        if call in {"rename", "link"}:
            return {**self._source(self._path(_RDI)), "to": self._path(_RSI), "flags": 0}
        if call in {"renameat", "renameat2", "linkat"}:
            flags = self._word(_R8) if call == "renameat2" else 0
            source = self._source(self._path(_RSI, _RDI))
            name = "link" if call == "linkat" else "rename"
            return {"call": name, **source, "to": self._path(_R10, _RDX), "flags": flags}
        if call == "symlink":
            return {"target": self._text(_RDI), "path": self._path(_RSI)}
        if call == "symlinkat":
            return {"call": "symlink", "target": self._text(_RDI), "path": self._path(_RDX, _RSI)}
        return {}

    # ---- what the thread has ---------------------------------------------------------------------

    def _word(self, register: int) -> int:
        return int(self._registers[register])

    def _bytes(self, register: int, count: int) -> str:
        return base64.b64encode(self._read(self._word(register), count)).decode()

    def _vector(self) -> str:
        raw = self._read(self._word(_RSI), 16 * self._word(_RDX))
        parts = (self._read(at, count) for at, count in struct.iter_unpack("QQ", raw))
        return base64.b64encode(b"".join(parts)).decode()

    def _read(self, at: int, count: int) -> bytes:
        with (self._process / "mem").open("rb", buffering=0) as memory:
            memory.seek(at)
            return memory.read(count)

    def _text(self, register: int) -> str:
        return os.fsdecode(self._read(self._word(register), _LONGEST_PATH).partition(b"\0")[0])

    def _path(self, register: int, above: int | None = None) -> str:
        text = self._text(register)
        folder = _AT_FDCWD if above is None else ctypes.c_int(self._word(above)).value
        start = self._process / ("cwd" if folder == _AT_FDCWD else f"fd/{folder}")
        return text if text.startswith("/") else os.path.normpath(start.readlink() / text)

    def _source(self, path: str) -> dict[str, Any]:
        """The first of two names, which may be that of a descriptor: so a nameless file gets a name."""
        if path.startswith(_OWN_DESCRIPTOR):
            return self._of_descriptor(int(path.removeprefix(_OWN_DESCRIPTOR)))
        return {"path": path}

    def _of_descriptor(self, number: int) -> dict[str, Any]:
        link = self._process / f"fd/{number}"
        with suppress(OSError):
            found = link.stat()
            return {"path": str(link.readlink()), "inode": found.st_ino}
        return {"path": "", "inode": 0}

    def _position(self) -> int:
        """Where a write goes: the end of the file, if the descriptor was opened to append."""
        number = self._word(_RDI)
        with suppress(OSError):
            text = (self._process / f"fdinfo/{number}").read_text()
            told = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            if int(told["flags"], 8) & os.O_APPEND:
                return -1
            return int(told["pos"])
        return 0


def line(thread: int, call: str, registers: Registers) -> str:
    """One call as a line of JSON."""
    return json.dumps(Stopped(thread, registers).described(call))
