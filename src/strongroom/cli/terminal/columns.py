"""Lists for people and simple scripts: a heading and aligned columns, all on standard output (findings F4)."""

import argparse
import unicodedata
from collections.abc import Sequence

from strongroom.cli.terminal.session import Session

_ON_THE_LAST = {"Mn", "Me", "Cf"}
"""Categories of characters that are drawn on the one before: accents, joiners, marks of direction."""
_JOINER = "\u200d"
_EMOJI_FORM = "\ufe0f"
_GAP = "  "


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every list has."""
    parser.add_argument(
        "--no-header", action="store_true", help="leave the heading out: rows only, for scripts"
    )


def add_option_of_names(parser: argparse.ArgumentParser) -> None:
    """The same for a list of names alone, which has no heading: a shell's `for` takes its lines as they are."""
    parser.add_argument(
        "--no-header", action="store_true", help="as for every list; this one has no heading"
    )


def show(
    session: Session,
    arguments: argparse.Namespace,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Print rows below their heading."""
    widths = [max(width(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    show_heading(session, arguments, heads, widths)
    session.out_lines(line(row, widths) for row in rows)


def show_heading(
    session: Session, arguments: argparse.Namespace, heads: Sequence[str], widths: Sequence[int]
) -> None:
    """Print the heading alone: of rows that come one by one, and are never held as a whole."""
    if not arguments.no_header:
        session.out(line(heads, widths))


def line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A row, each cell of which is padded to the width of its column."""
    padded = (cell + " " * (room - width(cell)) for cell, room in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def width(text: str) -> int:
    """How many columns a terminal gives a text: two for an emoji or a sign of East Asia, none for what is drawn on another."""
    columns, before = 0, ""
    for char in text:
        if char == _EMOJI_FORM and columns and unicodedata.east_asian_width(before) not in "WF":
            columns += 1  # the sign before it is drawn as a picture
        elif unicodedata.category(char) not in _ON_THE_LAST and before != _JOINER:
            columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        before = char
    return columns
