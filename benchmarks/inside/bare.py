"""A bare ASGI application, behind the same server and options as the product's: the limit of what such a server can do.

It forgets a body that is posted, and sends a file that is asked for, whole or one range of it, piece by piece as it reads
it. It prints the address it listens on, and ends with SIGTERM.
"""

import asyncio
import re
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_PIECE_BYTES = 256 * 1024


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Send
) -> None:
    """Count the bytes and say 200, or send the file."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _send_file(dict(scope["headers"]).get(b"range", b"").decode(), send)
        return
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _begin(send, len(str(count)))
    await send({"type": "http.response.body", "body": str(count).encode()})


async def _send_file(wanted: str, send: Send) -> None:
    # the page cache has it: a read is a copy, and no thread is worth it
    with Path(sys.argv[1]).open("rb", buffering=0) as file:  # noqa: ASYNC230
        size = file.seek(0, 2)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        start, stop = (int(found[1]), int(found[2]) + 1) if found else (0, size)
        file.seek(start)
        await _begin(send, stop - start)
        while start < stop:
            piece = file.read(min(_PIECE_BYTES, stop - start))
            start += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": start < stop})


async def _begin(send: Send, length: int) -> None:
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def main() -> None:
    """Serve."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
    )
    print(f"ready: http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
