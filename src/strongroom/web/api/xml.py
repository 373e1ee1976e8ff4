"""The XML that tabcmd and TSC speak: requests read without any trust, answers written in their one namespace.

Requests are parsed by defusedxml with document types, entities and external references refused, and are bounded in size;
nothing here ever resolves, fetches or expands anything.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from defusedxml import ElementTree as SafeET
from defusedxml.common import DefusedXmlException

from strongroom.errors import FormatError, UsageError

NAMESPACE = "http://tableau.com/api"
# the largest real request, a site with all its flags, is 2 KiB; the worst one of this size is refused within 50 ms
MAX_REQUEST_BYTES = 256 * 1024
MAX_ELEMENTS = 10_000
_NAMESPACES = {"", "{" + NAMESPACE}

Value = str | int | bool | None
Element = ET.Element

# XML 1.0 section 2.2: what may not stand in a document even as a character reference
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TRUE = {"true", "1"}
_FALSE = {"false", "0"}


def parse_request(body: bytes) -> Element:
    """The `<tsRequest>` of a request, its elements without a namespace.

    Raises:
        FormatError: Not well-formed, too large, with a document type or an entity, another root or namespace.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise FormatError(f"the request's XML is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        root: Element = SafeET.fromstring(body, forbid_dtd=True)
    except DefusedXmlException as error:
        raise FormatError("a document type or an entity in the request's XML is refused") from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise FormatError("the request's XML is not well-formed") from error
    for count, element in enumerate(root.iter()):
        if count >= MAX_ELEMENTS:
            raise FormatError(f"the request's XML has more than {MAX_ELEMENTS} elements")
        namespace, _, element.tag = element.tag.rpartition("}")
        if namespace not in _NAMESPACES:
            raise FormatError(f"the request's XML has a namespace that is not {NAMESPACE}")
    if root.tag != "tsRequest":
        raise FormatError("the request's XML does not begin with <tsRequest>")
    return root


def parse_optional(body: bytes) -> Element:
    """Like `parse_request`, and an empty body is an empty `<tsRequest>`: several real clients send none."""
    return parse_request(body) if body.strip() else ET.Element("tsRequest")


def required(parent: Element, name: str) -> Element:
    """The first child of that name.

    Raises:
        UsageError: There is none.
    """
    child = parent.find(name)
    if child is None:
        raise UsageError(f"<{name}> is missing in the request")
    return child


def text_of(element: Element, name: str) -> str:
    """A required, non-empty attribute.

    Raises:
        UsageError: It is missing or empty.
    """
    value = element.get(name, "").strip()
    if not value:
        raise UsageError(f"attribute {name} of <{element.tag}> is missing or empty")
    return value


def bool_of(text: str | None) -> bool | None:
    """What the clients mean by `true`, `True`, `1` and their opposites; None if nothing was sent.

    Raises:
        UsageError: Another word.
    """
    if text is None or not text.strip():
        return None
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UsageError(f"neither true nor false: {text[:20]!r}")


def element(
    name: str, attributes: Mapping[str, Value] | None = None, *children: Element
) -> Element:
    """An element of an answer; attributes that are None are left out."""
    made = ET.Element(name)
    for key, value in (attributes or {}).items():
        if value is not None:
            made.set(key, _text(value))
    made.extend(children)
    return made


def text_element(name: str, text: str) -> Element:
    """An element that holds text."""
    made = ET.Element(name)
    made.text = _text(text)
    return made


def render(*children: Element) -> bytes:
    """A whole answer; clients look for `<?xml` and for the namespace before they read anything else."""
    root = ET.Element("tsResponse", {"xmlns": NAMESPACE})
    root.extend(children)
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + body


def _text(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
