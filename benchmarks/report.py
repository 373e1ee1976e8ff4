"""What a run found: tables of rows, figures by name, peers that were absent; and how it is printed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Table:
    """Rows of text under a title."""

    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One row."""
        self.rows.append(cells)

    def markdown(self) -> str:
        """As a Markdown table, its columns aligned."""
        cells = [list(self.head), *[list(row) for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]

        def line(row: Sequence[str]) -> str:
            inner = " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            return f"| {inner} |"

        rule = "| " + " | ".join("-" * width for width in widths) + " |"
        body = "\n".join([line(cells[0]), rule, *[line(row) for row in cells[1:]]])
        notes = "".join(f"\n{note}" for note in self.notes)
        return f"### {self.title}\n\n{body}\n" + (notes + "\n" if notes else "")


@dataclass
class Findings:
    """Everything that one run found.

    Attributes:
        tables: For people.
        figures: By name; the goals are judged by them.
        absent: Who could not be measured, and why.
    """

    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def table(self, title: str, *head: str) -> Table:
        """A new table."""
        made = Table(title, head)
        self.tables.append(made)
        return made

    def save(self, path: Path, more: dict[str, object]) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps({**more, **asdict(self)}, indent=2, ensure_ascii=False) + "\n")


def ratio(value: float) -> str:
    """A ratio with two digits that count."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def mebibytes(kib: int) -> str:
    """Memory."""
    return f"{kib / 1024:.0f} MiB" if kib else "–"
