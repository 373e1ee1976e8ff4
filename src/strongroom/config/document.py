"""The configuration document, which holds all values that are set (docs/format/configuration.md §1).

Pure: `ENC(...)` values are never opened here, and no permission is checked.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from strongroom import canonical
from strongroom.canonical import Fields
from strongroom.errors import UsageError

FORMAT = "strongroom-configuration-2"
OLDER_FORMAT = "strongroom-configuration-1"
MAX_DOCUMENT_BYTES = 16 << 20
MAX_VALUE_CHARACTERS = 6 << 20
"""The longest value, long enough for the longest `ENC(...)` text (format/configuration.md §1.4)."""

_MAX_NAME_CHARACTERS = 255
_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
KIND = canonical.Kind("the configuration document", canonical.UTF_8, MAX_DOCUMENT_BYTES)
_OLDER_MEMBERS = frozenset(
    {"format", "version", "installation_id", "configuration_key_id", "values"}
)
_MEMBERS = _OLDER_MEMBERS | {"before", "pending_floor"}


class ConfigDocument(NamedTuple):
    """A version of the configuration.

    Attributes:
        installation_id: UUID of the installation.
        configuration_key_id: UUID of the active configuration key.
        values: Parameter name → text, secrets as `ENC(...)`; only parameters that are set.
        version: The number of the version, from 1.
        before: SHA-256 of the bytes of its predecessor, hexadecimal; None in the first document (entries.md 3.1).
        pending_floor: The number of the pending transaction that was last applied or discarded (entries.md 3.2).
    """

    installation_id: str
    configuration_key_id: str
    values: Mapping[str, str]
    version: int = 1
    before: str | None = None
    pending_floor: int = 0

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
        return KIND.dumps(
            {
                "format": FORMAT,
                "version": self.version,
                "installation_id": self.installation_id,
                "configuration_key_id": self.configuration_key_id,
                "values": dict(self.values),
                "before": self.before,
                "pending_floor": self.pending_floor,
            }
        )

    def after(self, data: bytes) -> "ConfigDocument":
        """This document as the successor of the one whose bytes these are."""
        return self._replace(before=hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, data: bytes) -> "ConfigDocument":
        """The document of its canonical bytes.

        Raises:
            FormatError: The bytes are too long, not canonical, of an unknown format, or have wrong members.
        """
        fields = KIND.loads(data)
        fields.check_version("format", FORMAT)
        fields.check_names(_MEMBERS)
        before = fields.optional("before", Fields.text)
        if before is not None and not _is_digest(before):
            raise fields.refused("the digest of its predecessor is none")
        found = cls._shared(fields)
        return found._replace(before=before, pending_floor=fields.number("pending_floor"))

    @classmethod
    def parse_older(cls, data: bytes) -> "ConfigDocument":
        """The document of format 1, for the upgrade.

        Raises:
            FormatError: The bytes are too long, not canonical, of another format, or have wrong members.
        """
        fields = KIND.loads(data)
        fields.check_version("format", OLDER_FORMAT)
        fields.check_names(_OLDER_MEMBERS)
        return cls._shared(fields)

    @classmethod
    def _shared(cls, fields: Fields) -> "ConfigDocument":
        values = fields.text_map("values")
        if not all(
            _is_name(name) and len(text) <= MAX_VALUE_CHARACTERS for name, text in values.items()
        ):
            raise fields.refused("a value has no name of a value, or is too long")
        return cls(
            installation_id=fields.id("installation_id"),
            configuration_key_id=fields.id("configuration_key_id"),
            values=values,
            version=fields.number("version", least=1),
        )


def check_name(name: str) -> str:
    """Check the form of a parameter's name (format/configuration.md §1.4); returns the name.

    Raises:
        UsageError: The name has another form.
    """
    if not _is_name(name):
        raise UsageError(
            f"{name[:80]!r} is no configuration key",
            hint="a key has letters, digits, '.', '_' and '-', at most 255 of them",
        )
    return name


def check_length(data: bytes, what: str) -> None:
    """Refuse bytes that a reader would refuse as too long (format/configuration.md §1.4, format/pending-changes.md §2.1).

    Raises:
        UsageError: The bytes are too long.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(
            f"{what} would have more than {MAX_DOCUMENT_BYTES} bytes",
            hint="set fewer or shorter values",
        )


def _is_digest(text: str) -> bool:
    return len(text) == hashlib.sha256().digest_size * 2 and not text.strip("0123456789abcdef")


def _is_name(name: str) -> bool:
    # no regular expression: every command checks some forty names, and would have to compile it first
    return (
        0 < len(name) <= _MAX_NAME_CHARACTERS
        and name[0] not in "._-"
        and not name.strip(_NAME_CHARACTERS)
    )
