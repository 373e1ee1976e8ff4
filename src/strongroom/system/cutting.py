"""Bounds what waits for a peer by cutting the connection: a limit for each step bounds no peer that sends a byte now and then."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_after(line: socket.socket, limit_s: float) -> Iterator[None]:
    """Shut a connection down if the block takes longer; whoever reads or writes in it then gets an error.

    Args:
        line: The connection.
        limit_s: Seconds.
    """

    def cut() -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
