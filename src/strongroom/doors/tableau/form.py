"""Decides on the form of a request and of its answer: XML or JSON (RFC 9110 section 12.5.1)."""

from enum import Enum

from strongroom.doors.tableau import json_form, xml
from strongroom.doors.tableau.message import Element

_MAX_RANGES = 32  # of an Accept header; the longest real one has eight


class Form(Enum):
    """The two forms of a message."""

    XML = xml.MEDIA_TYPE
    JSON = json_form.MEDIA_TYPE

    def render(self, *children: Element) -> bytes:
        """A whole answer in this form."""
        return json_form.render(*children) if self is Form.JSON else xml.render(*children)


# the content types of each form; XML comes first, so that a client that accepts both alike gets XML
_NAMES: dict[Form, tuple[str, ...]] = {
    Form.XML: ("application/xml", "text/xml", "application/*", "text/*", "*/*"),
    Form.JSON: ("application/json", "text/json", "application/*", "text/*", "*/*"),
}


def parse(body: bytes) -> Element:
    """A request's message; an empty message for an empty body, since several real clients send no body.

    The first character of the body decides on the form, not the content type, since some clients send the content type
    of their previous request.

    Raises:
        FormatError: The body is neither XML nor JSON, or breaks a bound.
    """
    content = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not content:
        return Element("tsRequest")
    return json_form.parse_request(body) if content[:1] in b"{[" else xml.parse_request(body)


def answer_form(accept: str) -> Form:
    """The form that an Accept header likes best.

    Of two that it likes alike, the one that it names by itself, and of two that it names the first; else XML. Who
    accepts neither gets XML, too: downloads are asked for with other types, and may yet end in an error.
    """
    ranges = [_quality(part) for part in accept.split(",")[:_MAX_RANGES]]
    best, liked = Form.XML, (0.0, 0, 0)
    for form, names in _NAMES.items():
        found = _of_form(names, ranges)
        if found > liked:
            best, liked = form, found
    return best


def _of_form(names: tuple[str, ...], ranges: list[tuple[str, float]]) -> tuple[float, int, int]:
    """How well a form is liked: the quality, how closely it is named, and how early; its closest name decides."""
    found = [
        (names[:2].count(name) * 2 + (name != "*/*"), quality, -place)
        for place, (name, quality) in enumerate(ranges)
        if name in names
    ]
    if not found:
        return (0.0, 0, 0)
    closest = max(one[0] for one in found)
    quality, place = max((quality, place) for close, quality, place in found if close == closest)
    return (quality, closest, place) if quality else (0.0, 0, 0)


def _quality(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(1.0, max(0.0, float(value)))
            except ValueError:
                return name, 0.0
    return name, 1.0
