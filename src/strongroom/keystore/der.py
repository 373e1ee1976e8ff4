"""Strict DER, as much of it as the keystore needs: a reader that walks forward, and builders.

Only definite, minimal lengths and low tags are accepted (format/keystore.md §1), so that a value has one encoding. The
structure of files is left to callers. `cryptography.hazmat.asn1` does more, and costs 33 ms at each start (ADR 1).
"""

from typing import Self

from strongroom.errors import FormatError

INTEGER = 0x02
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
BMP_STRING = 0x1E
SEQUENCE = 0x30
SET = 0x31
EXPLICIT_0 = 0xA0

_SHORT_LENGTH = 0x80
_MAX_LENGTH_BYTES = 4  # a length of 4 GiB: far over every bound, and still an ordinary number
_MAX_INTEGER_BYTES = 8


class Reader:
    """Reads DER elements, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether another element follows."""
        return self._at < len(self._data)

    def end(self) -> None:
        """Refuse further bytes.

        Raises:
            FormatError: Bytes follow.
        """
        if self.more:
            raise FormatError("there are bytes after the end")

    def take(self, tag: int) -> bytes:
        """The contents of the next element, which must have this tag.

        Raises:
            FormatError: The tag is another one, or the length is not minimal or exceeds the bytes.
        """
        if len(self._data) - self._at < 2:
            raise FormatError("it ends in the middle of an element")
        if self._data[self._at] != tag:
            raise FormatError(f"found tag {self._data[self._at]:#04x} instead of {tag:#04x}")
        length, start = self._length(self._at + 1)
        self._at = start + length
        if self._at > len(self._data):
            raise FormatError("it ends in the middle of an element")
        return self._data[start : self._at]

    def _length(self, at: int) -> tuple[int, int]:
        """The length of an element, and the position of its contents."""
        first = self._data[at]
        if first < _SHORT_LENGTH:
            return first, at + 1
        count = first - _SHORT_LENGTH
        digits = self._data[at + 1 : at + 1 + count]
        length = int.from_bytes(digits)
        if not 0 < count <= _MAX_LENGTH_BYTES or len(digits) != count:
            raise FormatError("a length is not definite or too long")
        if length < _SHORT_LENGTH or digits[0] == 0:
            raise FormatError("a length is not minimal")
        return length, at + 1 + count

    def inside(self, tag: int) -> Self:
        """A reader over the contents of the next element."""
        return type(self)(self.take(tag))

    def only(self, tag: int) -> bytes:
        """The contents of the next element, which must be the last one."""
        contents = self.take(tag)
        self.end()
        return contents

    def integer(self) -> int:
        """The next element as a whole number that is not negative.

        Raises:
            FormatError: The element is no such number, is not minimal, or has over 64 bits.
        """
        digits = self.take(INTEGER)
        if not 0 < len(digits) <= _MAX_INTEGER_BYTES or digits[0] >= 0x80:
            raise FormatError("a number is negative, empty or too large")
        if len(digits) > 1 and digits[0] == 0 and digits[1] < 0x80:
            raise FormatError("a number is not minimal")
        return int.from_bytes(digits)

    def expect(self, element: bytes, what: str) -> None:
        """Read exactly this element.

        Raises:
            FormatError: Other bytes follow; the message names `what` was expected.
        """
        if not self.optional(element):
            raise FormatError(f"it does not say {what}")

    def oid(self) -> bytes:
        """The next element, an object identifier, in the form that `oid` returns.

        Raises:
            FormatError: The element is no object identifier.
        """
        return element(OID, self.take(OID))

    def optional(self, element: bytes) -> bool:
        """Skip exactly this element if it comes next; True if it did."""
        found = self._data[self._at : self._at + len(element)] == element
        self._at += len(element) * found
        return found


def element(tag: int, *parts: bytes) -> bytes:
    """An element with this tag and these contents."""
    contents = b"".join(parts)
    size = len(contents)
    if size < _SHORT_LENGTH:
        return bytes([tag, size]) + contents
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, _SHORT_LENGTH + len(digits)]) + digits + contents


def integer(value: int) -> bytes:
    """The element of a whole number that is not negative."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def oid(dotted: str) -> bytes:
    """The element of an object identifier in dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    contents = bytearray([first * 40 + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, arc & 0x7F | 0x80)
        contents += bytes(groups)
    return element(OID, bytes(contents))
