"""The short way of a connection: whose client must read, and that ends when the server ends (ADR 51)."""

from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.doors.http.gate import Gate
from strongroom.doors.http.protocol import BoundedProtocol
from strongroom.doors.vault.protocol import VaultProtocol
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
