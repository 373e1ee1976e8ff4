"""Canonical JSON: the one form of each stored document, and a strict reader of its members; pure.

A document is what `dumps` writes, byte for byte: keys sorted, no white space, finite numbers. `loads` refuses every
other spelling of the same value, so a stored document has one form, and a digest or a MAC over its bytes is one over
its value.

`Fields` takes each member by its type. A refusal names the document and the member, and quotes no value: a value may be
a key, and errors reach logs and terminals. For the same reason no refusal keeps its cause, which would hold the bytes.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, KeysView, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar, cast

from strongroom.clock import parse_utc
from strongroom.errors import FormatError
from strongroom.ids import is_id

MAX_DEPTH = 32
NEWER = "it was written by a newer strongroom, or it is damaged"

_T = TypeVar("_T")
_Named = TypeVar("_Named", bound=Enum)


class Form(NamedTuple):
    """A spelling of canonical JSON (format/primitives.md 1.1, 1.2, 1.3).

    Attributes:
        escaped: Whether every character beyond ASCII is written as an escape; otherwise the text is UTF-8.
        end: The bytes that follow the value.
    """

    escaped: bool
    end: bytes = b""


def _encoder(*, escaped: bool) -> json.JSONEncoder:
    """An encoder of canonical JSON; made once, since json.dumps would make one in every call."""
    return json.JSONEncoder(
        sort_keys=True, separators=(",", ":"), ensure_ascii=escaped, allow_nan=False
    )


_ESCAPING, _PLAIN = _encoder(escaped=True), _encoder(escaped=False)

ASCII = Form(escaped=True)
ASCII_LINE = Form(escaped=True, end=b"\n")
UTF_8 = Form(escaped=False)


class Kind(NamedTuple):
    """A kind of document.

    Attributes:
        name: The name in errors, in the singular: `the KMS store`.
        form: The spelling of such documents.
        most: The most bytes that a document may have.
        hint: The hint of errors about a damaged document.
    """

    name: str
    form: Form
    most: int
    hint: str = ""

    def dumps(self, value: object) -> bytes:
        """The one spelling of a value."""
        return dumps(value, self.form)

    def loads(self, data: bytes) -> "Fields":
        """The members of a document that is one JSON object.

        Raises:
            FormatError: The document is too long, too deep, no object, or not in its canonical spelling.
        """
        if len(data) > self.most:
            raise self.damaged(f"it has {len(data)} bytes, more than {self.most}")
        try:
            value: object = json.loads(data.decode("utf-8"))
            is_canonical = dumps(value, self.form) == data
        except (ValueError, RecursionError):
            raise self.damaged("it is no JSON") from None
        if not is_canonical:
            raise self.damaged("it is not in canonical form")
        if _is_too_deep(value):
            raise self.damaged(f"it is deeper than {MAX_DEPTH} levels")
        return Fields(value, self)

    def damaged(self, why: str) -> FormatError:
        """The error of a damaged document."""
        return FormatError(f"{self.name} is damaged: {why}", hint=self.hint)


class Fields:
    """The members of one JSON object, each taken by its type."""

    __slots__ = ("_kind", "_members")

    def __init__(self, value: object, kind: Kind) -> None:
        if not isinstance(value, dict):
            raise kind.damaged("something else stands in the place of an object")
        self._members: dict[str, object] = value
        self._kind = kind

    @property
    def names(self) -> KeysView[str]:
        """The names of the members, sorted."""
        return self._members.keys()

    def check_version(self, name: str, known: object) -> None:
        """Refuse another version than the known one; must be called first, since a newer version may have other members.

        Raises:
            FormatError: The member is missing, or another version.
        """
        found = self._members.get(name)
        if type(found) is not type(known) or found != known:
            raise FormatError(
                f"{self._kind.name} has a version that is not known here: known here is {known}",
                hint=NEWER,
            )

    def check_names(self, names: Iterable[str], optional: Iterable[str] = ()) -> None:
        """Refuse a document with missing or unknown members.

        Raises:
            FormatError: A member is missing or unknown.
        """
        needed = frozenset(names)
        if not needed <= self.names <= needed.union(optional):
            raise self.refused("a member is missing or not known")

    def refused(self, why: str) -> FormatError:
        """The error of a document whose members contradict a rule."""
        return self._kind.damaged(why)

    def value(self, name: str) -> object:
        """A member, of any type."""
        try:
            return self._members[name]
        except KeyError:
            raise self.refused(f"{name!r} is missing") from None

    def text(self, name: str) -> str:
        """A member that is a text."""
        return self._is(name, str, "text")

    def flag(self, name: str) -> bool:
        """A member that is true or false."""
        return self._is(name, bool, "yes or no")

    def number(self, name: str, least: int = 0) -> int:
        """A member that is a whole number."""
        found = self._is(name, int, "whole number")
        if found < least:
            raise self.refused(f"{name!r} is less than {least}")
        return found

    def measure(self, name: str) -> float:
        """A member that is a number, whole or not, such as a measured time."""
        found = self.value(name)
        if type(found) not in {int, float}:
            raise self.refused(f"{name!r} is no number")
        return cast("float", found)

    def id(self, name: str) -> str:
        """The canonical text of a UUID."""
        return self._id(name, self.value(name))

    def ids(self, name: str) -> tuple[str, ...]:
        """Texts of UUIDs."""
        return tuple(self._id(name, one) for one in self._list(name))

    def time(self, name: str) -> str:
        """The text of a moment (K-12)."""
        found = self.text(name)
        try:
            parse_utc(found)
        except FormatError:
            raise self.refused(f"{name!r} is no time of the form YYYY-MM-DDTHH:MM:SSZ") from None
        return found

    def raw(self, name: str) -> bytes:
        """Bytes in base64."""
        return self._raw(name, self.value(name))

    def raws(self, name: str) -> tuple[bytes, ...]:
        """Several bytes in base64."""
        return tuple(self._raw(name, one) for one in self._list(name))

    def hexadecimal(self, name: str, length: int) -> str:
        """A member that is `length` bytes in hexadecimal, lower case."""
        found = self.text(name)
        if len(found) != 2 * length or found.strip("0123456789abcdef"):
            raise self.refused(f"{name!r} is no {length} bytes in hexadecimal")
        return found

    def one_of(self, name: str, kinds: type[_Named]) -> _Named:
        """A value of an enumeration."""
        try:
            return kinds(self.value(name))
        except ValueError:
            raise self.refused(f"{name!r} is none of the values known here") from None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self._list(name)
        if not all(isinstance(one, str) for one in found):
            raise self.refused(f"{name!r} is no list of texts")
        return tuple(map(str, found))

    def text_map(self, name: str) -> dict[str, str]:
        """Texts by name."""
        found = self._is(name, dict, "object")
        if not all(isinstance(one, str) for one in found.values()):
            raise self.refused(f"{name!r} has a member that is no text")
        return dict(found)

    def inner(self, name: str) -> "Fields":
        """The members of an object."""
        return Fields(self.value(name), self._kind)

    def objects(self, name: str) -> "tuple[Fields, ...]":
        """The members of each object of a list."""
        return tuple(Fields(one, self._kind) for one in self._list(name))

    def object_map(self, name: str) -> "dict[str, Fields]":
        """The members of each object by its name."""
        found = self._is(name, dict, "object")
        return {key: Fields(one, self._kind) for key, one in found.items()}

    def optional(self, name: str, take: Callable[["Fields", str], _T]) -> _T | None:
        """A member that may be null: `fields.optional("since", Fields.time)`."""
        return None if self.value(name) is None else take(self, name)

    def check_count(self, name: str, words: str, most: int) -> None:
        """Refuse a list that is too long, before its items are read.

        Raises:
            FormatError: The list has more than `most` items.
        """
        if (count := len(self._list(name))) > most:
            raise FormatError(f"{self._kind.name} has {count} {words}, more than {most}")

    def _is(self, name: str, kind: type[_T], words: str) -> _T:
        found = self.value(name)
        if type(found) is not kind:  # a bool is an int to isinstance
            raise self.refused(f"{name!r} is no {words}")
        return found

    def _list(self, name: str) -> list[object]:
        return self._is(name, list, "list")

    def _id(self, name: str, found: object) -> str:
        if not isinstance(found, str) or not is_id(found):
            raise self.refused(f"{name!r} is no id")
        return found

    def _raw(self, name: str, found: object) -> bytes:
        raw = from_base64(found) if isinstance(found, str) else None
        if raw is None:
            raise self.refused(f"{name!r} is no canonical base64")
        return raw


def dumps(value: object, form: Form = UTF_8) -> bytes:
    """A value in its canonical spelling; raises ValueError for a value without one (a NaN, a lone surrogate in UTF-8)."""
    text = (_ESCAPING if form.escaped else _PLAIN).encode(value)
    return text.encode("utf-8") + form.end


def peek(data: bytes, name: str) -> object:
    """A member of a JSON object in any spelling, for the message of an error; None if the bytes are no such object.

    The member is not checked: callers only show it, or choose between two errors by it.
    """
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None


def to_base64(raw: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(text: str) -> bytes | None:
    """The bytes of a text that `to_base64` wrote; None for every other text (format/primitives.md 4.1).

    A text that differs in the unused bits of its last character only is refused as well: it would be a second spelling.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if to_base64(raw) == text else None


def _is_too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    inside: Iterable[object] = ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    return [one for one in inside if isinstance(one, dict | list)]
