"""What a fork of the process that collected the tests does (`workers`): it runs those that it is given, and tells.

It is a copy of that process: what the copy would share with it – the file of captured output, the folder of temporary
directories, the terminal – it has anew. It ends without what the other has registered for its own end.
"""

import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

NEXT: Final = "next"
"""The worker asks for the places of more tests, or None; all other messages are not answered."""
BEGINS: Final = "begins"
REPORT: Final = "report"
FINISHED: Final = "finished"
WARNING: Final = "warning"
ENDS: Final = "ends"
BROKEN: Final = "broken"
_INTERRUPTED: Final = 130


class Hooks:
    """What plugins may hear of."""

    @pytest.hookspec
    def pytest_worker_begins(self, config: pytest.Config) -> None:
        """Called in each worker, before its first test."""


def work(session: pytest.Session, name: str, channel: "Connection[Any, Any]") -> NoReturn:
    """Run tests until there are none left, and end this process.

    Args:
        session: The session that has collected them.
        name: The worker's.
        channel: Where it tells, and is told.
    """
    code = 0
    try:
        _settle(session.config, name)
        teller = _Teller(session.config, channel)
        session.config.pluginmanager.register(teller, "worker")
        teller.is_heard = True
        session.config.hook.pytest_worker_begins(config=session.config)
        _run(session, channel)
        channel.send((ENDS, None))
    except KeyboardInterrupt:
        # the terminal and the other process may both have sent it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _take_down(session)
        code = _INTERRUPTED
    except (BrokenPipeError, ConnectionResetError, EOFError):
        # the other process is gone, and nobody hears
        _take_down(session)
        code = 1
    except BaseException:  # noqa: BLE001 the other process raises it
        channel.send((BROKEN, traceback.format_exc()))
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _settle(config: pytest.Config, name: str) -> None:
    """Have nothing in common with other processes that a test would change."""
    plugins = config.pluginmanager
    terminal: Any = config.get_terminal_writer()
    terminal._file = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  until this process ends
    capture: Any = plugins.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"worker{name}"
    factory._basetemp.mkdir(mode=0o700)
    factory._next_number = {}


def _run(session: pytest.Session, channel: "Connection[Any, Any]") -> None:
    given = deque[int](channel.recv())
    while given:
        place = given.popleft()
        if not given:
            # what the next test shares with this one stays: so it must be known before this one ends
            channel.send((NEXT, None))
            given.extend(channel.recv() or ())
        channel.send((BEGINS, place))
        item = session.items[place]
        following = session.items[given[0]] if given else None
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        channel.send((FINISHED, None))
        if session.shouldfail or session.shouldstop:
            break
    _take_down(session)


def _take_down(session: pytest.Session) -> None:
    """Take down the fixtures of the session."""
    session._setupstate.teardown_exact(None)


class _Teller:
    """Sends what this process would tell on a terminal.

    Attributes:
        is_heard: False while pytest hands a new plugin the warnings that were given before, which the other process has.
    """

    is_heard = False

    def __init__(self, config: pytest.Config, channel: "Connection[Any, Any]") -> None:
        self._config = config
        self._channel = channel

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report of a phase."""
        hook = self._config.hook
        content = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._channel.send((REPORT, content))

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: Iterable[Any] | None,
    ) -> None:
        """Send a warning, as a text: its class may be one that the other process has not."""
        if not self.is_heard:
            return
        plain = warnings.WarningMessage(
            str(warning_message.message),
            UserWarning,
            warning_message.filename,
            warning_message.lineno,
        )
        content = {
            "warning_message": plain,
            "when": when,
            "nodeid": nodeid,
            "location": location,
        }
        self._channel.send((WARNING, content))
