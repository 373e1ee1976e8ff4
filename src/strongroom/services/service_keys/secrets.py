"""Secrets of services: values by path, with versions (KV v2) or without (KV v1, which keeps the latest alone)."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, NotFoundError, UsageError
from strongroom.repository.service_rows import (
    Json,
    ServiceMountRow,
    ServiceSecretRow,
    ServiceValueRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.material import Material
from strongroom.services.service_keys.mounts import KV_1

MAX_VALUE_BYTES = 1024 * 1024
MAX_PATH_CHARACTERS = 512
DEFAULT_VERSIONS = 10
MOST_VERSIONS = 1000
CAS_FAILED = "check-and-set parameter did not match the current version"
CAS_MISSING = "check-and-set parameter required for this call"
_MISSING = "there is no secret"


class SecretAt(NamedTuple):
    """The path of a secret below a mount."""

    mount: ServiceMountRow
    path: str

    @property
    def shown(self) -> str:
        """The path in events."""
        return f"{self.mount.path}/{self.path}"


@dataclass(frozen=True)
class Given:
    """A version as a reader gets it; without data if it was deleted or destroyed."""

    secret: ServiceSecretRow
    value: ServiceValueRow
    data: Mapping[str, object] | None


class Detailed(NamedTuple):
    """A secret without its values."""

    secret: ServiceSecretRow
    values: list[ServiceValueRow]


class ServiceSecretsService:
    """The use cases of secrets."""

    def __init__(self, repository: Repository, material: Material, clock: Clock) -> None:
        self._repository = repository
        self._material = material
        self._clock = clock

    # ---- values ----------------------------------------------------------------------------------

    def exists(self, at: SecretAt) -> bool:
        """Whether there is a secret, so that a write changes it: an update, and no creation."""
        with self._repository.reading() as tx:
            return tx.service_secrets.find_at(at.mount.id, at.path) is not None

    def read(self, by: By, at: SecretAt, version: int = 0) -> Given:
        """A version of a secret; 0 is the latest.

        Raises:
            NotFoundError: No secret of that version has that path.
        """
        with self._repository.reading() as tx:
            found = self._given(tx, at, version)
        by.secret_read(
            at.shown, "read" if found.data is not None else "read, deleted", found.value.version
        )
        return found

    def write(
        self, by: By, at: SecretAt, data: Mapping[str, object], cas: int | None = None
    ) -> ServiceValueRow:
        """Add a version to a secret, which is made if there is none.

        Args:
            by: The caller.
            at: The secret.
            data: The new value.
            cas: The version that must be the latest; 0 if there must be none; None to write over any.

        Raises:
            UsageError: Another version is the latest, or the value or path is not possible.
        """
        with self._repository.transaction() as tx:
            row = self._added(tx, at, data, cas)
            by.secret_changed(at.shown, "write", row.version)
        return row

    def patch(
        self, by: By, at: SecretAt, data: Mapping[str, object], cas: int | None = None
    ) -> ServiceValueRow:
        """Add a version that is the latest with some members changed: a merge patch (RFC 7396).

        Raises:
            NotFoundError: There is no secret, or its latest version was deleted.
            UsageError: Another version is the latest.
        """
        with self._repository.transaction() as tx:
            found = self._given(tx, at, 0)
            if found.data is None:
                raise NotFoundError(f"{_MISSING} {at.path[:128]!r}", about="secret")
            row = self._added(tx, at, _merged(found.data, data), cas)
            by.secret_changed(at.shown, "patch", row.version)
        return row

    def mark(self, by: By, at: SecretAt, versions: Collection[int], *, deleted: bool) -> None:
        """Delete versions so that they can be taken back, or take them back; without versions: the latest.

        Raises:
            UsageError: A number is no version.
        """
        now = format_utc(self._clock.now())
        with self._repository.transaction() as tx:
            secret = tx.service_secrets.find_at(at.mount.id, at.path)
            chosen = list(versions) or ([secret.latest] if secret is not None else [])
            for row in self._of(tx, at, chosen):
                if not row.destroyed:
                    tx.service_secrets.values.change(row, deleted_at=now if deleted else None)
            newest = max(chosen, default=0)
            by.secret_changed(at.shown, "delete" if deleted else "undelete", newest)

    def destroy(self, by: By, at: SecretAt, versions: Collection[int]) -> None:
        """Remove the values of versions, for good."""
        with self._repository.transaction() as tx:
            for row in self._of(tx, at, versions):
                tx.service_secrets.values.change(row, mek_id="", sealed="", destroyed=True)
            by.secret_changed(at.shown, "destroy", max(versions, default=0))

    def remove(self, by: By, at: SecretAt) -> None:
        """Remove a secret with all its versions, for good."""
        with self._repository.transaction() as tx:
            tx.service_secrets.remove(at.mount.id, at.path)
            by.secret_changed(at.shown, "remove")

    # ---- what is known of them -------------------------------------------------------------------

    def names(self, by: By, at: SecretAt) -> list[str]:
        """The names directly below a path; a folder ends with a slash.

        Raises:
            NotFoundError: Nothing lies there.
        """
        prefix = f"{at.path.strip('/')}/" if at.path.strip("/") else ""
        with self._repository.reading() as tx:
            paths = tx.service_secrets.paths(at.mount.id, prefix)
        if not paths:
            raise NotFoundError("nothing lies there", about="secret")
        by.secret_read(f"{at.mount.path}/{prefix}", "list")
        below = (path[len(prefix) :].partition("/") for path in paths)
        return sorted({head + slash for head, slash, _ in below})

    def details(self, by: By, at: SecretAt) -> Detailed:
        """All about a secret but its values.

        Raises:
            NotFoundError: No secret has that path.
        """
        with self._repository.reading() as tx:
            found = Detailed(
                self._secret(tx, at), tx.service_secrets.values.list(at.mount.id, at.path)
            )
        by.secret_read(at.shown, "read metadata")
        return found

    def set_details(self, by: By, at: SecretAt, options: Json, metadata: Json | None) -> None:
        """Set options and metadata of a secret, which is made without a value if there is none.

        Args:
            by: The caller.
            at: The secret.
            options: `max_versions`, `cas_required`, `delete_after_s`; those that are left out stay.
            metadata: The owner's texts about it, as a whole; None leaves it.
        """
        now = format_utc(self._clock.now())
        with self._repository.transaction() as tx:
            secret = tx.service_secrets.find_at(at.mount.id, at.path)
            if secret is None:
                secret = ServiceSecretRow(at.mount.id, _checked_path(at.path), 0, 0, now, now)
                tx.service_secrets.insert(secret)
            tx.service_secrets.change(
                secret,
                options={**secret.options, **options},
                metadata=dict(secret.metadata if metadata is None else metadata),
                updated_at=now,
            )
            by.secret_changed(at.shown, "write metadata")

    # ---- parts -----------------------------------------------------------------------------------

    def _secret(self, tx: Transaction, at: SecretAt) -> ServiceSecretRow:
        found = tx.service_secrets.find_at(at.mount.id, at.path)
        if found is None:
            raise NotFoundError(f"{_MISSING} {at.path[:128]!r}", about="secret")
        return found

    def _given(self, tx: Transaction, at: SecretAt, version: int) -> Given:
        secret = self._secret(tx, at)
        wanted = version or secret.latest
        value = tx.service_secrets.values.find_version(at.mount.id, at.path, wanted)
        if value is None:
            raise NotFoundError(f"{_MISSING} {at.path[:128]!r} of version {wanted}", about="secret")
        if value.destroyed or self._is_deleted(value):
            return Given(secret, value, None)
        return Given(secret, value, json.loads(self._material.open_value(value).reveal()))

    def _is_deleted(self, value: ServiceValueRow) -> bool:
        return value.deleted_at is not None and value.deleted_at <= format_utc(self._clock.now())

    def _of(
        self, tx: Transaction, at: SecretAt, versions: Collection[int]
    ) -> list[ServiceValueRow]:
        if len(versions) > MOST_VERSIONS:
            raise UsageError(f"at most {MOST_VERSIONS} versions are named at once")
        found = (
            tx.service_secrets.values.find_version(at.mount.id, at.path, one) for one in versions
        )
        return [row for row in found if row is not None]

    def _added(
        self, tx: Transaction, at: SecretAt, data: Mapping[str, object], cas: int | None
    ) -> ServiceValueRow:
        now = self._clock.now()
        at_text = format_utc(now)
        secret = tx.service_secrets.find_at(at.mount.id, at.path)
        options = {**at.mount.options, **({} if secret is None else secret.options)}
        _check_cas(secret, cas, required=bool(options.get("cas_required")))
        if secret is None:
            secret = ServiceSecretRow(at.mount.id, _checked_path(at.path), 0, 0, at_text, at_text)
            tx.service_secrets.insert(secret)
        version = secret.latest + 1
        sealed = self._material.seal_value(_plain(data), at.mount.id, at.path, version)
        after = _number(options, "delete_after_s")
        deleted_at = format_utc(now + timedelta(seconds=after)) if after else None
        row = ServiceValueRow(
            at.mount.id, at.path, version, sealed[0], sealed[1], at_text, deleted_at
        )
        tx.service_secrets.values.insert(row)
        oldest = max(secret.oldest or 1, version - _kept(at.mount, options) + 1)
        tx.service_secrets.values.trim(at.mount.id, at.path, oldest)
        tx.service_secrets.change(secret, latest=version, oldest=oldest, updated_at=at_text)
        return row


def _check_cas(secret: ServiceSecretRow | None, cas: int | None, *, required: bool) -> None:
    if cas is None:
        if required:
            raise UsageError(CAS_MISSING)
        return
    if cas != (0 if secret is None else secret.latest):
        raise UsageError(CAS_FAILED)


def _kept(mount: ServiceMountRow, options: Mapping[str, object]) -> int:
    """How many versions are kept."""
    if mount.kind == KV_1:
        return 1
    return min(_number(options, "max_versions") or DEFAULT_VERSIONS, MOST_VERSIONS)


def _number(options: Mapping[str, object], name: str) -> int:
    found = options.get(name, 0)
    return found if isinstance(found, int) else 0


def _plain(data: Mapping[str, object]) -> SecretBytes:
    plain = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        content = plain.encode()
    except UnicodeEncodeError:
        raise FormatError("a secret holds text that is no UTF-8") from None
    if len(content) > MAX_VALUE_BYTES:
        raise UsageError(f"a secret has at most {MAX_VALUE_BYTES} bytes")
    return SecretBytes(content)


def _merged(old: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    merged = dict(old)
    for name, value in patch.items():
        present = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(present if isinstance(present, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _checked_path(path: str) -> str:
    if not path or len(path) > MAX_PATH_CHARACTERS or not path.isprintable():
        raise UsageError(f"no path of a secret: {path[:60]!r}")
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise UsageError(f"no path of a secret: {path[:60]!r}")
    return path
