"""The progress line: on a terminal only, and wiped at the end."""

import io

import pytest
from typing_extensions import override

from strongroom.cli.bar import Bar, _clock


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
    moments = iter([0.0, 1.0, 1.05, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    stream = _Terminal()
    with Bar("encrypting", stream=stream) as line:
        advance = line.begin(4 * 1024 * 1024)
        assert advance is not None
        for count in (1024, 1024 * 1024, 1024 * 1024):
            advance(count)
    drawn = stream.getvalue().split("\r")
    assert "encrypting 1.0 KiB of 4.0 MiB" in drawn[1]
    assert "2.0 MiB of 4.0 MiB [############            ]  50% 1.0 MiB/s, 0:02 left" in drawn[2]
    assert drawn[3] == "\x1b[K"
    assert len(drawn) == 4


def test_an_unknown_total_and_other_units() -> None:
    stream = _Terminal()
    with Bar("rewrapping", unit="files", stream=stream) as line:
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
