"""Waits that are bounded by shutting their connection down (R17)."""

import socket
import threading
from contextlib import closing

import pytest

from strongroom.errors import StorageError
from strongroom.repository.cutter import Cutter


def test_a_thread_that_the_system_did_not_give_is_begun_by_the_next_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cutter took itself to have a thread, and no later wait was bounded."""

    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    one, other = socket.socketpair()
    with closing(Cutter()) as cutter, one, other:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(StorageError, match="no thread"):
                cutter.begin(one.fileno, 0.0)
        other.settimeout(60)
        cutter.begin(one.fileno, 0.1)
        assert other.recv(1) == b"", "it was shut down"
