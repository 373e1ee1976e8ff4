"""Bytes in lists and sentences: in KiB, MiB and GiB for people, who compare; exactly by `--bytes` (findings F4)."""

import argparse

from strongroom.system.plural import counted, sized


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--bytes`, for a command that tells how large something is."""
    parser.add_argument(
        "--bytes", action="store_true", help="tell sizes as exact numbers of bytes, not in KiB, MiB"
    )


def heading(arguments: argparse.Namespace) -> str:
    """The heading of a column of sizes."""
    return "BYTES" if arguments.bytes else "SIZE"


def cell(arguments: argparse.Namespace, count: int) -> str:
    """A size in such a column."""
    return str(count) if arguments.bytes else sized(count)


def phrase(arguments: argparse.Namespace, count: int) -> str:
    """A size in a sentence."""
    return counted(count, "byte") if arguments.bytes else sized(count)
