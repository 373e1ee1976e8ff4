"""Turns answers and downloads into HTTP; decrypts in a thread while the last piece is on its way to the client.

After the first byte of a download has been sent, a damaged segment can no longer become an error answer: the exception
leaves the application, and the server cuts the connection, which the client sees as an incomplete body.
"""

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from strongroom.overriding import override
from strongroom.web.api import xml
from strongroom.web.api.routing import Answer, Download

CHUNK_BYTES = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MAX_DIGITS = 18


def xml_response(answer: Answer) -> Response:
    """An answer as HTTP."""
    if answer.status == 204:
        return Response(status_code=204)
    body = xml.render(*answer.elements)
    return Response(body, answer.status, media_type="application/xml")


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The one range of a `Range` header as (start, stop); None if the whole is to be sent (RFC 9110 section 14.2).

    Raises:
        ValueError: A valid range that holds no byte of the file: 416.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if len(match[1]) > _MAX_DIGITS or len(match[2]) > _MAX_DIGITS:
        raise ValueError(header)
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise ValueError(header)
    return start, stop


def content_disposition(filename: str) -> str:
    """The header from which the clients take the extension of the saved file; every name becomes plain and safe."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


class DownloadResponse(Response):
    """A file on its way out; closes the content when it ends, however it ends."""

    def __init__(self, download: Download, range_header: str) -> None:
        super().__init__(media_type="application/octet-stream")
        self._content = download.content
        size = download.content.size
        self._start, self._stop = 0, size
        del self.headers["content-length"]
        try:
            wanted = byte_range(range_header, size)
        except ValueError:
            self.status_code = 416
            self._stop = 0
            self.headers["content-range"] = f"bytes */{size}"
        else:
            if wanted is not None:
                self.status_code = 206
                self._start, self._stop = wanted
                self.headers["content-range"] = f"bytes {self._start}-{self._stop - 1}/{size}"
        self.headers["content-length"] = str(self._stop - self._start)
        self.headers["content-disposition"] = content_disposition(download.filename)
        self.headers["accept-ranges"] = "bytes"

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            if scope["method"] == "HEAD" or self._start == self._stop:
                await self._begin(send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await self._stream(receive, send)
        finally:
            await asyncio.to_thread(self._content.close)

    async def _begin(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )

    async def _stream(self, receive: Receive, send: Send) -> None:
        pieces = iter(self._content.iterate(self._start, self._stop, CHUNK_BYTES))
        # before the answer begins: damage of the first piece becomes an error answer
        first = await asyncio.to_thread(next, pieces, None)
        await self._begin(send)
        gone = asyncio.ensure_future(receive())  # tells when the client has left
        try:
            await _send_pieces(first, pieces, send, gone)
        finally:
            gone.cancel()


async def _send_pieces(
    first: bytes | None, pieces: Iterator[bytes], send: Send, gone: "asyncio.Future[Message]"
) -> None:
    """One piece is decrypted while the one before it is being sent."""
    piece = first
    while piece is not None:
        if gone.done():
            return
        following = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
        try:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            piece = await following
    await send({"type": "http.response.body", "body": b"", "more_body": False})
