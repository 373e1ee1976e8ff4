"""Entry points of the three commands; nothing is imported before the verb is known (F13)."""

import gc
import sys


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
    from strongroom.cli import dispatch

    try:
        return dispatch.main(tool, sys.argv[1:])
    finally:
        # what the interpreter collects at its end is thrown away anyhow: a tenth of a command's time
        gc.freeze()


if __name__ == "__main__":
    sys.exit(strongroom())
