"""The configuration document: the truth about what is set (docs/format/configuration.md §1).

Pure: it never opens an `ENC(...)` value and never asks who may change what.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from strongroom import ids
from strongroom.errors import FormatError, UsageError

FORMAT = "strongroom-configuration-1"
MAX_DOCUMENT_BYTES = 16 << 20
MAX_VALUE_CHARACTERS = 6 << 20
"""Holds the longest `ENC(...)` text (format/configuration.md §1.4)."""

_MAX_NAME_CHARACTERS = 255
_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
_MEMBERS = frozenset({"format", "version", "installation_id", "configuration_key_id", "values"})


class ConfigDocument(NamedTuple):
    """One version of the configuration.

    Attributes:
        installation_id: UUID of the installation.
        configuration_key_id: UUID of the active configuration key.
        values: Parameter name → text, secrets as `ENC(...)`; only what is set.
        version: Counts from 1.
        format: Magic and version of the format.
    """

    installation_id: str
    configuration_key_id: str
    values: Mapping[str, str]
    version: int = 1
    format: str = FORMAT

    def with_values(
        self, changes: Mapping[str, str | None], *, configuration_key_id: str | None = None
    ) -> "ConfigDocument":
        """The next version, with some values set (text) or removed (None).

        Args:
            changes: Parameter name → new text, or None for its default.
            configuration_key_id: The new active configuration key, if it changes.
        """
        merged = {**self.values, **changes}
        kept = {name: text for name, text in merged.items() if text is not None}
        return self._replace(
            version=self.version + 1,
            values=kept,
            configuration_key_id=configuration_key_id or self.configuration_key_id,
        )

    def serialize(self) -> bytes:
        """The canonical bytes (format/configuration.md §1.3)."""
        return canonical(
            {
                "format": self.format,
                "version": self.version,
                "installation_id": self.installation_id,
                "configuration_key_id": self.configuration_key_id,
                "values": dict(self.values),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> "ConfigDocument":
        """The document of its canonical bytes.

        Raises:
            FormatError: Too long, not canonical, of an unknown format, or with wrong members.
        """
        members = parse_canonical(data, what="the configuration document")
        if not isinstance(members, dict) or members.get("format") != FORMAT:
            raise FormatError(
                "the configuration document has a format that is not known here",
                hint="it was written by a newer strongroom, or it is damaged",
            )
        _check_members(members)
        return cls(
            installation_id=members["installation_id"],
            configuration_key_id=members["configuration_key_id"],
            values=members["values"],
            version=members["version"],
        )


def check_name(name: str) -> str:
    """A parameter's name, if it has the form of one (format/configuration.md §1.4).

    Raises:
        UsageError: It has not.
    """
    if not _is_name(name):
        raise UsageError(
            f"{name[:80]!r} is no configuration key",
            hint="a key has letters, digits, '.', '_' and '-', at most 255 of them",
        )
    return name


def check_length(data: bytes, what: str) -> None:
    """Refuse what nobody could read back (format/configuration.md §1.4, format/pending-changes.md §2.1).

    Raises:
        UsageError: It is too long.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(
            f"{what} would have more than {MAX_DOCUMENT_BYTES} bytes",
            hint="set fewer or shorter values",
        )


def canonical(value: object) -> bytes:
    """JSON in its one canonical form (format/configuration.md §1.3)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def parse_canonical(data: bytes, *, what: str) -> object:
    """The value of canonical JSON.

    Raises:
        FormatError: Too long, no JSON, or not in canonical form.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise FormatError(f"{what} is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value: object = json.loads(data.decode("utf-8"))
        same = canonical(value) == data
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is damaged: it is no JSON") from error
    if not same:
        raise FormatError(f"{what} is damaged: it is not in canonical form")
    return value


def _is_name(name: str) -> bool:
    # no pattern: every command reads some forty names, and would compile it first
    return (
        0 < len(name) <= _MAX_NAME_CHARACTERS
        and name[0] not in "._-"
        and not name.strip(_NAME_CHARACTERS)
    )


def _check_members(members: dict[str, object]) -> None:
    if members.keys() != _MEMBERS:
        raise FormatError("the configuration document is damaged: wrong members")
    version, values = members["version"], members["values"]
    if type(version) is not int or version < 1:
        raise FormatError("the configuration document is damaged: its version is no number from 1")
    for name in ("installation_id", "configuration_key_id"):
        value = members[name]
        if not isinstance(value, str) or not ids.is_id(value):
            raise FormatError(f"the configuration document is damaged: {name} is no id")
    if not isinstance(values, dict) or not all(
        _is_name(name) and isinstance(text, str) and len(text) <= MAX_VALUE_CHARACTERS
        for name, text in values.items()
    ):
        raise FormatError("the configuration document is damaged: its values are no texts by name")
