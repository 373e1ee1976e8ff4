"""Data keys of standalone files, for programs that encrypt and decrypt by themselves (docs/format/data-keys.md 2)."""

import base64
import binascii

from strongroom.doors.tableau.message import element, required
from strongroom.doors.tableau.routing import Answer, Call, Route
from strongroom.doors.tableau.shape import Shape, read, request
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES
from strongroom.errors import FormatError

_MOST_DIGITS = 9


def generate(call: Call) -> Answer:
    """A fresh data key, and the header page of the new file that it is for."""
    sent = call.request().find("dataKey")
    size = None if sent is None else sent.get("segmentBytes")
    page, key = call.services.data_key_desk.generate(
        call.identity.subject, segment_bytes=_segment_bytes(size)
    )
    return Answer([element("dataKey", {"header": _text(page), "key": _text(key.reveal())})])


def unwrap(call: Call) -> Answer:
    """The data key of a file whose header page is sent."""
    page = _bytes(required(call.request(), "dataKey").get("header") or "")
    key = call.services.data_key_desk.unwrap(call.identity.subject, page)
    return Answer([element("dataKey", {"key": _text(key.reveal())})])


def _segment_bytes(text: str | None) -> int:
    if text is None:
        return DEFAULT_SEGMENT_BYTES
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise FormatError("segmentBytes is a number of bytes")
    return int(text)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("header is a header page in base64") from error


ROUTES = (
    Route(
        "POST",
        "/strongroom/data-keys/generate",
        generate,
        takes=request(dataKey=Shape(read("segmentBytes"))),
    ),
    Route(
        "POST",
        "/strongroom/data-keys/unwrap",
        unwrap,
        takes=request(dataKey=Shape(read("header"))),
    ),
)
