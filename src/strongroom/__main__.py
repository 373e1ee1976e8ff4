"""Entry points of the three commands; nothing is imported before the verb is known (F13)."""

import gc
import os
import sys
from collections.abc import MutableMapping

_YOUNG_OBJECTS = 10_000
_FOREIGN = ("PG", "SSLKEYLOGFILE")
"""How variables begin that client libraries read by themselves, and that nothing here may be governed by (findings K4).

libpq's, some of which no parameter of a connection can outweigh (`PGSERVICE`, `PGTZ`); and the file into which every
library of TLS writes the keys of its sessions. Here, before there is a second thread: C's environment has no lock.
"""


def strongroom() -> int:
    """The command `strongroom`."""
    return _main("strongroom")


def tsm() -> int:
    """The command `tsm`."""
    return _main("tsm")


def initialize_tsm() -> int:
    """The command `initialize-tsm`."""
    return _main("initialize-tsm")


def forget_foreign(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Take the variables out that would govern client libraries, and give them.

    The program's children have none of them either, but for the one that `strongroom run` becomes.
    """
    names = [name for name in environment if name.startswith(_FOREIGN)]
    return {name: environment.pop(name) for name in names}


def _main(tool: str) -> int:
    foreign = forget_foreign(os.environ)  # noqa: TID251  what is taken out here governs nothing later
    # imported modules live to the end of the process, so collecting garbage among them costs 2 ms of each command for
    # nothing
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    from strongroom.cli import dispatch
    from strongroom.cli.terminal import streams
    from strongroom.system import process_memory

    process_memory.keep_private()
    streams.occupy()
    try:
        return dispatch.main(tool, sys.argv[1:], foreign)
    finally:
        streams.settle()
        # a collection at the end of the process frees nothing that the end does not free anyway, and takes a tenth of a
        # command's time
        gc.freeze()


if __name__ == "__main__":
    sys.exit(strongroom())
