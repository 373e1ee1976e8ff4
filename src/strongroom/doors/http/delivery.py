"""Turns answers and downloads into HTTP; decrypts in a thread while the last piece is on its way to the client.

After the first byte of a download has been sent, a damaged segment can no longer become an error answer: the exception
leaves the application, and the server cuts the connection, which the client sees as an incomplete body.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from strongroom.clock import parse_utc
from strongroom.doors.http import preconditions
from strongroom.doors.http.lanes import Threads
from strongroom.doors.tableau.errors import Fault
from strongroom.doors.tableau.form import Form, answer_form
from strongroom.doors.tableau.routing import Answer, Download
from strongroom.system.compat import override
from strongroom.system.positions import Span

CHUNK_BYTES = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MAX_DIGITS = 18
# of the value of Content-Disposition: clients make the name of a file of it, and no file system takes more
MAX_DISPOSITION_BYTES = 255
_REPLACED = Fault(412, "412000", "the published file is another one than the request names")


def answer_response(answer: Answer, form: Form) -> Response:
    """An answer as HTTP."""
    if answer.status == 204:
        return Response(status_code=204)
    body = form.render(*answer.elements)
    return Response(body, answer.status, {"vary": "Accept"}, media_type=form.value)


def byte_range(header: str, size: int) -> Span | None:
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
    """The header from which the clients take the name of the saved file (RFC 6266), never longer than they can save.

    A plain name is safe as it is; another one is told in the extended form as well (RFC 8187), in which a letter may
    take nine bytes. Names that are too long lose their end, and never the ending that says what the file is.
    """
    stem, dot, ending = filename.rpartition(".")
    if not dot:
        stem, ending = filename, ""
    keep = len(stem)
    while True:
        header = _disposition(stem[:keep] + dot + ending)
        over = len(header) - MAX_DISPOSITION_BYTES
        if over <= 0 or keep == 0:
            return header
        # 13 bytes: a character of four bytes in both forms of the name
        keep -= max(1, min(keep, over // 13))


def _disposition(filename: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


@dataclass(frozen=True)
class Asked:
    """The method and the headers of a request for a file."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)

    def first_bytes(self, size: int) -> Span:
        """The part that will be read first of a file of this length, as far as the request alone says it.

        None of it if a condition may end the request without the file: what is asked for in vain costs the store.
        """
        if self.method != "GET" or preconditions.may_end_early(self.headers):
            return 0, 0
        try:
            return byte_range(self.headers.get("range", ""), size) or (0, size)
        except ValueError:
            return 0, 0


class DownloadResponse(Response):
    """A file on its way out; closes the content when it ends, however it ends."""

    def __init__(
        self,
        download: Download,
        asked: Asked,
        threads: Threads,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it.

        Args:
            download: The file.
            asked: On which conditions, and what of it.
            threads: The threads that decrypt.
            ended: Called when no more of the file will be sent.
        """
        self._threads = threads
        self._ended = ended
        super().__init__(media_type="application/octet-stream")
        self._content = download.content
        self._refusal = b""
        self._start = self._stop = 0
        del self.headers["content-length"]
        tag = preconditions.entity_tag(download.version)
        changed = parse_utc(download.changed_at)
        self.headers["etag"] = tag
        self.headers["last-modified"] = preconditions.http_date(changed)
        match preconditions.verdict(asked.headers, tag, changed):
            case preconditions.Verdict.NOT_MODIFIED:
                self.status_code = 304
                del self.headers["content-type"]
            case preconditions.Verdict.FAILED:
                self._refuse(answer_form(asked.headers.get("accept", "")))
            case preconditions.Verdict.SEND:
                # a range is of GET alone (RFC 9110 section 14.2)
                is_get = asked.method == "GET"
                wanted = preconditions.range_header(asked.headers, tag) if is_get else ""
                self._select(download, wanted)

    def _refuse(self, form: Form) -> None:
        self._refusal = form.render(_REPLACED.message)
        self.status_code = _REPLACED.status
        self.headers["content-type"] = form.value
        self.headers["content-length"] = str(len(self._refusal))

    def _select(self, download: Download, range_header: str) -> None:
        size = download.content.size
        self._stop = size
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
                body = b"" if scope["method"] == "HEAD" else self._refusal
                await send({"type": "http.response.body", "body": body, "more_body": False})
            else:
                await self._stream(receive, send)
        finally:
            self._ended()
            # closed by a thread, since another thread may be reading the file; the answer does not wait for it
            self._threads.start(self._content.close)

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
        first = await self._threads.run(partial(next, pieces, None))
        await self._begin(send)
        gone = asyncio.ensure_future(receive())  # tells when the client has left
        try:
            await self._send_pieces(first, pieces, send, gone)
        finally:
            gone.cancel()

    async def _send_pieces(
        self,
        first: bytearray | None,
        pieces: Iterator[bytearray],
        send: Send,
        gone: "asyncio.Future[Message]",
    ) -> None:
        """Send all pieces; a piece is decrypted while the previous one is being sent."""
        piece = first
        while piece is not None:
            if gone.done():
                return
            following = self._threads.start(partial(next, pieces, None))
            try:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            finally:
                piece = await following
        await send({"type": "http.response.body", "body": b"", "more_body": False})
