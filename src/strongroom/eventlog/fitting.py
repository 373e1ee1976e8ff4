"""Fits texts and lists into the line of an event: a long list becomes several texts, and a cut text ends with `…` (B3)."""

import json
from collections.abc import Iterable

MAX_TEXT_BYTES = 1_500
"""Of a text, as JSON: eight of them and an actor fit into a line."""
SHORT = MAX_TEXT_BYTES // 12
"""Characters of a text that fits, whatever they are."""
MAX_LIST_BYTES = 8_192
_CUT = "…"


def text(value: str, limit: int = MAX_TEXT_BYTES) -> str:
    """The text; one that is too long is cut, and ends with `…`.

    Args:
        value: Any text.
        limit: How many bytes the text may take as JSON, where a character takes one to twelve.
    """
    # most texts are short: no character takes more than twelve
    if len(value) * 12 <= limit or _size(value) <= limit:
        return value
    room, end = limit - _size(_CUT), 0
    for character in value:
        room -= _size(character)
        if room < 0:
            break
        end += 1
    return value[:end] + _CUT


def texts(names: Iterable[str]) -> tuple[str, ...]:
    """All names with blanks between, as one text or, where they are many, as several; never cut within a name.

    A single name that fits into no line is cut as any text is.
    """
    found: list[list[str]] = [[]]
    room = MAX_LIST_BYTES
    for name in names:
        fitting = text(name, MAX_LIST_BYTES)
        size = _size(fitting) + 1
        if found[-1] and size > room:
            found.append([])
            room = MAX_LIST_BYTES
        found[-1].append(fitting)
        room -= size
    return tuple(" ".join(one) for one in found)


def _size(value: str) -> int:
    return len(json.dumps(value)) - 2
