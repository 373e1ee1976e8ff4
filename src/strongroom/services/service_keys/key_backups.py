"""A key that leaves with all its versions, and comes back: for whoever was allowed its plaintext by its owner."""

from typing import NamedTuple

from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, FormatError, IntegrityError, UsageError
from strongroom.ids import new_id
from strongroom.repository.service_rows import (
    ServiceKeyRow,
    ServiceKeyVersionRow,
    ServiceMountRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.service_keys import key_backup
from strongroom.service_keys.key_backup import Kept, KeyBackup
from strongroom.service_keys.model import KeyKind, check_name, check_usable
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import KeyAt, destroy_due, find, public_of, versions_of
from strongroom.services.service_keys.material import Material

_SYMMETRIC_BYTES = 32


class Restored(NamedTuple):
    """A key that came back; a copy beside its original opens no ciphertext of the original's."""

    key: ServiceKeyRow
    is_copy: bool


class KeyBackups:
    """The use cases of backups of single keys."""

    def __init__(self, repository: Repository, material: Material, clock: Clock) -> None:
        self._repository = repository
        self._material = material
        self._clock = clock

    def back_up(self, by: By, at: KeyAt) -> SecretBytes:
        """A key with all its versions, in plaintext.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
            UsageError: The owner did not allow that.
        """
        with self._repository.reading() as tx:
            row = find(tx, at, self._now())
            check_usable(at.name, row.state)
            if not row.exportable:
                raise UsageError("exporting is disallowed on the policy")
            if not row.backup_allowed:
                raise UsageError("plaintext backup is disallowed on the policy")
            kept = {
                one.version: Kept(self._material.open_key(one, row.kind), one.created_at)
                for one in tx.service_keys.versions.list(row.id)
            }
        by.key_used(at.shown, "back up", row.latest, len(kept))
        kind, numbers = KeyKind(row.kind), versions_of(row)
        return key_backup.render(
            KeyBackup(row.id, row.name, kind, row.created_at, row.deletion_allowed, numbers, kept)
        )

    def restore(
        self,
        by: By,
        mount: ServiceMountRow,
        text: SecretBytes,
        name: str = "",
        *,
        force: bool = False,
    ) -> Restored:
        """Bring a key back that was backed up.

        Args:
            by: The caller.
            mount: The mount below which the key shall be.
            text: The backup.
            name: The name; empty for the one that the key had.
            force: Whether the key may take the place of one of that name.

        Raises:
            UsageError: The backup is damaged, or the name is not possible.
            ConflictError: There is a key of that name, and `force` is not given, or versions would be lost.
            StateError: The key whose place is taken is not enabled.
        """
        backup = key_backup.parse(text)
        made = {version: _public(backup, kept) for version, kept in backup.versions.items()}
        at = KeyAt(mount, check_name(name or backup.name))
        with self._repository.transaction() as tx:
            destroy_due(tx, by, self._now())
            self._make_way(tx, at, backup, force=force)
            is_copy = tx.service_keys.find(backup.id) is not None
            row = tx.service_keys.insert(self._row(at, backup, new_id() if is_copy else backup.id))
            for version, kept in backup.versions.items():
                mek_id, sealed = self._material.seal_key(
                    kept.material, row.id, version, backup.kind
                )
                tx.service_keys.versions.insert(
                    ServiceKeyVersionRow(
                        row.id, version, mek_id, sealed, made[version], kept.created_at
                    )
                )
            by.key_changed(at.shown, "restore", row.latest)
        return Restored(row, is_copy)

    def _make_way(self, tx: Transaction, at: KeyAt, backup: KeyBackup, *, force: bool) -> None:
        found = tx.service_keys.find_by_name(at.mount.id, at.name)
        if found is None:
            return
        if not force:
            raise ConflictError(f'key "{at.name}" already exists')
        check_usable(at.name, found.state)
        is_whole = found.id == backup.id and found.latest <= backup.numbers.latest
        if not is_whole and not found.deletion_allowed:
            raise ConflictError(
                f'key "{at.name}" already exists, has versions that the backup has not,'
                " and its deletion is not allowed"
            )
        tx.service_keys.delete(found.id)

    def _row(self, at: KeyAt, backup: KeyBackup, key_id: str) -> ServiceKeyRow:
        numbers = backup.numbers
        return ServiceKeyRow(
            id=key_id,
            mount_id=at.mount.id,
            name=at.name,
            kind=backup.kind.value,
            created_at=backup.created_at,
            updated_at=self._now(),
            exportable=True,
            deletion_allowed=backup.deletion_allowed,
            backup_allowed=True,
            latest=numbers.latest,
            available=numbers.available,
            to_decrypt=numbers.to_decrypt,
            to_encrypt=numbers.to_encrypt,
        )

    def _now(self) -> str:
        return format_utc(self._clock.now())


def _public(backup: KeyBackup, kept: Kept) -> str:
    """The public part of a version, which proves that its material is one of its kind."""
    is_short = backup.kind is not KeyKind.ECDSA_P256 and len(kept.material) != _SYMMETRIC_BYTES
    try:
        for moment in (backup.created_at, kept.created_at):
            parse_utc(moment)
        public = public_of(backup.kind, kept.material) if not is_short else ""
    except (FormatError, IntegrityError):
        raise UsageError(key_backup.DAMAGED) from None
    if is_short:
        raise UsageError(key_backup.DAMAGED)
    return public
