"""A request or an answer as a tree that is neither XML nor JSON: each message is described once, and both forms render it.

`doors.tableau.xml` and `doors.tableau.json_form` read and write the trees. What a form cannot tell by itself is written into the
tree: which children are a list, and whether a value is a truth, a number or a text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.errors import FormatError, UsageError

Value = str | int | bool | None

# the largest real request, a site with all its flags, is 2 KiB; the worst one of this size is refused within 50 ms
MAX_REQUEST_BYTES = 256 * 1024
MAX_ELEMENTS = 10_000

# XML 1.0 section 2.2: what may not stand in a document even as a character reference, and so in no message
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TRUE = {"true", "1"}
_FALSE = {"false", "0"}


@dataclass
class Element:
    """A node of a message.

    Attributes:
        tag: The name of the node.
        attrib: Named values; all are texts in a request, and each has its type in an answer.
        children: In their order.
        text: Text in place of children; None if it holds none.
        lists: The names of those children of which there may be any number: JSON shows them as an array, also a single
            one.
    """

    tag: str
    attrib: dict[str, Value] = field(default_factory=dict, repr=False)
    children: list["Element"] = field(default_factory=list)
    text: str | None = field(default=None, repr=False)
    lists: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """An attribute of a request; None if it was not sent."""
        value = self.attrib.get(name)
        return None if value is None else text_form(value)

    def find(self, name: str) -> "Element | None":
        """The first child of that name, or None."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list["Element"]:
        """The children of that name."""
        return [child for child in self.children if child.tag == name]

    def walk(self) -> Iterator["Element"]:
        """The node and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def texts(self, name: str) -> list[str]:
        """The texts of the children of that name."""
        return [child.text or "" for child in self.all(name)]


def element(
    name: str, attributes: Mapping[str, Value] | None = None, *children: Element
) -> Element:
    """A node of an answer; attributes that are None are left out."""
    kept: dict[str, Value] = {
        key: value for key, value in (attributes or {}).items() if value is not None
    }
    return Element(name, kept, list(children))


def listing(name: str, items: str, children: Sequence[Element]) -> Element:
    """A node that holds a list: `<users>` with any number of `<user>`."""
    return Element(name, {}, list(children), lists=(items,))


def text_element(name: str, text: str, attributes: Mapping[str, Value] | None = None) -> Element:
    """A node that holds text."""
    return Element(name, dict(attributes or {}), text=text)


def word(value: bool) -> str:
    """A truth that the public API documents as a text: JSON shows it in quotation marks."""
    return "true" if value else "false"


def text_form(value: str | int) -> str:
    """A value as an attribute of XML holds it."""
    if isinstance(value, bool):
        return word(value)
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))


def check_text(text: str) -> str:
    """A text of a request, if an XML document could hold it.

    Raises:
        FormatError: The text has a character that XML cannot hold: NUL or another control, or half of a surrogate pair.
    """
    if NOT_XML.search(text):
        raise FormatError("the request holds a character that no message can have")
    return text


def required(parent: Element, name: str) -> Element:
    """The first child of that name.

    Raises:
        UsageError: The request has no child of that name.
    """
    child = parent.find(name)
    if child is None:
        raise UsageError(f"<{name}> is missing in the request")
    return child


def text_of(found: Element, name: str) -> str:
    """A required, non-empty attribute.

    Raises:
        UsageError: The attribute is missing or empty.
    """
    value = (found.get(name) or "").strip()
    if not value:
        raise UsageError(f"attribute {name} of <{found.tag}> is missing or empty")
    return value


def bool_of(text: str | None) -> bool | None:
    """The truth value that clients write as `true`, `True`, `1` or their opposites; None for an empty text.

    Raises:
        UsageError: Another word.
    """
    if text is None or not text.strip():
        return None
    sent = text.strip().lower()
    if sent in _TRUE:
        return True
    if sent in _FALSE:
        return False
    raise UsageError(f"neither true nor false: {text[:20]!r}")
