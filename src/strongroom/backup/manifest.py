"""Manifest and seal of a backup (docs/format/backup.md 4); pure.

The seal's digests find every change without a key; its MAC finds a change by somebody who made new digests as well.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strongroom.backup.archive import MARK, Entry
from strongroom.clock import parse_utc
from strongroom.errors import FormatError, StateError
from strongroom.ids import is_id

VERSION = 1
MANIFEST, SEAL = "manifest.json", "seal.json"
STORE, ROOTS, ASSETS = "keys/store.json", "keys/roots.json", "keys/assets"
BY_MEK, SEALED, SETTINGS = "keys/mek", "keys/sealed.age", "settings.age"
REPOSITORY, EXTRACTS = "repository/", "extracts/"
MOST_BEHIND_EXTRACTS = 8
"""Entries: keys, settings, manifest and seal."""
MAX_KEY_BYTES = 2 << 20
MAX_SEAL_BYTES = 1024
MAX_DESCRIPTION = 1000
_BASE_BYTES, _EACH_BYTES = 1024 + 6 * MAX_DESCRIPTION, 512
_DIGEST_CHARACTERS = 64
_REQUIRED = (STORE, ROOTS, ASSETS, BY_MEK)
_HINT = "the file is damaged or was changed: use another backup"


@dataclass(frozen=True)
class Listed:
    """One line of the manifest."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself (4.1).

    Attributes:
        id: UUID of the backup.
        created_at: When it was made.
        description: What its maker said.
        program: Version of the program.
        installation: UUID of the source.
        schema: Revision of the repository's schema.
        mode: KMS mode of the source.
        rmk_id: The RMK of the store.
        epoch: The store's epoch.
        mek_ids: The MEKs in it.
        sealed: What the keys were sealed to besides their roots.
        lost: Files that rows name and that were not there.
        entries: All entries before the manifest.
    """

    id: str
    created_at: str
    description: str
    program: str
    installation: str
    schema: str
    mode: str
    rmk_id: str
    epoch: int
    mek_ids: tuple[str, ...]
    sealed: tuple[str, ...]
    entries: tuple[Listed, ...]
    lost: tuple[str, ...] = ()

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return canonical(
            {
                "format": MARK,
                "v": VERSION,
                "id": self.id,
                "created_at": self.created_at,
                "description": self.description,
                "program": self.program,
                "installation": self.installation,
                "schema": self.schema,
                "kms": {
                    "mode": self.mode,
                    "rmk": self.rmk_id,
                    "epoch": self.epoch,
                    "meks": list(self.mek_ids),
                },
                "sealed": list(self.sealed),
                "lost": list(self.lost),
                "entries": [
                    {"name": one.name, "size": one.size, "sha256": one.sha256}
                    for one in self.entries
                ],
            }
        )

    @property
    def has_settings(self) -> bool:
        """Whether the configuration was sealed in."""
        return any(one.name == SETTINGS for one in self.entries)


@dataclass(frozen=True)
class Seal:
    """The last entry (4.3)."""

    manifest_sha256: str
    rmk_id: str
    mac: str

    def serialize(self) -> bytes:
        """The canonical bytes."""
        fields = {
            "v": VERSION,
            "manifest": self.manifest_sha256,
            "rmk": self.rmk_id,
            "mac": self.mac,
        }
        return canonical({**fields, "check": _digest(canonical(fields))})


def mark(backup_id: str) -> bytes:
    """The first entry (1.4)."""
    return canonical({"format": MARK, "id": backup_id, "v": VERSION})


def manifest_limit(entries: int) -> int:
    """The most bytes that a manifest of so many entries may have (4.4)."""
    return _BASE_BYTES + _EACH_BYTES * (entries + 4096)


def bounded(said: Manifest) -> bytes:
    """The canonical bytes, if a reader takes so many (4.4).

    Raises:
        StateError: It does not: all the lost files are named in it, and count as no entries.
    """
    data, limit = said.serialize(), manifest_limit(len(said.entries))
    if len(data) > limit:
        raise StateError(
            f"the backup's manifest would have {len(data)} bytes with its {len(said.lost)} lost files,"
            f" more than {limit}",
            hint="look whether the folder of the extracts is there as a whole",
        )
    return data


def listed(entries: Iterable[Entry]) -> tuple[Listed, ...]:
    """Entries as the manifest has them."""
    return tuple(Listed(one.name, one.size, one.sha256) for one in entries)


def parse(data: bytes) -> Manifest:
    """The manifest of its bytes.

    Raises:
        FormatError: Damaged, or of a version not known here.
    """
    try:
        document = json.loads(data)
        _check_version(document)
        found = _read(document)
        same = found.serialize() == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("the backup's manifest cannot be read", hint=_HINT) from error
    if not same:
        raise FormatError("the backup's manifest is not in canonical form", hint=_HINT)
    return found


def parse_seal(data: bytes) -> Seal:
    """The seal of its bytes.

    Raises:
        FormatError: Damaged.
    """
    try:
        document = json.loads(data)
        found = Seal(_hex(document["manifest"]), _id(document["rmk"]), _hex(document["mac"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError("the backup's seal cannot be read", hint=_HINT) from error
    if found.serialize() != data:  # its own digest is among these bytes
        raise FormatError("the backup's seal is damaged", hint=_HINT)
    return found


def check(found: Sequence[Entry], head: bytes, manifest: Manifest) -> None:
    """Compare what is in the archive with what the manifest says (4.2), and with what a backup has (1.4).

    Args:
        found: The entries before the manifest.
        head: Data of the first one.
        manifest: What they shall be.

    Raises:
        FormatError: Something is missing, added, doubled, moved, shortened or changed.
    """
    for there, wanted in zip(listed(found), manifest.entries, strict=False):
        if there != wanted:
            raise FormatError(
                f"the backup's entry {there.name!r} is not what its manifest says of {wanted.name!r}",
                hint=_HINT,
            )
    if len(found) != len(manifest.entries):
        raise FormatError(
            f"the backup has {len(found)} entries, its manifest {len(manifest.entries)}", hint=_HINT
        )
    if head != mark(manifest.id):
        raise FormatError("the backup begins as another one than it ends", hint=_HINT)
    names = [one.name for one in found]
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise FormatError(f"the backup has no {missing[0]}", hint=_HINT)


def canonical(value: Mapping[str, object]) -> bytes:
    """JSON in its one form: keys sorted, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_version(document: Mapping[str, Any]) -> None:
    if document["format"] != MARK or document["v"] != VERSION:
        raise FormatError(
            f"the backup has version {document['v']!r}, known here is {VERSION}",
            hint="it was written by a newer strongroom",
        )


def _read(document: Mapping[str, Any]) -> Manifest:
    kms = document["kms"]
    parse_utc(document["created_at"])
    if len(document["description"]) > MAX_DESCRIPTION or kms["epoch"] < 1:
        raise ValueError(kms["epoch"])
    return Manifest(
        id=_id(document["id"]),
        created_at=document["created_at"],
        description=_text(document["description"]),
        program=_text(document["program"]),
        installation=_id(document["installation"]),
        schema=_text(document["schema"]),
        mode=_text(kms["mode"]),
        rmk_id=_id(kms["rmk"]),
        epoch=kms["epoch"],
        mek_ids=tuple(_id(one) for one in kms["meks"]),
        sealed=tuple(_text(one) for one in document["sealed"]),
        lost=tuple(_text(one) for one in document["lost"]),
        entries=tuple(
            Listed(_text(one["name"]), one["size"], _hex(one["sha256"]))
            for one in document["entries"]
        ),
    )


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_id(text):
        raise ValueError(text)
    return text


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(text)
    return text


def _hex(text: object) -> str:
    if not isinstance(text, str) or len(bytes.fromhex(text)) * 2 != _DIGEST_CHARACTERS:
        raise ValueError(text)
    return text
