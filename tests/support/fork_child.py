"""What a fork does to be a new command: its environment, folder and descriptors, then the command's script from its start."""

import atexit
import contextlib
import faulthandler
import importlib
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


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
    faulthandler.enable()  # else whoever dies of SIGSEGV says nothing


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
