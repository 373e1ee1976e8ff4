"""Watches by level: what counts is how an entry differs from what was told last, not that something was said to happen.

A watch of ZooKeeper only wakes the thread here, which looks. It is lost with its connection, and may come late; so the
thread looks by itself, too. The work of a notice is done in this thread: kazoo has a single one for all of its watches.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.session import Session
from strongroom.errors import CoordinationError, StrongroomError

_log = logging.getLogger(__name__)
_SOON_S = 0.5

T = TypeVar("T")
Look = Callable[[], T | None]
Notice = Callable[[T | None], None]
Failed = Callable[[CoordinationError], None]


class Watch:
    """A thread that tells each change of one entry."""

    def __init__(self, session: Session, path: str, poll_s: float) -> None:
        """Keep the entry; nothing is watched before `start`.

        Args:
            session: The session.
            path: The node of the entry.
            poll_s: Seconds after which the thread looks by itself.
        """
        self._session = session
        self._path = path
        self._poll_s = poll_s
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, look: Look[T], notice: Notice[T], failed: Failed = lambda _: None) -> None:
        """Begin with the present value, which is not told.

        Args:
            look: Returns the present value.
            notice: Is told each other value.
            failed: Is told each time that no server answered.

        Raises:
            CoordinationError: No server answers in time.
        """
        seen = look()
        self._thread = threading.Thread(
            target=self._follow,
            args=(look, notice, failed, seen),
            name=f"watch {self._path}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a notice that is under way ends first, unless it is the one that stops."""
        self._stopped.set()
        self._woken.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _follow(self, look: Look[T], notice: Notice[T], failed: Failed, seen: T | None) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            armed = False
            try:
                requests.watch(self._session, self._path, self._wake)
                armed = True
                present = look()
                if present != seen and not self._stopped.is_set():
                    seen = present
                    self._tell(notice, present)
            except CoordinationError as error:
                # most watches say nothing: the next call that needs the ensemble tells of it
                failed(error)
            self._woken.wait(self._poll_s if armed else _SOON_S)

    @staticmethod
    def _tell(notice: Notice[T], present: T | None) -> None:
        try:
            notice(present)
        except StrongroomError as error:
            _log.warning("a change was noticed, and could not be followed: %s", error.message)

    def _wake(self, _event: object) -> None:
        self._woken.set()
