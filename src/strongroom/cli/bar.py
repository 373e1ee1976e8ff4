"""A progress line on a terminal's standard error; silent anywhere else.

Plain, since rich takes 70 ms to import.
"""

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

_REDRAW_S = 0.1
_WIDTH = 24
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


class Bar:
    """One line, redrawn at most ten times a second and wiped at the end.

    Args:
        title: What is being done.
        unit: `bytes`, or the name of what is counted.
        stream: Where it is drawn if that is a terminal.
    """

    def __init__(self, title: str, *, unit: str = "bytes", stream: TextIO | None = None) -> None:
        self._title, self._unit = title, unit
        self._stream = stream or sys.stderr
        self._shown = False
        self._total: int | None = None
        self._done, self._drawn_at = 0, 0.0
        self._started = time.monotonic()

    def begin(self, total: int | None) -> Callable[[int], None] | None:
        """The work begins, with so much to do if that is known; gives whom to tell."""
        if not self._stream.isatty():
            return None
        self._total = total
        return self._advance

    def _advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._drawn_at >= _REDRAW_S:
            self._drawn_at, self._shown = now, True
            self._stream.write("\r" + self._line(now) + "\x1b[K")
            self._stream.flush()

    def _line(self, now: float) -> str:
        speed = self._done / max(now - self._started, 0.001)
        left = ""
        done = f"{self._title} {self._text(self._done)}"
        if self._total:
            share = min(self._done / self._total, 1.0)
            filled = "#" * round(share * _WIDTH)
            done += f" of {self._text(self._total)} [{filled:<{_WIDTH}}] {share:4.0%}"
            left = f", {_clock(max(self._total - self._done, 0) / max(speed, 0.001))} left"
        return f"{done} {self._text(round(speed))}/s{left}"

    def _text(self, count: int) -> str:
        if self._unit != "bytes":
            return f"{count} {self._unit}"
        value = float(count)
        for unit in _UNITS[:-1]:
            if value < _STEP:
                return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
            value /= _STEP
        return f"{value:.1f} {_UNITS[-1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
