"""Roles: a program signs in with a role id and a secret id, and gets a token (AppRole)."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from strongroom.access import acl, service_tokens
from strongroom.clock import Clock, format_utc, is_future, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, NotFoundError, UsageError
from strongroom.ids import new_id
from strongroom.repository.service_rows import Json, ServiceRoleRow, ServiceSecretIdRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.service_keys.model import check_name
from strongroom.services.service_keys import token_roles
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.tokens import (
    MAX_POLICIES,
    Caller,
    Made,
    ServiceTokensService,
    Wanted,
    check_lasting,
    check_metadata,
)

DEFAULTS: Mapping[str, object] = {
    "bind_secret_id": True,
    "local_secret_ids": False,
    "secret_id_bound_cidrs": None,
    "secret_id_num_uses": 0,
    "secret_id_ttl": 0,
    "token_bound_cidrs": [],
    "token_explicit_max_ttl": 0,
    "token_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_policies": [],
    "token_ttl": 0,
    "token_type": "default",
}
"""The options of a role, with the values that stand where nothing was said."""
OWN = "auth/approle"
"""The mount of roles that is there from the start. A role's name has its mount before it: `auth/approle/web`."""
_REFUSED = "invalid role or secret ID"
MAX_OWN_ID = 256


class MadeSecretId(NamedTuple):
    """A new secret id."""

    row: ServiceSecretIdRow
    secret: SecretBytes


class ServiceRolesService:
    """The use cases of roles."""

    def __init__(self, repository: Repository, tokens: ServiceTokensService, clock: Clock) -> None:
        self._repository = repository
        self._tokens = tokens
        self._clock = clock

    def write(self, by: By, name: str, options: Json) -> ServiceRoleRow:
        """Make a role, or change what is said of it.

        Raises:
            UsageError: The name is not possible, or the role would give the policy `root`.
        """
        clean = _kept(name)
        check_name(clean.rpartition("/")[2])
        is_of_tokens = clean.startswith(f"{token_roles.OWN}/")
        if is_of_tokens:
            token_roles.check(options)
        policies = options.get("token_policies", [])
        if isinstance(policies, list) and acl.ROOT in policies:
            raise UsageError("a role cannot give the policy 'root'")
        _check_policies(options)
        with self._repository.transaction() as tx:
            found = tx.service_roles.find(clean)
            if found is None:
                merged = {**(token_roles.DEFAULTS if is_of_tokens else DEFAULTS), **options}
                now = format_utc(self._clock.now())
                row = tx.service_roles.insert(ServiceRoleRow(clean, new_id(), now, merged))
            else:
                row = tx.service_roles.update(clean, options={**found.options, **options})
            by.access_changed(clean, "write")
        return row

    def set_role_id(self, by: By, name: str, role_id: str) -> None:
        """Give a role an id of somebody's choice.

        Raises:
            NotFoundError: No role has that name.
            UsageError: The id is not possible.
            ConflictError: Another role has it.
        """
        if not 0 < len(role_id) <= MAX_OWN_ID or not role_id.isprintable():
            raise UsageError("no id of a role")
        with self._repository.transaction() as tx:
            row = self._found(tx, name)
            tx.service_roles.update(row.name, role_id=role_id)
            by.access_changed(row.name, "set the role id")

    def read(self, by: By, name: str) -> ServiceRoleRow:
        """A role.

        Raises:
            NotFoundError: No role has that name.
        """
        with self._repository.reading() as tx:
            row = self._found(tx, name)
        by.access_read(row.name, "read")
        return row

    def names(self, by: By, mount: str = OWN) -> list[str]:
        """The names of a mount's roles, without the mount."""
        with self._repository.reading() as tx:
            rows = tx.service_roles.list(f"{mount}/")
        by.access_read(mount, "list roles")
        return [row.name.removeprefix(f"{mount}/") for row in rows]

    def delete(self, by: By, name: str) -> None:
        """Remove a role and its secret ids; tokens that it gave live on until they end."""
        with self._repository.transaction() as tx:
            tx.service_roles.delete(_kept(name))
            by.access_changed(_kept(name), "delete")

    def create_token(self, by: By, name: str, wanted: Wanted, maker: Caller) -> Made:
        """Make a token by a role of tokens, which may give what the maker has not.

        Raises:
            UsageError: No such role is there, or it does not give what is wanted.
            PermissionDeniedError: The maker has not all of the wanted policies, and the role does not give them; or the
                maker wants a period of its own without `sudo` at the path.
        """
        name = name.lower()
        check_lasting(maker, f"auth/token/create/{name}", replace(wanted, is_orphan=False))
        with self._repository.reading() as tx:
            role = tx.service_roles.find(f"{token_roles.OWN}/{name}")
        if role is None:
            raise UsageError(f"unknown role {name[:128]}")
        return self._tokens.create(by, token_roles.applied(role, wanted), maker)

    # ---- secret ids ------------------------------------------------------------------------------

    def make_secret_id(
        self,
        by: By,
        name: str,
        *,
        metadata: Mapping[str, str],
        cidrs: Sequence[str] = (),
        own: SecretBytes | None = None,
    ) -> MadeSecretId:
        """Make a secret id of a role.

        Args:
            by: The caller.
            name: The role.
            metadata: Texts that the tokens of the secret id carry.
            cidrs: The networks from which it signs in; empty for any.
            own: A secret of the caller's choice; None makes one.

        Raises:
            NotFoundError: No role has that name.
            UsageError: The caller's own secret, a network or the metadata are not possible.
        """
        # the tokens say the role's name as well
        check_metadata({**metadata, "role_name": name.rpartition("/")[2]})
        if own is not None and not 0 < len(own) <= MAX_OWN_ID:
            raise UsageError("no secret id")
        secret = own or service_tokens.new_secret_id()
        now = self._clock.now()
        with self._repository.transaction() as tx:
            role = self._found(tx, name)
            tx.service_secret_ids.remove_expired(format_utc(now))
            ttl = _number(role, "secret_id_ttl")
            row = ServiceSecretIdRow(
                id=new_id(),
                secret_hash=service_tokens.hash_of(secret),
                role=role.name,
                created_at=format_utc(now),
                expires_at=format_utc(now + timedelta(seconds=ttl)) if ttl else None,
                uses_left=_number(role, "secret_id_num_uses"),
                metadata=dict(metadata),
                cidrs=[_network(one) for one in cidrs],
            )
            tx.service_secret_ids.insert(row)
            by.access_changed(f"{role.name} {row.id}", "make a secret id")
        return MadeSecretId(row, secret)

    def secret_ids(self, by: By, name: str) -> list[str]:
        """The accessors of a role's secret ids.

        Raises:
            NotFoundError: No role has that name, or it has no secret id.
        """
        with self._repository.reading() as tx:
            found = tx.service_secret_ids.list(self._found(tx, name).name)
        if not found:
            raise NotFoundError("the role has no secret id", about="secret id")
        by.access_read(name, "list secret ids")
        return [row.id for row in found]

    def look_up(
        self, by: By, name: str, *, accessor: str = "", secret: SecretBytes | None = None
    ) -> ServiceSecretIdRow | None:
        """A secret id of a role, by its accessor or by itself; None if the role has no such one.

        Raises:
            NotFoundError: No role has that name.
        """
        with self._repository.reading() as tx:
            row = self._secret_id(tx, name, accessor, secret)
        by.access_read(name, "look up a secret id")
        return row

    def destroy_secret_id(
        self, by: By, name: str, *, accessor: str = "", secret: SecretBytes | None = None
    ) -> None:
        """End a secret id, by its accessor or by itself.

        Raises:
            NotFoundError: No role has that name.
        """
        with self._repository.transaction() as tx:
            row = self._secret_id(tx, name, accessor, secret)
            if row is not None:
                tx.service_secret_ids.delete(row.id)
            by.access_changed(name, "destroy a secret id")

    # ---- signing in ------------------------------------------------------------------------------

    def login(self, by: By, mount: str, role_id: str, secret: SecretBytes, *, peer: str) -> Made:
        """A token for whoever knows the two ids of a role.

        Args:
            by: The caller.
            mount: The mount of the role.
            role_id: The one id.
            secret: The other one.
            peer: The address of the caller.

        Raises:
            AuthenticationError: The ids are not those of a role; the error does not say which is wrong.
        """
        with self._repository.reading() as tx:
            # a stranger, who knows no ids, neither waits for other writers nor keeps them waiting
            self._secret_id_of(tx, self._signing_in(tx, mount, role_id), secret, peer)
        with self._repository.transaction() as tx:
            # in one transaction: no use of a secret id is taken for which no token is given
            role = self._signing_in(tx, mount, role_id)
            wanted = self._wanted(role, mount, self._used(tx, role, secret, peer))
            return self._tokens.create_in(tx, replace(by, actor=f"service:{wanted.name}"), wanted)

    def _signing_in(self, tx: Transaction, mount: str, role_id: str) -> ServiceRoleRow:
        role = tx.service_roles.find_by_role_id(role_id)
        if role is None or not role.name.startswith(f"{mount}/"):
            raise AuthenticationError(_REFUSED)
        return role

    def _wanted(self, role: ServiceRoleRow, mount: str, metadata: Mapping[str, str]) -> Wanted:
        """The token that a role gives."""
        name = role.name.rpartition("/")[2]
        policies, period = role.options.get("token_policies", []), _number(role, "token_period")
        longest = 0 if period else _number(role, "token_max_ttl")
        return Wanted(
            name=f"approle-{name}",
            policies=[str(one) for one in policies] if isinstance(policies, list) else [],
            ttl_s=_number(role, "token_ttl"),
            max_ttl_s=token_roles.fewest(_number(role, "token_explicit_max_ttl"), longest),
            period_s=period,
            uses=_number(role, "token_num_uses"),
            with_default=not role.options.get("token_no_default_policy"),
            is_orphan=True,
            metadata={**metadata, "role_name": name},
            origin=f"{mount}/login",
        )

    def _used(
        self, tx: Transaction, role: ServiceRoleRow, secret: SecretBytes, peer: str
    ) -> dict[str, str]:
        """Count a use of a secret id; returns its metadata."""
        row = self._secret_id_of(tx, role, secret, peer)
        if row is None:
            return {}
        if row.uses_left == 1:
            tx.service_secret_ids.delete(row.id)
        elif row.uses_left:
            tx.service_secret_ids.update(row.id, uses_left=row.uses_left - 1)
        return {name: str(value) for name, value in row.metadata.items()}

    def _secret_id_of(
        self, tx: Transaction, role: ServiceRoleRow, secret: SecretBytes, peer: str
    ) -> ServiceSecretIdRow | None:
        """The secret id of a sign-in; None for a role that wants none."""
        if not role.options.get("bind_secret_id", True):
            return None
        row = tx.service_secret_ids.find_by_hash(service_tokens.hash_of(secret))
        now = self._clock.now()
        if row is None or row.role != role.name or (row.expires_at or "~") <= format_utc(now):
            raise AuthenticationError(_REFUSED)
        if is_future(
            parse_utc(row.created_at), now
        ):  # the clock was set back since, and the end would come as late (R13)
            raise AuthenticationError(_REFUSED)
        if row.cidrs and not _is_within(peer, row.cidrs):
            raise AuthenticationError(_REFUSED)
        return row

    # ---- parts -----------------------------------------------------------------------------------

    def _found(self, tx: Transaction, name: str) -> ServiceRoleRow:
        row = tx.service_roles.find(_kept(name))
        if row is None:
            raise NotFoundError(f"there is no role {name[:128]!r}", about="role")
        return row

    def _secret_id(
        self, tx: Transaction, name: str, accessor: str, secret: SecretBytes | None
    ) -> ServiceSecretIdRow | None:
        role = self._found(tx, name)
        row = (
            tx.service_secret_ids.find(accessor)
            if secret is None
            else tx.service_secret_ids.find_by_hash(service_tokens.hash_of(secret))
        )
        return row if row is not None and row.role == role.name else None


def _kept(name: str) -> str:
    """The name as its row has it: the role's own in lower case, and its mount as that is written.

    A role of the mount `auth/Token` would be one of tokens otherwise, and one of `auth/Web` one of `auth/web`.
    """
    mount, slash, own = name.rpartition("/")
    return f"{mount}{slash}{own.lower()}"


def _check_policies(options: Json) -> None:
    """Refuse policies now with which no token could be made later."""
    for name in ("token_policies", "allowed_policies", "disallowed_policies"):
        given = options.get(name, [])
        if not isinstance(given, list):
            continue
        for one in given:
            check_name(str(one))
        if name == "token_policies" and len({*given, acl.DEFAULT}) > MAX_POLICIES:
            raise UsageError(f"a token has at most {MAX_POLICIES} policies")


def _number(role: ServiceRoleRow, name: str) -> int:
    found = role.options.get(name, 0)
    return found if isinstance(found, int) else 0


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise UsageError(f"no network: {text[:60]!r}", hint="write 10.0.0.0/8") from None


def _is_within(peer: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(one) for one in networks)
