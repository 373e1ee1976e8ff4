"""A progress line on a terminal's standard error; silent anywhere else.

It asks the terminal's width each time that it draws, so that it fits also when the window has changed, and leaves out
what has no room. Plain, since rich takes 70 ms to import.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Final, Self, TextIO

from strongroom.cli.terminal import streams
from strongroom.system.plural import counted, sized

_REDRAW_S: Final = 0.1
_GUESS_AFTER_S: Final = 1.0
"""The remaining time is estimated only after this time, when the speed is known."""
_WIDTHS: Final = (24, 10)
"""The widths of the bar itself, from which the widest that fits is taken."""
_COLUMNS: Final = 80
"""The width that is assumed for a terminal that does not report its width."""
_SHORTEST_TITLE: Final = 8
_STDERR: Final = 2


class Bar:
    """A line with a progress bar, redrawn at most ten times a second and wiped at the end.

    Args:
        title: The name of the work.
        unit: `bytes`, or the name of the counted things in the singular: `file`.
        stream: The stream to draw on, if it is a terminal; by default standard error.
    """

    def __init__(self, title: str, *, unit: str = "bytes", stream: TextIO | None = None) -> None:
        self._title, self._unit = title, unit
        self._stream = stream
        self._shown = False
        self._total: int | None = None
        self._done = self._before = 0
        self._drawn_at = 0.0
        self._started = time.monotonic()

    def begin(self, total: int | None, before: int = 0) -> Callable[[int], None] | None:
        """The work begins, with so much to do if that is known; gives whom to tell.

        Args:
            total: How much there is to do.
            before: How much of it was done before: it says nothing of the speed.
        """
        if not (self._stream.isatty() if self._stream else streams.message_terminal()):
            return None
        self._total, self._done, self._before = total, before, before
        self._started = time.monotonic()
        return self._advance

    def _advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._drawn_at >= _REDRAW_S:
            self._drawn_at, self._shown = now, True
            self._draw("\r" + self._line(now, self._columns() - 1) + "\x1b[K")

    def _draw(self, text: str) -> None:
        if self._stream is None:
            streams.raw_note(text)
        else:
            self._stream.write(text)
            self._stream.flush()

    def _columns(self) -> int:
        try:
            handle = _STDERR if self._stream is None else self._stream.fileno()
            return os.get_terminal_size(handle).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS

    def _line(self, now: float, columns: int) -> str:
        """The fullest form that fits; the last column stays free, since a terminal may wrap there."""
        title, dots = "".join(sign if sign.isprintable() else "?" for sign in self._title), "…"
        if self._stream is None and not streams.message_can_say(title + dots):
            # escapes of signs that the terminal does not know would be wider than what was measured
            title, dots = title.encode("ascii", "replace").decode(), "..."
        rest = ""
        for rest in self._forms(now):
            if width_of(title) + 1 + len(rest) <= columns:
                return f"{title} {rest}"
            room = columns - 1 - len(rest)
            if room >= _SHORTEST_TITLE:
                short = _cut(title, room - len(dots))
                if len(rest) <= columns // 2:
                    return f"{short}{dots} {rest}"
        return rest[: max(columns, 0)]

    def _forms(self, now: float) -> Iterator[str]:
        """The texts behind the title, from the fullest to the shortest."""
        passed = now - self._started
        speed = (self._done - self._before) / max(passed, 0.001)
        told = self._text(self._done)
        pace = f"{self._text(round(speed))}/s"
        if not self._total:
            yield f"{told} {pace}"
            yield told
            return
        share = min(self._done / self._total, 1.0)
        of, percent = f"{told} of {self._text(self._total)}", f"{share:4.0%}"
        left = ""
        if speed > 0 and passed >= _GUESS_AFTER_S:
            left = f", {_clock(max(self._total - self._done, 0) / speed)} left"
        for width in _WIDTHS:
            yield f"{of} [{'#' * round(share * width):<{width}}] {percent} {pace}{left}"
        yield f"{of} {percent} {pace}{left}"
        yield f"{of} {percent}{left}"
        yield f"{percent}{left}".strip()
        yield percent.strip()

    def _text(self, count: int) -> str:
        if self._unit != "bytes":
            return counted(count, self._unit)
        return sized(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._draw("\r\x1b[K")


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide signs, none for those that combine."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def _cut(text: str, columns: int) -> str:
    while text and width_of(text) > columns:
        text = text[:-1]
    return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
