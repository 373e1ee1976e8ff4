"""The progress line: on a terminal only, and wiped at the end."""

import contextlib
import fcntl
import io
import itertools
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from typing_extensions import override

from strongroom.cli.terminal.bar import Bar, _clock, width_of


class _Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_anywhere_else() -> None:
    stream = io.StringIO()
    with Bar("encrypting", stream=stream) as line:
        assert line.begin(100) is None
    assert stream.getvalue() == ""


def test_a_terminal_sees_share_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.0, 1.0, 1.05, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    stream = _Terminal()
    with Bar("encrypting", stream=stream) as line:
        advance = line.begin(4 * 1024 * 1024)
        assert advance is not None
        for count in (1024, 1024 * 1024, 1024 * 1024):
            advance(count)
    drawn = stream.getvalue().split("\r")
    assert "encrypting 1.0 KiB of 4.0 MiB" in drawn[1]
    assert "2.0 MiB of 4.0 MiB [#####     ]  50% 1.0 MiB/s, 0:02 left" in drawn[2]
    assert drawn[3] == "\x1b[K"
    assert len(drawn) == 4


def test_an_unknown_total_and_other_units() -> None:
    stream = _Terminal()
    with Bar("rewrapping", unit="file", stream=stream) as line:
        advance = line.begin(None)
        assert advance is not None
        advance(3)
    assert "rewrapping 3 files" in stream.getvalue()
    assert "of" not in stream.getvalue()


def test_a_terminal_that_was_never_drawn_on_is_not_wiped() -> None:
    stream = _Terminal()
    with Bar("x", stream=stream) as line:
        line.begin(1)
    assert stream.getvalue() == ""


TITLES = (
    "verifying",
    "rekey extracts: 売上レポート四半期",
    "encrypt extracts: " + "long " * 30,
    "a\nb\x1b[2J",
)
TOTALS = (None, 1, 4 << 20, 9 << 40)


@pytest.mark.parametrize("columns", [1, 5, 12, 20, 40, 60, 80, 132, 250])
@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("unit", ["bytes", "extract"])
def test_the_line_fits_every_width(
    columns: int, title: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings D1: it had 85 to 103 columns and never asked; on 80 it flooded the screen."""
    monkeypatch.setattr(Bar, "_columns", lambda _: columns)
    for total, share in itertools.product(TOTALS, (0, 0.00001, 0.4, 1, 1.3)):
        stream = _Terminal()
        line = Bar(title, unit=unit, stream=stream)
        advance = line.begin(total)
        assert advance is not None
        line._started -= 100_000
        advance(round((total or 7) * share))
        (drawn,) = stream.getvalue().split("\r")[1:]
        text = drawn.removesuffix("\x1b[K")
        assert text.isprintable()
        assert width_of(text) < max(columns, 2), text


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_what_matters_most_is_told_also_where_there_is_little_room(columns: int) -> None:
    """The share and the time that is left, and what is being done."""
    line = Bar("rekey extracts: default", stream=_Terminal())
    line.begin(4 << 20)
    line._done = 1 << 20
    text = line._line(line._started + 10, columns - 1)
    assert "25%" in text
    assert "0:30 left" in text
    assert "rekey" in text
    assert ("[######" in text) == (columns > 80)


def test_nothing_is_guessed_before_something_is_done() -> None:
    """Findings D2: at zero done, what is left was a constant."""
    line = Bar("x", stream=_Terminal())
    line.begin(1 << 30)
    assert "left" not in line._line(line._started + 3600, 79)
    line._done = 1 << 20
    assert "left" not in line._line(line._started + 0.01, 79)
    assert "left" in line._line(line._started + 3600, 79)


def test_what_was_done_before_says_nothing_of_the_speed() -> None:
    """A job that goes on, or that somebody waits for late."""
    line = Bar("x", stream=_Terminal())
    line.begin(1 << 30, before=1 << 29)
    line._done += 1 << 20
    assert "1.0 MiB/s" in line._line(line._started + 1, 100)


class Screen:
    """What a terminal of a width shows: signs beyond its last column are on the next row."""

    def __init__(self) -> None:
        self.lines: set[int] = set()

    def take(self, text: str, columns: int) -> None:
        for drawn in text.replace("\x1b[K", "").split("\r"):
            self.lines.add(-(-max(width_of(drawn), 1) // columns))


@pytest.mark.parametrize("coding", ["utf-8", "ascii"])
@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_terminal_shows_one_row_also_when_its_window_changes(columns: int, coding: str) -> None:
    """In a pseudo-terminal: the kernel says the width, and another one after a change of the window."""
    script = (
        "import sys, time\n"
        "from strongroom.cli.terminal.bar import Bar\n"
        "with Bar('rekey extracts: 売上レポート四半期 of a site') as bar:\n"
        "    advance = bar.begin(100 << 20)\n"
        "    for number in range(60):\n"
        "        advance(1 << 20); time.sleep(0.03)\n"
        "        if number == 30: sys.stdout.write('half'); sys.stdout.flush(); sys.stdin.readline()\n"
    )
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "PYTHONIOENCODING": coding},
    ) as process:
        os.close(slave)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(4) == b"half"
        before = os.read(master, 1 << 16).decode()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns // 2, 0, 0))
        process.stdin.write(b"\n")
        process.stdin.flush()
        after = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(master, 1 << 16):
                after += piece
        assert process.wait(30) == 0
    os.close(master)
    for text, width in ((before, columns), (after.decode(), columns // 2)):
        screen = Screen()
        screen.take(text, width)
        assert screen.lines == {1}
        assert "%" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 50, "3072.0 TiB"),
    ],
)
def test_sizes_in_words(count: int, text: str) -> None:
    assert Bar("x", stream=io.StringIO())._text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (36_061, "10:01:01")],
)
def test_the_time_that_is_left_is_told_as_a_clock_does(seconds: float, text: str) -> None:
    assert _clock(seconds) == text
