"""Why nothing is reached at an address: an unknown name, a refusal and silence are told apart."""

import socket

import pytest

from strongroom.system import reach


def test_a_port_that_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert reach.problem(address) == ""
        assert reach.none_reached(["nowhere.invalid:1", address]) == ()
    assert reach.problem(address) == "Connection refused"
    assert reach.none_reached([address]) == (f"{address}: Connection refused",)
    assert reach.none_reached([]) == ()


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (socket.gaierror(-2, "unknown"), "the name is not known here"),
        (TimeoutError(), "no answer within 5 s"),
        (OSError(113, "No route to host"), "No route to host"),
        (OverflowError(), "no connection"),
        (UnicodeError("label empty or too long"), "this is no name"),
    ],
    ids=["name", "silence", "route", "port", "text"],
)
def test_each_cause_has_words(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, words: str
) -> None:
    def fail(*_: object) -> socket.socket:
        raise raised

    monkeypatch.setattr(socket, "create_connection", fail)
    assert reach.problem("db.example:5432") == words
