"""Messages as JSON, in the mapping that the public API documents.

Attributes and children are members; the root (`tsRequest`, `tsResponse`) is left out; a list is an object whose one member
is an array (`{"users": {"user": [{…}, {…}]}}`), and an empty one an empty object; numbers are texts; a node that holds
text is that text, or with attributes an object with the text as `value`.
"""

import json
from collections.abc import Sequence
from typing import NoReturn

from strongroom.access.names import is_xml_name
from strongroom.doors.tableau.message import (
    MAX_ELEMENTS,
    MAX_REQUEST_BYTES,
    Element,
    Value,
    check_text,
    text_form,
    word,
)
from strongroom.errors import FormatError

MEDIA_TYPE = "application/json"
MAX_DEPTH = 32  # the deepest request of the public API has six levels
_ROOT = "tsRequest"


def parse_request(body: bytes) -> Element:
    """The same tree that the request's XML would give.

    Raises:
        FormatError: Not well-formed, too large, too deep, a member twice, or no object.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise FormatError(f"the request's JSON is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        found = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_members,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
        )
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError("the request's JSON is not well-formed") from error
    if not isinstance(found, dict):
        raise FormatError("the request's JSON is no object")
    if found.keys() == {_ROOT} and isinstance(found[_ROOT], dict):
        found = found[_ROOT]  # some clients write the root that the mapping leaves out
    return _Reader().read(_ROOT, found, 0)


def render(*children: Element) -> bytes:
    """A whole answer."""
    body = {child.tag: _shown(child) for child in children}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


class _Reader:
    """Counts what it makes: many empty objects are few bytes."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, tag: str, members: dict[str, object], depth: int) -> Element:
        self._count += 1
        if depth > MAX_DEPTH:
            raise FormatError(f"the request's JSON nests deeper than {MAX_DEPTH} levels")
        made = Element(tag)
        for name, value in members.items():
            if isinstance(value, list):
                self._check(len(value))
                made.children += [self._item(name, item, depth) for item in value]
            elif isinstance(value, dict):
                made.children.append(self.read(name, value, depth + 1))
            elif value is not None:  # null is how a client says nothing
                made.attrib[name] = _text(value)
            self._check()
        return made

    def _check(self, more: int = 0) -> None:
        if self._count + more > MAX_ELEMENTS:
            raise FormatError(f"the request's JSON has more than {MAX_ELEMENTS} elements")

    def _item(self, name: str, item: object, depth: int) -> Element:
        if isinstance(item, dict):
            return self.read(name, item, depth + 1)
        if item is None or isinstance(item, list):
            raise FormatError(f"the array {name[:40]!r} of the request's JSON holds null or arrays")
        self._count += 1
        return Element(name, text=_text(item))


def _members(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Two members of one name mean one thing to one reader and another to the next.

    A name that the same request in XML could not have is none here either: what is kept of it is shown in XML, too.
    """
    made = dict(pairs)
    for name in made:
        if not is_xml_name(name):
            raise FormatError(
                f"{name[:40]!r} in the request's JSON is no name of an attribute or element"
            )
    if len(made) < len(pairs):
        raise FormatError("an object of the request's JSON has a member twice")
    return made


def _refuse_constant(_: str) -> NoReturn:
    raise FormatError("the request's JSON holds NaN or an infinity")


def _text(value: object) -> str:
    return word(value) if isinstance(value, bool) else check_text(str(value))


def _shown(found: Element) -> object:
    attributes = {name: _value(value) for name, value in found.attrib.items() if value is not None}
    if found.text is not None:
        text = text_form(found.text)
        return {**attributes, "value": text} if attributes else text
    children: dict[str, object] = {}
    for child in found.children:
        if child.tag in found.lists:
            many = children.setdefault(child.tag, [])
            if isinstance(many, list):
                many.append(_shown(child))
        else:
            children[child.tag] = _shown(child)
    return {**children, **attributes}


def _value(value: Value) -> Value:
    if isinstance(value, bool):
        return value
    return None if value is None else text_form(value)
