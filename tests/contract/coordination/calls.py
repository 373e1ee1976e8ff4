"""Calls in threads of their own, links in one mode, sessions that end: what the tests over the ensemble share."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.errors import StrongroomError
from tests.contract.coordination.conftest import Lab
from tests.support.links import Mode


class Running:
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.error: StrongroomError | None = None
        self.took = 0.0
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        start = time.monotonic()
        try:
            work()
        except StrongroomError as error:
            self.error = error
        self.took = time.monotonic() - start

    def ended(self, within_s: float = 60) -> "Running":
        """Wait for its end."""
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "the call hangs"
        return self

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()


def wait_for(condition: Callable[[], object], within_s: float = 30) -> None:
    limit = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit, "it did not become so"
        time.sleep(0.01)


@contextmanager
def all_links(lab: Lab, mode: Mode) -> Iterator[None]:
    """Every way of the product's clients in one mode; in the end whatever connection there was is cut."""
    for link in lab.ensemble.links():
        link.become(mode)
    try:
        yield
    finally:
        for link in lab.ensemble.links():
            link.become(Mode.PASS)
            link.cut()


def expire(lab: Lab, coordinator: ZookeeperCoordinator) -> None:
    """End a session at the server, by the hand of a second connection with the same session."""
    from kazoo.client import KazooClient

    own = coordinator._session._client
    folder = lab.ensemble.folder
    twin = KazooClient(
        f"localhost:{lab.ensemble.servers[0].port}",
        client_id=own.client_id,
        use_ssl=True,
        ca=str(folder / "ca.pem"),
        certfile=str(folder / "client.pem"),
        keyfile=str(folder / "client.pem"),
    )
    twin.start(10)
    twin.stop()
    twin.close()
