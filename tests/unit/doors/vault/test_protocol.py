"""The short way of a connection: whose client must read, and that ends when the server ends (ADR 51)."""

from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.doors.http.gate import Gate
from strongroom.doors.http.protocol import BoundedProtocol
from strongroom.doors.vault.plain import Heads
from strongroom.doors.vault.protocol import VaultProtocol
from strongroom.doors.vault.wire import Answer
from tests.support.vault_edges import request

WHOLE = request("transit/encrypt/k", {"plaintext": ""}, "hvs.a")


class Connection:
    """A protocol in the middle of its life, and what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.protocol: Any = object.__new__(VaultProtocol)
        self.flow = SimpleNamespace(write_paused=False, resume_reading=lambda: None)
        known = {
            "_batches": SimpleNamespace(
                has_thread=lambda: True, put=lambda _: self.did.append("put")
            ),
            "_heads": Heads(),
            "_gate": Gate(),
            "_inside": None,
            "transport": SimpleNamespace(is_closing=lambda: False),
            "flow": self.flow,
            "timeout_keep_alive_task": None,
        }
        for name, value in known.items():
            setattr(self.protocol, name, value)
        for name in ("data_received", "shutdown"):
            monkeypatch.setattr(BoundedProtocol, name, self._noting(name))

    def _noting(self, name: str) -> Any:
        return lambda *_: self.did.append(name)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    return Connection(monkeypatch)


def test_a_client_that_does_not_read_has_no_short_way(connection: Connection) -> None:
    """Each of its requests was answered into a buffer that grew without a bound."""
    connection.flow.write_paused = True
    connection.protocol.data_received(WHOLE)
    assert connection.did == ["data_received"]


@pytest.mark.parametrize("is_stopping", [False, True])
def test_a_call_that_goes_to_the_parser_after_all_ends_with_the_server(
    connection: Connection, is_stopping: bool
) -> None:
    """The server waited for a connection that nobody had told of its end."""
    connection.protocol.data_received(WHOLE)
    if is_stopping:
        connection.protocol.shutdown()
    assert connection.did == ["put"], "an answer that is under way is sent first"
    connection.protocol._answer(WHOLE, None)
    assert connection.did == ["put", "data_received", *["shutdown"] * is_stopping]


def test_a_client_that_reads_has_it(connection: Connection) -> None:
    connection.protocol.data_received(WHOLE)
    assert connection.did == ["put"]


class Clockwork:
    """A loop whose time a test sets, and whose timers it fires."""

    def __init__(self) -> None:
        self.now, self.timers = 0.0, list[tuple[float, Any]]()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, work: Any) -> object:
        timer = self.now + seconds, work
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def go_to(self, moment: float) -> None:
        self.now = moment
        for at, work in [one for one in self.timers if one[0] <= moment]:
            self.timers.remove((at, work))
            work()


@pytest.fixture
def idle(connection: Connection) -> tuple[Connection, Clockwork]:
    loop, protocol = Clockwork(), connection.protocol
    protocol.loop, protocol.timeout_keep_alive, protocol.scheme = loop, 75.0, "http"
    protocol.server_state = SimpleNamespace(default_headers=[], total_requests=0)
    protocol.transport.write = lambda _: connection.did.append("write")
    protocol.timeout_keep_alive_handler = lambda: connection.did.append("close")
    return connection, loop


def _call(connection: Connection) -> None:
    connection.protocol.data_received(WHOLE)
    connection.protocol._answer(WHOLE, Answer({"a": 1}))


def test_one_timer_gives_up_a_client_that_asks_no_more(idle: tuple[Connection, Clockwork]) -> None:
    connection, loop = idle
    for moment in (0.0, 10.0, 60.0):
        loop.go_to(moment)
        _call(connection)
        assert len(loop.timers) == 1
    loop.go_to(80.0)  # 75 seconds after the first answer, and 20 after the last
    assert "close" not in connection.did
    loop.go_to(134.0)
    assert "close" not in connection.did
    loop.go_to(136.0)
    assert connection.did[-1] == "close"
    assert not loop.timers


def test_a_client_whose_call_is_under_way_is_not_given_up(
    idle: tuple[Connection, Clockwork],
) -> None:
    connection, loop = idle
    _call(connection)
    loop.go_to(70.0)
    connection.protocol.data_received(WHOLE)
    loop.go_to(200.0)
    assert connection.did[-1] == "put"
    connection.protocol._answer(WHOLE, Answer({"a": 1}))
    loop.go_to(276.0)
    assert connection.did[-2:] == ["write", "close"]


def test_a_client_that_is_gone_leaves_no_timer(
    idle: tuple[Connection, Clockwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, loop = idle
    _call(connection)
    monkeypatch.setattr(BoundedProtocol, "connection_lost", lambda *_: None)
    connection.protocol.connection_lost(None)
    assert not loop.timers
