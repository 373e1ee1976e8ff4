"""Programs that use service keys and values: policies, tokens, roles and their secret ids."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select

from strongroom.repository import tables
from strongroom.repository.gateways.base import TableGateway
from strongroom.repository.service_rows import (
    ServicePolicyRow,
    ServiceRoleRow,
    ServiceSecretIdRow,
    ServiceTokenRow,
)

_TOKEN = tables.service_tokens.c
_SECRET = tables.service_secret_ids.c


class ServicePoliciesTable(TableGateway[ServicePolicyRow]):
    """Policies."""

    table = tables.service_policies
    row_type = ServicePolicyRow
    noun = "policy"
    key = "name"

    def list(self) -> list[ServicePolicyRow]:
        """All of them, by name."""
        return self._all(select(self.table).order_by(self.table.c.name))

    def named(self, names: Collection[str]) -> Sequence[ServicePolicyRow]:
        """The policies of some names that exist."""
        return self._all(select(self.table).where(self.table.c.name.in_(names)))


class ServiceTokensTable(TableGateway[ServiceTokenRow]):
    """Tokens of services."""

    table = tables.service_tokens
    row_type = ServiceTokenRow
    noun = "token"

    def find_by_hash(self, secret_hash: str) -> ServiceTokenRow | None:
        """The token whose secret has that hash."""
        return self._find(_TOKEN.secret_hash == secret_hash)

    def children(self, parent_id: str) -> list[ServiceTokenRow]:
        """The tokens that a token made."""
        return self._all(select(self.table).where(_TOKEN.parent_id == parent_id))

    def list(self) -> list[ServiceTokenRow]:
        """All of them, the oldest first."""
        return self._all(select(self.table).order_by(_TOKEN.created_at, _TOKEN.id))

    def expired(self, now: str, limit: int) -> Sequence[ServiceTokenRow]:
        """Some tokens whose time has ended."""
        return self._all(select(self.table).where(_TOKEN.expires_at <= now).limit(limit))

    def use_once(self, token: ServiceTokenRow) -> bool:
        """Count a use of a token that has a number of them; False if somebody else had the last one."""
        same = (_TOKEN.id == token.id) & (_TOKEN.uses_left == token.uses_left)
        return self._change(same, {"uses_left": token.uses_left - 1}) == 1


class ServiceRolesTable(TableGateway[ServiceRoleRow]):
    """Roles."""

    table = tables.service_roles
    row_type = ServiceRoleRow
    noun = "role"
    key = "name"

    def find_by_role_id(self, role_id: str) -> ServiceRoleRow | None:
        """The role of a role id."""
        return self._find(self.table.c.role_id == role_id)

    def list(self, prefix: str) -> list[ServiceRoleRow]:
        """The roles whose names begin with a text, by name."""
        named = self.table.c.name.startswith(prefix, autoescape=True)
        found = self._all(select(self.table).where(named).order_by(self.table.c.name))
        return [row for row in found if row.name.startswith(prefix)]


class ServiceSecretIdsTable(TableGateway[ServiceSecretIdRow]):
    """Secret ids of roles."""

    table = tables.service_secret_ids
    row_type = ServiceSecretIdRow
    noun = "secret id"

    def find_by_hash(self, secret_hash: str) -> ServiceSecretIdRow | None:
        """The secret id of that hash."""
        return self._find(_SECRET.secret_hash == secret_hash)

    def list(self, role: str) -> list[ServiceSecretIdRow]:
        """The secret ids of a role."""
        statement = select(self.table).where(_SECRET.role == role)
        return self._all(statement.order_by(_SECRET.created_at, _SECRET.id))

    def remove_expired(self, now: str) -> None:
        """Delete those whose time has ended."""
        self._connection.execute(delete(self.table).where(_SECRET.expires_at <= now))
