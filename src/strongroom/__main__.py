"""Entry points of the three commands; nothing is imported before the verb is known (F13)."""

import gc
import sys

_YOUNG_OBJECTS = 10_000


def strongroom() -> int:
    """The command `strongroom`."""
    return _main("strongroom")


def tsm() -> int:
    """The command `tsm`."""
    return _main("tsm")


def initialize_tsm() -> int:
    """The command `initialize-tsm`."""
    return _main("initialize-tsm")


def _main(tool: str) -> int:
    # what a start imports lives to the end: looking at it for garbage costs 2 ms of each command
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    from strongroom.cli import dispatch

    try:
        return dispatch.main(tool, sys.argv[1:])
    finally:
        # what the interpreter collects at its end is thrown away anyhow: a tenth of a command's time
        gc.freeze()


if __name__ == "__main__":
    sys.exit(strongroom())
