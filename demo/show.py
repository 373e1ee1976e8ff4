"""Prints the demo in plain words, and stops it when something is not as promised. Needs neither colours nor a terminal."""

import textwrap
import time

_WIDTH = 100
_WIDEST = 160


class DemoError(Exception):
    """Something that was promised did not happen."""


class Story:
    """The sections, the commands with their answers, and the list of what was proved."""

    def __init__(self) -> None:
        self.proved: list[str] = []
        self._section = 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began

    def section(self, title: str, text: str = "") -> None:
        """Begin a new step."""
        self._section += 1
        print(
            f"\n{'-' * _WIDTH}\n{self._section}. {title}   [{self.seconds:.0f} s]\n{'-' * _WIDTH}"
        )
        if text:
            self.say(text)

    def say(self, text: str) -> None:
        """A paragraph for the reader."""
        print(textwrap.fill(" ".join(text.split()), _WIDTH), flush=True)

    def command(self, line: str) -> None:
        """A command as one would type it."""
        print(f"\n  $ {line}", flush=True)

    def answer(self, text: str, *, limit: int = 40) -> None:
        """What a command printed, indented."""
        lines = [_cut(line.rstrip()) for line in text.splitlines() if line.strip()]
        for line in lines[:limit]:
            print(f"    {line}")
        if len(lines) > limit:
            print(f"    … {len(lines) - limit} more lines")

    def check(self, promise: str, holds: bool, seen: str = "") -> None:
        """Say that a promise was kept, or end the demo."""
        print(
            f"  {'ok   ' if holds else 'WRONG'} {promise}{f' – {seen}' if seen else ''}", flush=True
        )
        if not holds:
            raise DemoError(f"{promise}: {seen}")
        self.proved.append(promise)

    def summary(self, text: str) -> None:
        """The last page."""
        print(f"\n{'=' * _WIDTH}\nSummary\n{'=' * _WIDTH}")
        self.say(text)
        print()
        for promise in self.proved:
            print(f"  ok  {promise}")
        print(f"\n{len(self.proved)} promises checked, all kept, in {self.seconds:.0f} seconds.")


def _cut(line: str) -> str:
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
