"""Wraps the documents' prose at 120 characters, or says where it is wider: `python -m scripts.prose [--write]`.

Paragraphs and items of lists are wrapped where a line of them is too wide; headings, tables, code and comments stay as they are.
A line of one word that is longer than the line, such as a link, stands alone.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator

from scripts import links

WIDTH = 120
_ITEM = re.compile(r"^(\s*)([-*]|\d+\.)(\s+)")
_KEPT = re.compile(r"^\s*(#|\||<!--|>|$)")
_FENCE = re.compile(r"^\s*```")


def _wrapped(lines: list[str]) -> list[str]:
    """One paragraph, or one item of a list."""
    item = _ITEM.match(lines[0])
    indent = re.match(r"\s*", lines[0])
    first = item.group(0) if item else indent.group(0) if indent else ""
    rest = " " * len(first)
    text = " ".join([lines[0][len(first) :].strip(), *(line.strip() for line in lines[1:])])
    made = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    # a dash or a number that came to the beginning of a line would be an item
    return lines if any(_ITEM.match(line) or _KEPT.match(line) for line in made[1:]) else made


def _blocks(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """The text in pieces, and whether each is prose."""
    block: list[str] = []
    in_code = False
    for line in lines:
        fence = _FENCE.match(line) is not None
        if in_code or fence or _KEPT.match(line):
            if block:
                yield True, block
            block = []
            yield False, [line]
            in_code = in_code != fence
        elif block and _ITEM.match(line):
            yield True, block
            block = [line]
        else:
            block.append(line)
    if block:
        yield True, block


def wrapped(text: str) -> str:
    """A document whose prose is wrapped where a line of it is too wide; other paragraphs keep their breaks."""
    made: list[str] = []
    for is_prose, block in _blocks(text.splitlines()):
        too_wide = is_prose and any(len(line) > WIDTH for line in block)
        made += _wrapped(block) if too_wide else block
    return "\n".join(made) + "\n"


def wide(text: str) -> list[int]:
    """The numbers of the lines of prose that are wider, although they could be broken."""
    return [
        number
        for number, (line, other) in enumerate(
            zip(text.splitlines(), _prose_only(text), strict=True), 1
        )
        if other and len(line) > WIDTH and _breakable(line)
    ]


def _prose_only(text: str) -> list[bool]:
    return [is_prose for is_prose, block in _blocks(text.splitlines()) for _ in block]


def _breakable(line: str) -> bool:
    return " " in line.strip()[:WIDTH].lstrip("-*0123456789. ")


def main() -> int:
    """Wrap, or say what is too wide; returns the exit code."""
    parser = argparse.ArgumentParser(description="wraps the documents' prose", allow_abbrev=False)
    parser.add_argument("--write", action="store_true", help="wrap what is too wide")
    arguments = parser.parse_args()
    found = False
    for path in links.documents():
        if links.ROOT / "docs" / "reference" in path.parents:
            continue  # written by scripts.reference
        text = path.read_text()
        if arguments.write:
            path.write_text(wrapped(text))
        for number in wide(path.read_text()):
            found = True
            print(f"{path.relative_to(links.ROOT)}:{number}: wider than {WIDTH} characters")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
