"""A plugin of pytest for `make quick`: after a moment only the first file's tests begin, and what was left out is said."""

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Lets no test begin after a moment, those of the first file excepted.

    Args:
        until: The moment, on the machine's monotonic clock, in seconds.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._first: Path | None = None
        self._left: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Pass over a test whose time does not come any more."""
        self._first = self._first or item.path
        if time.monotonic() < self._until or item.path == self._first:
            return None
        self._left.append(item)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests were left out, and of which files the first ones are."""
        if self._left:
            files = list(dict.fromkeys(item.path.name for item in self._left))
            terminalreporter.line(
                f"time is up: {len(self._left)} tests of {len(files)} files were left out, "
                f"from {files[0]} on; `make check` runs them"
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the moment."""
    parser.addoption("--until", type=float, required=True, help="monotonic seconds")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the clock."""
    config.pluginmanager.register(Clock(config.option.until), "quick clock")
