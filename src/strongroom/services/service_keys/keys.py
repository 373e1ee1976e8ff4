"""Making, changing and removing service keys; what they do with values is in `use`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.crypto import service_algorithms as algorithms
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, StateError, UsageError
from strongroom.eventlog.events import service_key_events
from strongroom.ids import new_id
from strongroom.repository.service_rows import (
    ServiceKeyRow,
    ServiceKeyVersionRow,
    ServiceMountRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.service_keys.model import (
    MAX_VERSIONS,
    MAX_WAITING_DAYS,
    MIN_WAITING_DAYS,
    KeyKind,
    KeyState,
    Versions,
    check_name,
    check_usable,
    missing,
)
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.material import Material
from strongroom.services.service_keys.mounts import OWN_TRANSIT

_BATCH = 200


class KeyAt(NamedTuple):
    """The name of a key below a mount."""

    mount: ServiceMountRow
    name: str

    @property
    def shown(self) -> str:
        """The name in events."""
        return f"{self.mount.path}/{self.name}"


def own(name: str) -> KeyAt:
    """A key of the mount that is there from the start, which commands work on."""
    return KeyAt(OWN_TRANSIT, name)


@dataclass(frozen=True)
class Settings:
    """The settings of a key that may change; None leaves it as it is."""

    to_decrypt: int | None = None
    to_encrypt: int | None = None
    deletion_allowed: bool | None = None
    exportable: bool | None = None
    backup_allowed: bool | None = None


class Shown(NamedTuple):
    """A key with its versions; there is no material in it that is not public."""

    key: ServiceKeyRow
    versions: list[ServiceKeyVersionRow]


class ServiceKeysService:
    """The use cases of the keys themselves."""

    def __init__(self, repository: Repository, material: Material, clock: Clock) -> None:
        self._repository = repository
        self._material = material
        self._clock = clock

    # ---- making and looking ----------------------------------------------------------------------

    def create(
        self,
        by: By,
        at: KeyAt,
        kind: KeyKind,
        *,
        exportable: bool = False,
        backup_allowed: bool = False,
        may_exist: bool = False,
    ) -> ServiceKeyRow:
        """Make a key with a first version.

        Raises:
            UsageError: The name is not possible.
            ConflictError: There is a key of that name.
        """
        check_name(at.name)
        now = self._now()
        with self._repository.transaction() as tx:
            destroy_due(tx, by, now)
            found = tx.service_keys.find_by_name(at.mount.id, at.name)
            if found is not None:
                if not may_exist:
                    raise ConflictError(f"there is a service key {at.name!r} already")
                by.key_changed(at.shown, "create anew, left as it was", found.latest)
                return found
            row = tx.service_keys.insert(
                ServiceKeyRow(
                    id=new_id(),
                    mount_id=at.mount.id,
                    name=at.name,
                    kind=kind.value,
                    created_at=now,
                    updated_at=now,
                    exportable=exportable,
                    backup_allowed=backup_allowed,
                )
            )
            self._add_version(tx, row, 1)
            by.key_changed(at.shown, f"create {kind.value}", 1)
        return row

    def names(self, by: By, mount: ServiceMountRow) -> list[str]:
        """The names of a mount's keys."""
        rows = self.all(mount)
        by.key_used(f"{mount.path}/", "list", count=len(rows))
        return [row.name for row in rows]

    def all(self, mount: ServiceMountRow = OWN_TRANSIT) -> list[ServiceKeyRow]:
        """The keys of a mount, without an event: for whoever owns the node."""
        now = self._now()
        with self._repository.reading() as tx:
            return [row for row in tx.service_keys.list(mount.id) if not is_gone(row, now)]

    def show(self, at: KeyAt, by: By | None = None) -> Shown:
        """A key with its versions.

        Raises:
            NotFoundError: No key has that name.
        """
        with self._repository.reading() as tx:
            row = find(tx, at, self._now())
            shown = Shown(row, tx.service_keys.versions.list(row.id))
        if by is not None:
            by.key_used(at.shown, "read", row.latest)
        return shown

    # ---- changing --------------------------------------------------------------------------------

    def rotate(self, by: By, at: KeyAt) -> ServiceKeyRow:
        """Give a key a new version, which is from now on the one that makes new things.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled, or has too many versions.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            check_usable(at.name, row.state)
            if row.latest >= MAX_VERSIONS:
                raise StateError(f"the key {at.name!r} has {MAX_VERSIONS} versions, the most")
            self._add_version(tx, row, row.latest + 1)
            changed = self._changed(tx, row, latest=row.latest + 1)
            by.key_changed(at.shown, "rotate", changed.latest)
        return changed

    def configure(self, by: By, at: KeyAt, settings: Settings) -> ServiceKeyRow:
        """Set what may be set of a key.

        Raises:
            NotFoundError: No key has that name.
            UsageError: The minima contradict each other; or a permission would be taken back, which cannot be.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            versions = versions_of(row).with_minima(settings.to_decrypt, settings.to_encrypt)
            for name, wanted in (
                ("exportable", settings.exportable),
                ("backup_allowed", settings.backup_allowed),
            ):
                if wanted is False and getattr(row, name):
                    raise UsageError(
                        f"a key that was {name.replace('_', ' ')} cannot be made otherwise:"
                        " nobody knows who has it"
                    )
            changed = self._changed(
                tx,
                row,
                to_decrypt=versions.to_decrypt,
                to_encrypt=versions.to_encrypt,
                exportable=row.exportable or bool(settings.exportable),
                backup_allowed=row.backup_allowed or bool(settings.backup_allowed),
                deletion_allowed=row.deletion_allowed
                if settings.deletion_allowed is None
                else settings.deletion_allowed,
            )
            by.key_changed(at.shown, "configure", changed.latest)
        return changed

    def trim(self, by: By, at: KeyAt, available: int) -> ServiceKeyRow:
        """Remove the versions before one, for good.

        Raises:
            NotFoundError: No key has that name.
            UsageError: A version that is needed would go.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            versions_of(row).trimmed(available)
            tx.service_keys.versions.trim(row.id, available)
            changed = self._changed(tx, row, available=available)
            by.key_changed(at.shown, f"trim to {available}", row.latest)
        return changed

    def set_enabled(self, by: By, at: KeyAt, *, enabled: bool) -> ServiceKeyRow:
        """Let a key be used, or by nobody.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key waits for its deletion.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            if row.state == KeyState.PENDING_DELETION:
                check_usable(at.name, row.state)
            state = KeyState.ENABLED if enabled else KeyState.DISABLED
            changed = self._changed(tx, row, state=state.value)
            by.key_changed(at.shown, "enable" if enabled else "disable", row.latest)
        return changed

    # ---- removing --------------------------------------------------------------------------------

    def delete(self, by: By, at: KeyAt) -> None:
        """Remove a key at once, whose owner allowed that.

        Raises:
            NotFoundError: No key has that name.
            UsageError: The deletion is not allowed.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            if not row.deletion_allowed:
                raise UsageError("deletion is not allowed for this key")
            tx.service_keys.delete(row.id)
            by.key_changed(at.shown, "delete", row.latest)

    def schedule_deletion(self, by: By, at: KeyAt, days: int) -> str:
        """Let nobody use a key for some days, after which it is gone for good; returns that time.

        Raises:
            NotFoundError: No key has that name.
            UsageError: The days are too few or too many.
        """
        if not MIN_WAITING_DAYS <= days <= MAX_WAITING_DAYS:
            raise UsageError(f"a key waits for {MIN_WAITING_DAYS} to {MAX_WAITING_DAYS} days")
        gone_at = format_utc(self._clock.now() + timedelta(days=days))
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            pending = KeyState.PENDING_DELETION.value
            self._changed(tx, row, state=pending, delete_at=gone_at)
            by.key_changed(at.shown, f"schedule deletion at {gone_at}", row.latest)
        return gone_at

    def cancel_deletion(self, by: By, at: KeyAt) -> ServiceKeyRow:
        """Keep a key that waits for its deletion; it stays disabled until it is enabled.

        Raises:
            NotFoundError: No key has that name, or no longer.
            StateError: The key does not wait for its deletion.
        """
        with self._repository.transaction() as tx:
            row = find(tx, at, self._now())
            if row.state != KeyState.PENDING_DELETION:
                raise StateError(f"the key {at.name!r} does not wait for its deletion")
            changed = self._changed(tx, row, state=KeyState.DISABLED.value, delete_at=None)
            by.key_changed(at.shown, "cancel deletion", row.latest)
        return changed

    def remove_due(self, by: By) -> int:
        """Remove the keys whose waiting time has ended, each with its certificate in the event log; returns how many.

        Raises:
            StorageError: The certificate cannot be written; the keys stay until it can.
        """
        with self._repository.reading() as tx:
            if not tx.service_keys.due(self._now()):
                return 0
        with self._repository.transaction() as tx:
            return destroy_due(tx, by, self._now())

    # ---- under another MEK -----------------------------------------------------------------------

    def reseal(self, by: By) -> tuple[int, int]:
        """Bring all material, and all secrets, under the active MEK; returns how many versions of each changed."""
        keys = values = 0
        while True:
            with self._repository.transaction() as tx:
                mek_id = self._material.active_mek
                old_keys = tx.service_material.keys_not_under(mek_id, _BATCH)
                old_values = tx.service_material.values_not_under(mek_id, _BATCH)
                if not old_keys and not old_values:
                    by.record(
                        service_key_events.service_keys_resealed(
                            by.actor, keys=keys, values=values, mek_id=mek_id
                        )
                    )
                    return keys, values
                for key in old_keys:
                    kind = tx.service_keys.get(key.key_id).kind
                    plain = self._material.open_key(key, kind)
                    made = self._material.seal_key(plain, key.key_id, key.version, kind)
                    tx.service_material.change_key(key, *made)
                for value in old_values:
                    plain = self._material.open_value(value)
                    made = self._material.seal_value(
                        plain, value.mount_id, value.path, value.version
                    )
                    tx.service_secrets.values.change(value, mek_id=made[0], sealed=made[1])
                keys, values = keys + len(old_keys), values + len(old_values)

    # ---- parts -----------------------------------------------------------------------------------

    def _add_version(self, tx: Transaction, row: ServiceKeyRow, version: int) -> None:
        kind = KeyKind(row.kind)
        key = new_material(kind)
        mek_id, sealed = self._material.seal_key(key, row.id, version, kind)
        tx.service_keys.versions.insert(
            ServiceKeyVersionRow(row.id, version, mek_id, sealed, public_of(kind, key), self._now())
        )

    def _changed(self, tx: Transaction, row: ServiceKeyRow, **changes: object) -> ServiceKeyRow:
        return tx.service_keys.update(row.id, updated_at=self._now(), **changes)

    def _now(self) -> str:
        return format_utc(self._clock.now())


def find(tx: Transaction, at: KeyAt, now: str) -> ServiceKeyRow:
    """The row of a key.

    Raises:
        NotFoundError: No key has that name, or its waiting time has ended.
    """
    row = tx.service_keys.find_by_name(at.mount.id, at.name)
    if row is None or is_gone(row, now):
        raise missing(at.name)
    return row


def destroy_due(tx: Transaction, by: By, now: str) -> int:
    """Remove the rows of keys whose waiting time has ended, each with its certificate; returns how many."""
    due = tx.service_keys.due(now)
    for row in due:
        versions = tx.service_keys.versions.list(row.id)
        tx.service_keys.delete(row.id)
        by.record(
            service_key_events.service_key_destroyed(
                by.actor,
                row.name,
                key_id=row.id,
                versions=len(versions),
                meks=" ".join(sorted({one.mek_id for one in versions})),
                due=row.delete_at or "",
            )
        )
    return len(due)


def is_gone(row: ServiceKeyRow, now: str) -> bool:
    """Whether the waiting time of a key has ended; its row goes with the next key that is made."""
    return row.delete_at is not None and row.delete_at <= now


def versions_of(row: ServiceKeyRow) -> Versions:
    """The numbers of a key."""
    return Versions(row.latest, row.available, row.to_decrypt, row.to_encrypt)


def new_material(kind: KeyKind) -> SecretBytes:
    """Fresh material of a kind."""
    return algorithms.new_p256() if kind is KeyKind.ECDSA_P256 else algorithms.new_symmetric()


def public_of(kind: KeyKind, key: SecretBytes) -> str:
    """The public part of some material; empty where there is none."""
    if kind is KeyKind.ED25519:
        return algorithms.public_ed25519(key)
    return algorithms.public_p256(key) if kind is KeyKind.ECDSA_P256 else ""
