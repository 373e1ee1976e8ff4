"""Key material of Parquet files as pyarrow, Spark and other programs write it; pure (docs/format/parquet-keys.md).

A file's keys are wrapped by master keys, directly or by keys between; those texts alone change in a rotation. All other
members, and the order of all, stay as they were.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from strongroom.errors import FormatError

PREFIX, SUFFIX = "_KEY_MATERIAL_FOR_", ".json"
"""The name of a file with key material is that of its data file between these two."""
MAX_BYTES = 16 * 1024 * 1024
MAGIC, SEALED_MAGIC = b"PAR1", b"PARE"
END_BYTES = 8
"""The end of a Parquet file: the length of its footer (4 bytes, little-endian) and the magic."""
MAX_FOOTER_BYTES = 256 * 1024 * 1024
_KIND = "PKMT1"
_MAX_DEPTH = 32
_FILE_METADATA_KEY, _SEALED_METADATA_KEY = 9, 2


class Keeping(StrEnum):
    """The place of a Parquet file's wrapped keys."""

    NONE = "plain"
    INSIDE = "inside"
    BESIDE = "beside"


class Wrapped(NamedTuple):
    """A wrapped key, and the id of the master key that wrapped it."""

    master_key: str
    text: str


@dataclass(frozen=True)
class KeyMaterial:
    """The key material of one data file.

    Attributes:
        entries: The members of each key's material, by the reference that stands in the data file.
    """

    entries: Mapping[str, Mapping[str, Any]]

    @property
    def wrapped(self) -> frozenset[Wrapped]:
        """All that a master key wrapped."""
        return frozenset(
            Wrapped(one["masterKeyID"], one[_member(one)]) for one in self.entries.values()
        )

    def with_wrapped(self, changed: Mapping[Wrapped, Wrapped]) -> "KeyMaterial":
        """The same keys, wrapped anew where `changed` has another text."""
        entries: dict[str, Mapping[str, Any]] = {}
        for reference, one in self.entries.items():
            member = _member(one)
            new = changed.get(Wrapped(one["masterKeyID"], one[member]))
            entries[reference] = (
                one if new is None else {**one, "masterKeyID": new.master_key, member: new.text}
            )
        return KeyMaterial(entries)

    def serialize(self) -> bytes:
        """The bytes of the file."""
        return _compact({name: _compact(one) for name, one in self.entries.items()}).encode()


def parse(raw: bytes) -> KeyMaterial:
    """The key material in a file.

    Raises:
        FormatError: The bytes are no such file, or of a kind that is not known.
    """
    found = _object(raw)
    entries = {name: _entry(text) for name, text in found.items()}
    if not entries:
        raise FormatError("the file holds no key material")
    return KeyMaterial(entries)


def keeping(footer: bytes, magic: bytes) -> Keeping:
    """Where the wrapped keys of a Parquet file lie, by its footer.

    Args:
        footer: The bytes before the last eight of the file, as many as those say.
        magic: The last four bytes of the file.

    Raises:
        FormatError: The footer is none of a Parquet file.
    """
    field_id = _SEALED_METADATA_KEY if magic == SEALED_MAGIC else _FILE_METADATA_KEY
    metadata = _binary(footer, field_id)
    if metadata is None:
        return Keeping.INSIDE if magic == SEALED_MAGIC else Keeping.NONE
    try:
        found = _object(metadata)
    except FormatError:
        return Keeping.INSIDE  # a program with a way of its own: nothing of it lies beside the file
    return Keeping.BESIDE if found.get("internalStorage") is False else Keeping.INSIDE


def _entry(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise FormatError("key material is a text in JSON")
    one = _object(text.encode())
    if one.get("keyMaterialType") != _KIND:
        raise FormatError(f"key material is of a kind that is not known here: only {_KIND} is")
    if not all(isinstance(one.get(name), str) for name in ("masterKeyID", _member(one))):
        raise FormatError("key material without a master key, or without a wrapped key")
    return one


def _member(one: Mapping[str, Any]) -> str:
    return "wrappedKEK" if one.get("doubleWrapping") is True else "wrappedDEK"


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise FormatError("key material is no JSON") from None
    if not isinstance(found, dict):
        raise FormatError("key material is no JSON object")
    return found


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- Thrift's compact protocol, as far as the members of one structure ----------------------------


_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}
"""The bytes of values of a fixed size, by their kind: the truths of a structure have none."""


def _binary(data: bytes, field_id: int) -> bytes | None:
    """The bytes in a member of the outermost structure; None where there is none of this id."""
    reader, last = _Reader(data), 0
    while kind := reader.byte():
        last = last + (kind >> 4) if kind >> 4 else reader.signed()
        if last == field_id and kind & 15 == 8:
            return reader.text()
        reader.skip(kind & 15, _MAX_DEPTH)
    return None


class _Reader:
    """Reads and skips values of Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        return self._take(1)[0]

    def signed(self) -> int:
        number = self._number()
        return (number >> 1) ^ -(number & 1)

    def text(self) -> bytes:
        return self._take(self._number())

    def skip(self, kind: int, depth: int) -> None:
        if depth == 0:
            raise FormatError("a footer of a Parquet file is not nested so deep")
        if kind in _SIZES:
            self._take(_SIZES[kind])
        elif kind in {4, 5, 6}:
            self._number()
        elif kind == 8:
            self.text()
        elif kind in {9, 10}:
            self._skip_list(depth)
        elif kind == 11:
            self._skip_map(depth)
        elif kind == 12:
            self._skip_structure(depth)
        else:
            raise FormatError("no footer of a Parquet file")

    def _skip_structure(self, depth: int) -> None:
        while inner := self.byte():
            if not inner >> 4:
                self._number()
            self.skip(inner & 15, depth - 1)

    def _skip_list(self, depth: int) -> None:
        head = self.byte()
        count = self._number() if head >> 4 == 15 else head >> 4
        self._skip_each(count, (head & 15,), depth)

    def _skip_map(self, depth: int) -> None:
        if count := self._number():
            kinds = self.byte()
            self._skip_each(count, (kinds >> 4, kinds & 15), depth)

    def _skip_each(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        if count > len(self._data):  # each takes a byte at least
            raise FormatError("no footer of a Parquet file")
        for _ in range(count):
            for kind in kinds:
                if kind in {1, 2}:
                    self._take(1)  # truths of a list have a byte each, unlike those of a structure
                else:
                    self.skip(kind, depth - 1)

    def _number(self) -> int:
        found = shift = 0
        while True:
            one = self._take(1)[0]
            found |= (one & 127) << shift
            if one < 128:
                return found
            shift += 7
            if shift > 63:
                raise FormatError("no footer of a Parquet file")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise FormatError("the footer of the Parquet file ends too early")
        taken, self._at = self._data[self._at : end], end
        return taken
