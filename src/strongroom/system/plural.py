"""Numbers with their nouns, and sizes, as parts of sentences that people read."""

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


def counted(number: int, thing: str) -> str:
    """`1 MEK`, `2 MEKs`: a number with its noun, whose plural ends with s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def sized(count: int) -> str:
    """`17 B`, `1.2 GiB`: a number of bytes for people, rounded."""
    if count < _STEP:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS[1:]:
        value /= _STEP
        shown = f"{value:.1f}"
        # compared after rounding: 1023.99 KiB would be shown as 1024.0 KiB instead of 1.0 MiB
        if float(shown) < _STEP:
            return f"{shown} {unit}"
    return f"{value:.1f} {_UNITS[-1]}"
