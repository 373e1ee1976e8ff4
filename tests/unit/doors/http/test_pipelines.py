"""Requests that a client sent at once, and left before they were answered (findings S14)."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
import uvloop

from strongroom.doors.http.protocol import BoundedProtocol, Connections, Patience

_REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_LIMIT_S, _PIECES = 30, 30


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(_LIMIT_S * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("that state was not reached")


class _Served:
    """A server whose first requests wait for the test; it counts what was answered whole."""

    def __init__(self) -> None:
        self.began, self.goes_on = asyncio.Event(), asyncio.Event()
        self.told: list[str] = []
        self.protocols: list[BoundedProtocol] = []
        config = uvicorn.Config(self._answer, lifespan="off", log_config=None, interface="asgi3")
        config.load()
        self._config, self._state = config, uvicorn.Server(config).server_state

    def protocol(self) -> BoundedProtocol:
        made = BoundedProtocol(
            config=self._config,
            server_state=self._state,
            app_state={},
            patience=Patience(),
            all_open=Connections(),
        )
        self.protocols.append(made)
        return made

    async def _answer(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]
    ) -> None:
        self.began.set()
        await self.goes_on.wait()
        self.told.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(_PIECES):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("requests", [1, 2, 3])
@pytest.mark.parametrize("ending", ["left", "cut"])
def test_none_of_them_writes_to_a_client_that_is_gone(
    requests: int, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> list[str]:
        served = _Served()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(served.protocol, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(_REQUEST * requests)
        try:
            async with asyncio.timeout(_LIMIT_S):
                await served.began.wait()
                (ours,) = served.protocols
                await _until(lambda: len(ours.pipeline) == requests - 1)
                if ending == "cut":
                    ours.cut()
                client.close()
                # with a request behind it nothing is read: that the client left is seen when it is written to
                await _until(lambda: ours.is_lost or bool(ours.pipeline))
                served.goes_on.set()
                await _until(lambda: not ours.tasks)
        finally:
            served.goes_on.set()
            server.close()
        return served.told

    with caplog.at_level(logging.WARNING):
        told = uvloop.run(story())
    assert len(told) == 1, "one had begun; those behind it are not begun"
    assert caplog.records == []


def test_each_is_answered_if_the_client_stays() -> None:
    async def story() -> bytes:
        served = _Served()
        served.goes_on.set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(served.protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(_REQUEST * 2 + _REQUEST[:-2] + b"Connection: close\r\n\r\n")
        async with asyncio.timeout(_LIMIT_S):
            found = await reader.read()
        writer.close()
        server.close()
        return found

    assert uvloop.run(story()).count(b"200 OK") == 3
