"""Lists for people: aligned columns of text."""

from collections.abc import Sequence

from strongroom.cli.session import Session


def show(session: Session, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads; the heads go to stderr, so that scripts read rows only."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    session.note(_line(heads, widths))
    for row in rows:
        session.out(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
