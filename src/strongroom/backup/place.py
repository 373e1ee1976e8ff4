"""The ids to which the keys of a backup are bound, so that no part of one opens in another; pure."""

from dataclasses import dataclass

from strongroom.ids import id_bytes

VERSION = 2
"""The version of backups that is written; 1 is read as well."""
PINNED_VERSION = 3
"""The version of backups whose extracts are pinned in an object store; 2 in all else (docs/format/backup.md 7)."""


@dataclass(frozen=True)
class Place:
    """The ids to which the subkeys of a backup are bound, and the version that says how.

    Attributes:
        installation_id: The installation that made the backup.
        rmk_id: The RMK of the store in it.
        backup_id: The backup.
        version: The version of the backup.
    """

    installation_id: str
    rmk_id: str
    backup_id: str
    version: int = VERSION

    def info(self, label: bytes) -> bytes:
        """The info of a subkey: a label and the ids (2.2)."""
        parts = (self.installation_id, self.rmk_id, self.backup_id)
        return label + b"".join(id_bytes(part) for part in parts)
