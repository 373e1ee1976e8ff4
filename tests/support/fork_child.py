"""What a fork does to be a new command: its environment, folder and descriptors, then the command's script from its start."""

import atexit
import contextlib
import ctypes
import faulthandler
import importlib
import json
import mmap
import os
import runpy
import struct
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

# prctl(2): PR_SET_MM with PR_SET_MM_MAP, which asks for no right; the fields of proc_pid_stat(5), counted from the state
_SET_MM, _MAP = 35, 14
_CODE, _DATA, _HEAP, _STACK = slice(23, 25), slice(42, 44), 44, 25
_NO_FILE = 0xFFFF_FFFF
#: An interpreter reads it at its start; a fork does it again.
WARNINGS = "PYTHONWARNINGS"
_shown: list[mmap.mmap] = []
"""The pages that the kernel reads for `/proc/PID/cmdline` and `environ`."""


def load(names: list[str]) -> None:
    """Import the modules."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 made up by its library: the command will do so again
            continue


def settle(environment: Mapping[str, str], folder: str, descriptors: Mapping[int, int]) -> None:
    """Take another environment, working directory, and for each key of `descriptors` the descriptor that is its value."""
    for theirs, ours in descriptors.items():
        os.dup2(ours, theirs)
        os.close(ours)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if environment.get(WARNINGS):
        sys.warnoptions[:] = environment[WARNINGS].split(",")
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    faulthandler.enable()  # else whoever dies of SIGSEGV says nothing


def show(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Have the kernel show these words and variables of this process, as of one that was started with them.

    Returns:
        Whether it does; a kernel without CONFIG_CHECKPOINT_RESTORE goes on to show those of the server.
    """
    line = b"".join(os.fsencode(word) + b"\0" for word in words)
    variables = b"".join(os.fsencode(f"{name}={it}") + b"\0" for name, it in environment.items())
    pages = mmap.mmap(
        -1, len(line) + len(variables) + 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )
    pages.write(line + variables)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    middle, end = begin + len(line), begin + len(line) + len(variables)
    library = ctypes.CDLL(None)
    library.sbrk.restype = ctypes.c_void_p
    told = Path("/proc/self/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    places = [*told[_CODE], *told[_DATA], told[_HEAP], library.sbrk(0), told[_STACK]]
    asked = struct.pack("=12Q2I", *map(int, places), begin, middle, middle, end, 0, 0, _NO_FILE)
    given = ctypes.create_string_buffer(asked, len(asked))
    _shown.append(pages)
    where, size = ctypes.c_void_p(ctypes.addressof(given)), ctypes.c_ulong(len(asked))
    refused: int = library.prctl(_SET_MM, ctypes.c_ulong(_MAP), where, size, ctypes.c_ulong(0))
    return not refused


def report_modules_at_the_end(descriptor: int) -> None:
    """Let the process write down what it has imported when it ends."""

    def report() -> None:
        names = [name for name in list(sys.modules) if name != "__main__"]
        with contextlib.suppress(OSError), os.fdopen(descriptor, "w") as file:
            json.dump(names, file)

    atexit.register(report)


def run(words: Sequence[str]) -> None:
    """What the interpreter does with this command line: a script by its path, or `-m` and a module."""
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def run_and_end(words: Sequence[str]) -> None:
    """Run a command and end the process as the interpreter does, but for taking its modules apart, for which a fork has to
    copy all the memory that it shares with the server; what ends otherwise than by `sys.exit` ends as ever.
    """
    try:
        run(words)
        code = 0
    except SystemExit as exit_:
        if not isinstance(exit_.code, int | None):
            raise
        code = exit_.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # the interpreter says this better
    os._exit(code & 0xFF)
