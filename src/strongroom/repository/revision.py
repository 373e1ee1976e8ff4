"""The revision of the tables that this program reads and writes, and the revisions as formats that a release knows; pure."""

from typing import Final

REVISION: Final = "0005"


def format_name(revision: str) -> str:
    """The name of the tables of a revision among the formats of an installation (docs/format/nodes.md 8)."""
    return f"repository-{revision}"


def formats() -> tuple[str, ...]:
    """The revisions that this program works with, or brings up to date, by those names."""
    return tuple(format_name(f"{number:04}") for number in range(1, int(REVISION) + 1))
