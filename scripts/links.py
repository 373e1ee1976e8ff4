"""Checks every relative link of the documents: the file is there, and so is the heading that is named.

It never asks the network: addresses outside the repository are not looked at.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def documents() -> list[Path]:
    """All documents of the repository."""
    return sorted(
        [
            *ROOT.glob("*.md"),
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("benchmarks/*.md"),
            *ROOT.glob("tests/**/*.md"),
        ]
    )


def anchors(path: Path) -> set[str]:
    """The names under which a document's headings can be linked to."""
    text = _FENCE.sub("", path.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def broken(path: Path) -> Iterator[str]:
    """The links of one document that lead nowhere."""
    for target in _LINK.findall(_FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            yield f"{path.relative_to(ROOT)}: {target}: there is no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"{path.relative_to(ROOT)}: {target}: there is no such heading"


def main() -> int:
    """Print what is broken; returns the exit code."""
    found = [line for path in documents() for line in broken(path)]
    print("\n".join(found) or f"links of {len(documents())} documents: all lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
