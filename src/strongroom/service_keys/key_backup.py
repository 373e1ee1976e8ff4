"""The text in which a key leaves with all its versions, if its owner allowed that; pure and strict (service-keys.md 6)."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.ids import is_id
from strongroom.service_keys.model import MAX_VERSIONS, KeyKind, Versions

FORMAT = "strongroom-service-key/1"
DAMAGED = "the backup is none of a key, or is damaged"
_MEMBERS = {
    "format": str,
    "id": str,
    "name": str,
    "kind": str,
    "created_at": str,
    "deletion_allowed": bool,
    "latest": int,
    "available": int,
    "to_decrypt": int,
    "to_encrypt": int,
    "versions": dict,
}


class Kept(NamedTuple):
    """The material of a version, and when it was made."""

    material: SecretBytes
    created_at: str


@dataclass(frozen=True)
class KeyBackup:
    """A key with the material of its versions, by their numbers."""

    id: str
    name: str
    kind: KeyKind
    created_at: str
    deletion_allowed: bool
    numbers: Versions
    versions: Mapping[int, Kept]


def render(backup: KeyBackup) -> SecretBytes:
    """The text of a backup: base64 of JSON, with the material in plaintext."""
    numbers = backup.numbers
    members = {
        "format": FORMAT,
        "id": backup.id,
        "name": backup.name,
        "kind": backup.kind.value,
        "created_at": backup.created_at,
        "deletion_allowed": backup.deletion_allowed,
        "latest": numbers.latest,
        "available": numbers.available,
        "to_decrypt": numbers.to_decrypt,
        "to_encrypt": numbers.to_encrypt,
        "versions": {
            str(version): {
                "created_at": kept.created_at,
                "material": base64.b64encode(kept.material.reveal()).decode(),
            }
            for version, kept in backup.versions.items()
        },
    }
    return SecretBytes(base64.b64encode(json.dumps(members).encode()))


def parse(text: SecretBytes) -> KeyBackup:
    """The key of a text that `render` gave.

    Raises:
        UsageError: The text is another, or its parts contradict each other.
    """
    try:
        return _of(json.loads(base64.b64decode(text.reveal(), validate=True)))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        # nothing of the text goes into a message: it holds a key
        raise UsageError(DAMAGED) from None


def _of(members: Any) -> KeyBackup:
    if set(members) != set(_MEMBERS) or members["format"] != FORMAT:
        raise ValueError
    for name, kind in _MEMBERS.items():
        if type(members[name]) is not kind:
            raise ValueError
    numbers = Versions(
        members["latest"], members["available"], members["to_decrypt"], members["to_encrypt"]
    )
    versions = {int(number): _kept(one) for number, one in members["versions"].items()}
    # of a rule for the numbers, an error of the owner's is one of the text here
    fits = (
        is_id(members["id"])
        and 1 <= numbers.available <= numbers.latest <= MAX_VERSIONS
        and set(versions) == set(range(numbers.available, numbers.latest + 1))
        and numbers.available <= numbers.to_decrypt <= numbers.latest
        and (numbers.to_encrypt == 0 or numbers.to_decrypt <= numbers.to_encrypt <= numbers.latest)
    )
    if not fits:
        raise ValueError
    return KeyBackup(
        members["id"],
        members["name"],
        KeyKind(members["kind"]),
        members["created_at"],
        members["deletion_allowed"],
        numbers,
        versions,
    )


def _kept(members: Any) -> Kept:
    if set(members) != {"created_at", "material"} or not isinstance(members["created_at"], str):
        raise ValueError
    return Kept(
        SecretBytes(base64.b64decode(members["material"], validate=True)), members["created_at"]
    )
