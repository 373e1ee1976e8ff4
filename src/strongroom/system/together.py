"""Asks several at once, and waits for none of them longer than a limit."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


def within(limit_s: float, calls: Mapping[str, Callable[[], T]]) -> dict[str, T | None]:
    """The results of calls that are under way together; None for a call that has not ended in time.

    Such a call goes on in its thread, which does not keep the process alive.

    Args:
        limit_s: Seconds that all of them together may take.
        calls: The calls by names, which their threads get as well.

    Raises:
        BaseException: The error of a call that raised one.
    """
    end = time.monotonic() + limit_s
    works = {name: _Work(name, call) for name, call in calls.items()}
    return {name: work.result(end) for name, work in works.items()}


class _Work(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def result(self, end: float) -> T | None:
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            return None
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001  raised by whoever waits
            self._error = error
