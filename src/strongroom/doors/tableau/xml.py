"""Messages as XML, which tabcmd and TSC speak: requests read without any trust, answers written in their one namespace.

Requests are parsed by defusedxml with document types, entities and external references refused, and are bounded in size;
nothing here ever resolves, fetches or expands anything.
"""

import xml.etree.ElementTree as ET

from defusedxml import ElementTree as SafeET
from defusedxml.common import DefusedXmlException

from strongroom.access.names import is_xml_name
from strongroom.doors.tableau.message import MAX_ELEMENTS, MAX_REQUEST_BYTES, Element, text_form
from strongroom.errors import FormatError

NAMESPACE = "http://tableau.com/api"
MEDIA_TYPE = "application/xml"
_NAMESPACES = {"", "{" + NAMESPACE}


def parse_request(body: bytes) -> Element:
    """The `<tsRequest>` of a request, its elements without a namespace.

    Raises:
        FormatError: Not well-formed, too large, with a document type or an entity, another root or namespace.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise FormatError(f"the request's XML is larger than {MAX_REQUEST_BYTES} bytes")
    if body.count(b"<") > 2 * MAX_ELEMENTS:  # before anything is made of them
        raise FormatError(f"the request's XML has more than {MAX_ELEMENTS} elements")
    try:
        # white space before the XML declaration is none of XML, and some clients send a line of it
        root: ET.Element = SafeET.fromstring(body.lstrip(), forbid_dtd=True)
    except DefusedXmlException as error:
        raise FormatError("a document type or an entity in the request's XML is refused") from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise FormatError("the request's XML is not well-formed") from error
    for count, found in enumerate(root.iter()):
        if count >= MAX_ELEMENTS:
            raise FormatError(f"the request's XML has more than {MAX_ELEMENTS} elements")
        namespace, _, found.tag = found.tag.rpartition("}")
        if namespace not in _NAMESPACES:
            raise FormatError(f"the request's XML has a namespace that is not {NAMESPACE}")
    if root.tag != "tsRequest":
        raise FormatError("the request's XML does not begin with <tsRequest>")
    return _read(root)


def render(*children: Element) -> bytes:
    """A whole answer; clients look for `<?xml` and for the namespace before they read anything else."""
    root = ET.Element("tsResponse", {"xmlns": NAMESPACE})
    root.extend([_written(child) for child in children])
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + body


def _read(found: ET.Element) -> Element:
    """In a loop and not by recursion: how deep the elements nest is the sender's choice."""
    root = Element(found.tag)
    waiting = [(found, root)]
    while waiting:
        source, target = waiting.pop()
        # an attribute with a namespace (xsi:schemaLocation) speaks of the document, not of what is asked
        target.attrib = {key: value for key, value in source.attrib.items() if "{" not in key}
        text = (source.text or "").strip()
        target.text = text or None
        for child in source:
            made = Element(child.tag)
            target.children.append(made)
            waiting.append((child, made))
    return root


def _written(source: Element) -> ET.Element:
    """ElementTree escapes values and never names: one that is none would end the tag, and the next one would be its own."""
    if not is_xml_name(source.tag):
        raise ValueError("an element of an answer has a name that is none")
    made = ET.Element(source.tag)
    for key, value in source.attrib.items():
        if value is not None and is_xml_name(key):
            made.set(key, text_form(value))
    if source.text is not None:
        made.text = text_form(source.text)
    made.extend([_written(child) for child in source.children])
    return made
