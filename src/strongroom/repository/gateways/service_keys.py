"""Service keys with their versions, secrets with their values, and the MEKs under which both are sealed."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, delete, func, or_, select

from strongroom.repository import tables
from strongroom.repository.gateways.base import TableGateway
from strongroom.repository.gateways.guards import MekGuards
from strongroom.repository.service_rows import (
    ServiceKeyRow,
    ServiceKeyVersionRow,
    ServiceMountRow,
    ServiceSecretRow,
    ServiceValueRow,
)
from strongroom.system.compat import override

_KEY = tables.service_keys.c
_VERSION = tables.service_key_versions.c
_SECRET = tables.service_secrets.c
_VALUE = tables.service_values.c


class ServiceMountsTable(TableGateway[ServiceMountRow]):
    """Mounts beside those that are there from the start."""

    table = tables.service_mounts
    row_type = ServiceMountRow
    noun = "mount"
    key = "path"

    def list(self) -> list[ServiceMountRow]:
        """All of them, by path."""
        return self._all(select(self.table).order_by(self.table.c.path))


class ServiceKeysTable(TableGateway[ServiceKeyRow]):
    """Service keys; `versions` has their material."""

    table = tables.service_keys
    row_type = ServiceKeyRow
    noun = "service key"

    @property
    def versions(self) -> "_VersionsTable":
        """The material of all versions."""
        return _VersionsTable(self._connection)

    def find_by_name(self, mount_id: str, name: str) -> ServiceKeyRow | None:
        """The key of that name, in exactly these letters."""
        return self._find(_KEY.mount_id == mount_id, _KEY.name == name)

    def list(self, mount_id: str) -> list[ServiceKeyRow]:
        """The keys of a mount, by name."""
        return self._all(select(self.table).where(_KEY.mount_id == mount_id).order_by(_KEY.name))

    def due(self, now: str) -> Sequence[ServiceKeyRow]:
        """The keys whose waiting time has ended."""
        return self._all(select(self.table).where(_KEY.delete_at <= now))


class _VersionsTable(TableGateway[ServiceKeyVersionRow]):
    table = tables.service_key_versions
    row_type = ServiceKeyVersionRow
    noun = "version of a service key"
    key = "key_id"

    @override
    def insert(self, row: ServiceKeyVersionRow) -> ServiceKeyVersionRow:
        """Insert a version; refused if the MEK that seals it is being retired."""
        MekGuards(self._connection).check_usable(row.mek_id)
        return super().insert(row)

    def find_version(self, key_id: str, version: int) -> ServiceKeyVersionRow | None:
        """A version of a key."""
        return self._find(_VERSION.key_id == key_id, _VERSION.version == version)

    def list(self, key_id: str) -> list[ServiceKeyVersionRow]:
        """The versions of a key, the oldest first."""
        statement = select(self.table).where(_VERSION.key_id == key_id)
        return self._all(statement.order_by(_VERSION.version))

    def trim(self, key_id: str, before: int) -> None:
        """Delete the versions before one."""
        old = (_VERSION.key_id == key_id) & (_VERSION.version < before)
        self._connection.execute(delete(self.table).where(old))


class ServiceSecretsTable(TableGateway[ServiceSecretRow]):
    """Secrets of KV mounts; `values` has what they hold."""

    table = tables.service_secrets
    row_type = ServiceSecretRow
    noun = "secret"
    key = "path"

    @property
    def values(self) -> "_ValuesTable":
        """The versions of all secrets."""
        return _ValuesTable(self._connection)

    def find_at(self, mount_id: str, path: str) -> ServiceSecretRow | None:
        """The secret of a path."""
        return self._find(_SECRET.mount_id == mount_id, _SECRET.path == path)

    def change(self, row: ServiceSecretRow, **changes: object) -> None:
        """Change columns of a secret."""
        self._change((_SECRET.mount_id == row.mount_id) & (_SECRET.path == row.path), changes)

    def paths(self, mount_id: str, prefix: str) -> list[str]:
        """The paths that begin with a text, in order."""
        statement = select(_SECRET.path).where(
            _SECRET.mount_id == mount_id, _SECRET.path.startswith(prefix, autoescape=True)
        )
        found = self._connection.execute(statement).scalars()
        # of SQLite, LIKE does not tell letters of two cases apart
        return sorted(one for one in found if one.startswith(prefix))

    def remove(self, mount_id: str, path: str | None = None) -> None:
        """Delete a secret with all its values; without a path, all of a mount."""
        for table in (tables.service_values, tables.service_secrets):
            statement = delete(table).where(table.c.mount_id == mount_id)
            if path is not None:
                statement = statement.where(table.c.path == path)
            self._connection.execute(statement)


class _ValuesTable(TableGateway[ServiceValueRow]):
    table = tables.service_values
    row_type = ServiceValueRow
    noun = "version of a secret"
    key = "path"

    @override
    def insert(self, row: ServiceValueRow) -> ServiceValueRow:
        """Insert a version; refused if the MEK that seals it is being retired."""
        MekGuards(self._connection).check_usable(row.mek_id)
        return super().insert(row)

    def find_version(self, mount_id: str, path: str, version: int) -> ServiceValueRow | None:
        """A version of a secret."""
        return self._find(
            _VALUE.mount_id == mount_id, _VALUE.path == path, _VALUE.version == version
        )

    def list(self, mount_id: str, path: str) -> list[ServiceValueRow]:
        """The versions of a secret, the oldest first."""
        statement = select(self.table).where(_VALUE.mount_id == mount_id, _VALUE.path == path)
        return self._all(statement.order_by(_VALUE.version))

    def of_no_token(self, mount_id: str, limit: int) -> Sequence[ServiceValueRow]:
        """Some values of a mount whose paths are ids of tokens that do not exist."""
        tokens = select(tables.service_tokens.c.id)
        statement = select(self.table).where(
            _VALUE.mount_id == mount_id, _VALUE.path.not_in(tokens)
        )
        return self._all(statement.limit(limit))

    def change(self, row: ServiceValueRow, **changes: object) -> None:
        """Change columns of a version; refused if the MEK that is to seal it is being retired."""
        MekGuards(self._connection).check_usable(str(changes.get("mek_id", "")))
        same = (_VALUE.mount_id == row.mount_id) & (_VALUE.path == row.path)
        self._change(same & (_VALUE.version == row.version), changes)

    def trim(self, mount_id: str, path: str, before: int) -> None:
        """Delete the versions before one."""
        same = (_VALUE.mount_id == mount_id) & (_VALUE.path == path)
        self._connection.execute(delete(self.table).where(same & (_VALUE.version < before)))


class Sealed(NamedTuple):
    """How much of the services is sealed under a MEK.

    Attributes:
        versions: Versions of keys and of secrets.
        size: Bytes of all of them as they are stored.
    """

    versions: int
    size: int


class ServiceMaterial(ServiceKeysTable):
    """All that is sealed under MEKs, whatever it is."""

    def use(self) -> dict[str, Sealed]:
        """How much each MEK seals."""
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for table in (tables.service_key_versions, tables.service_values):
            mek = table.c.mek_id
            sums = func.count(), func.sum(func.length(table.c.sealed))
            statement = select(mek, *sums).where(mek != "").group_by(mek)
            for mek_id, number, total in self._connection.execute(statement):
                count[mek_id] += number
                size[mek_id] += int(total or 0)
        return {mek_id: Sealed(count[mek_id], size[mek_id]) for mek_id in count}

    def keys_not_under(self, mek_id: str, limit: int) -> list[ServiceKeyVersionRow]:
        """Some versions of keys that other MEKs seal."""
        table = tables.service_key_versions
        # both sides of the index: by "other than", each piece would walk past all that are done
        others = or_(_VERSION.mek_id < mek_id, _VERSION.mek_id > mek_id)
        found = select(table).where(others).limit(limit)
        return self.versions._all(found)  # noqa: SLF001 a neighbour

    def values_not_under(self, mek_id: str, limit: int) -> list[ServiceValueRow]:
        """Some values that other MEKs seal."""
        table = tables.service_values
        others = or_(and_(_VALUE.mek_id > "", _VALUE.mek_id < mek_id), _VALUE.mek_id > mek_id)
        found = select(table).where(others).limit(limit)
        return _ValuesTable(self._connection)._all(found)  # noqa: SLF001 as above

    def change_key(self, row: ServiceKeyVersionRow, mek_id: str, sealed: str) -> None:
        """Store a version under another MEK, which may not be being retired."""
        MekGuards(self._connection).check_usable(mek_id)
        same = (_VERSION.key_id == row.key_id) & (_VERSION.version == row.version)
        self.versions._change(same, {"mek_id": mek_id, "sealed": sealed})  # noqa: SLF001 as above
