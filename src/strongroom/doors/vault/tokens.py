"""`auth/token`: a token made, looked at, renewed and revoked."""

from dataclasses import replace
from typing import Any

from strongroom.access.service_tokens import seconds
from strongroom.clock import parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault.role_options import RoleForm
from strongroom.doors.vault.routing import NAME, Call, Route
from strongroom.doors.vault.wire import Answer
from strongroom.errors import UsageError
from strongroom.repository.service_rows import ServiceTokenRow
from strongroom.services.service_keys import token_roles
from strongroom.services.service_keys.tokens import Made, Wanted

_UNDERSTOOD = frozenset(
    {"policies", "meta", "no_parent", "no_default_policy", "renewable", "ttl", "lease", "type"}
    | {"explicit_max_ttl", "display_name", "num_uses", "period"}
)
_FORM = RoleForm(
    times=frozenset({"token_period", "token_explicit_max_ttl"}),
    counts=frozenset({"token_num_uses"}),
    truths=frozenset({"orphan", "renewable", "token_no_default_policy"}),
    names=frozenset({"allowed_policies", "disallowed_policies"}),
    texts={
        "path_suffix": {},
        "token_type": {one: one for one in ("service", "default-service", "default", "")},
    },
    older={"period": "token_period", "explicit_max_ttl": "token_explicit_max_ttl"},
    only_empty=frozenset({"allowed_entity_aliases", "allowed_policies_glob"})
    | {"disallowed_policies_glob", "bound_cidrs", "token_bound_cidrs"},
    # the name is that of the path
    passed_over=frozenset({"role_name"}),
)


def create(call: Call) -> Answer:
    """Make a token, which ends with its maker."""
    return _create(call, is_orphan=call.fields.truth("no_parent"))


def create_by_role(call: Call) -> Answer:
    """Make a token as a role says."""
    made = call.services.service_roles.create_token(
        call.by,
        call.parts["name"],
        _wanted(call, is_orphan=call.fields.truth("no_parent")),
        call.caller,
    )
    return signed_in(made)


def create_orphan(call: Call) -> Answer:
    """Make a token that ends with nobody."""
    return _create(call, is_orphan=True, origin="auth/token/create-orphan")


def _create(call: Call, *, is_orphan: bool, origin: str = "auth/token/create") -> Answer:
    wanted = replace(_wanted(call, is_orphan=is_orphan), origin=origin)
    return signed_in(call.services.service_tokens.create(call.by, wanted, call.caller))


def _wanted(call: Call, *, is_orphan: bool) -> Wanted:
    fields = call.fields
    for name in fields.members:
        if name not in _UNDERSTOOD and name in fields:
            raise UsageError(f"{name[:60]} is not understood")
    if fields.text("type", "service") not in {"service", "default", ""}:
        raise UsageError("tokens are of the type service")
    metadata = fields.mapping("meta")
    if not all(isinstance(one, str) for one in metadata.values()):
        raise UsageError("meta should hold texts")
    return Wanted(
        name=f"token-{fields.text('display_name')}" if fields.text("display_name") else "token",
        policies=fields.texts("policies"),
        ttl_s=_seconds(call, "ttl") or _seconds(call, "lease"),
        max_ttl_s=_seconds(call, "explicit_max_ttl"),
        period_s=_seconds(call, "period"),
        uses=fields.number("num_uses"),
        renewable=fields.truth("renewable", default=True),
        is_orphan=is_orphan,
        with_default=not fields.truth("no_default_policy"),
        metadata=metadata,
    )


def look_up(call: Call) -> Answer:
    """Show a token."""
    token = call.services.service_tokens.of_secret(_token(call))
    return _known(call, token, _token(call))


def look_up_self(call: Call) -> Answer:
    """Show the caller's token."""
    return _known(call, call.caller.token, call.request.token)


def look_up_accessor(call: Call) -> Answer:
    """Show a token, by its accessor."""
    token = call.services.service_tokens.of_accessor(call.fields.text("accessor"))
    return _known(call, token, SecretBytes(b""))


def accessors(call: Call) -> Answer:
    """The accessors of all tokens."""
    found = call.services.service_tokens.list()
    call.by.access_read("auth/token/accessors", "list")
    return Answer({"keys": [token.id for token in found]})


def renew(call: Call) -> Answer:
    """Prolong a token."""
    return _renewed(call, call.services.service_tokens.of_secret(_token(call)), _token(call))


def renew_self(call: Call) -> Answer:
    """Prolong the caller's token."""
    return _renewed(call, call.caller.token, call.request.token)


def renew_accessor(call: Call) -> Answer:
    """Prolong a token, by its accessor."""
    token = call.services.service_tokens.of_accessor(call.fields.text("accessor"))
    return _renewed(call, token, SecretBytes(b""))


def revoke(call: Call) -> Answer:
    """End a token and all that it made."""
    return _revoked(call, call.services.service_tokens.of_secret(_token(call)))


def revoke_orphan(call: Call) -> Answer:
    """End a token; what it made stays."""
    token = call.services.service_tokens.of_secret(_token(call))
    call.services.service_tokens.revoke(call.by, token, alone=True)
    return Answer()


def revoke_self(call: Call) -> Answer:
    """End the caller's token."""
    return _revoked(call, call.caller.token)


def revoke_accessor(call: Call) -> Answer:
    """End a token, by its accessor."""
    return _revoked(call, call.services.service_tokens.of_accessor(call.fields.text("accessor")))


def signed_in(made: Made) -> Answer:
    """The answer of whoever gave a token out."""
    return _auth(made.token, made.secret, made.token.ttl_s)


# ---- roles ---------------------------------------------------------------------------------------


def role_names(call: Call) -> Answer:
    """The names of all roles of tokens."""
    found = call.services.service_roles.names(call.by, token_roles.OWN)
    return Answer({"keys": found}) if found else Answer(whole={"errors": []}, status=404)


def read_role(call: Call) -> Answer:
    """Show a role of tokens."""
    found = call.services.service_roles.read(call.by, _role(call))
    return Answer({"name": call.parts["name"], **found.options})


def write_role(call: Call) -> Answer:
    """Make or change a role of tokens."""
    call.services.service_roles.write(call.by, _role(call), _FORM.read(call.fields))
    return Answer()


def delete_role(call: Call) -> Answer:
    """Remove a role of tokens; the tokens that it gave live on until they end."""
    call.services.service_roles.delete(call.by, _role(call))
    return Answer()


def _role(call: Call) -> str:
    return f"{token_roles.OWN}/{call.parts['name']}"


# ---- parts ---------------------------------------------------------------------------------------


def _token(call: Call) -> SecretBytes:
    return SecretBytes(call.fields.text("token").encode())


def _seconds(call: Call, name: str) -> int:
    return seconds(call.fields.members.get(name), name)


def _renewed(call: Call, token: ServiceTokenRow, secret: SecretBytes) -> Answer:
    tokens = call.services.service_tokens
    renewed, valid_s = tokens.renew(call.by, token, _seconds(call, "increment"))
    return _auth(renewed, secret, valid_s)


def _revoked(call: Call, token: ServiceTokenRow) -> Answer:
    call.services.service_tokens.revoke(call.by, token)
    return Answer()


def _auth(token: ServiceTokenRow, secret: SecretBytes, left_s: int) -> Answer:
    return Answer(
        auth={
            "client_token": secret.reveal().decode(),
            "accessor": token.id,
            "policies": list(token.policies),
            "token_policies": list(token.policies),
            "metadata": dict(token.metadata) or None,
            "lease_duration": left_s,
            "renewable": token.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": not token.parent_id,
            "mfa_requirement": None,
            "num_uses": token.uses_left,
        }
    )


def _known(call: Call, token: ServiceTokenRow, secret: SecretBytes) -> Answer:
    call.by.access_read(f"auth/token {token.id}", "look up")
    return Answer(
        {
            "id": secret.reveal().decode(),
            "accessor": token.id,
            "creation_time": int(parse_utc(token.created_at).timestamp()),
            "creation_ttl": token.ttl_s,
            "display_name": token.name,
            "entity_id": "",
            "expire_time": token.expires_at,
            "explicit_max_ttl": token.max_ttl_s,
            "issue_time": token.created_at,
            "meta": dict(token.metadata) or None,
            "num_uses": token.uses_left,
            "orphan": not token.parent_id,
            "path": token.origin,
            "period": token.period_s,
            "policies": list(token.policies),
            "renewable": token.renewable,
            "ttl": call.services.service_tokens.left_s(token),
            "type": "service",
        }
    )


def _route(operation: str, pattern: str, handle: Any, *, sudo: bool = False) -> Route:
    folds = NAME in pattern
    return Route("sys", operation, f"auth/token/{pattern}", handle, sudo=sudo, folds=folds)


ROUTES = (
    _route("write", "create", create),
    _route("list", "roles", role_names),
    _route("write", "roles/{name}", write_role),
    _route("read", "roles/{name}", read_role),
    _route("write", "create/{name}", create_by_role),
    _route("delete", "roles/{name}", delete_role),
    _route("write", "create-orphan", create_orphan, sudo=True),
    _route("list", "accessors", accessors, sudo=True),
    _route("read", "lookup-self", look_up_self),
    _route("write", "lookup-self", look_up_self),
    _route("write", "lookup", look_up),
    _route("write", "lookup-accessor", look_up_accessor),
    _route("write", "renew-self", renew_self),
    _route("write", "renew", renew),
    _route("write", "renew-accessor", renew_accessor),
    _route("write", "revoke-self", revoke_self),
    _route("write", "revoke", revoke),
    _route("write", "revoke-orphan", revoke_orphan, sudo=True),
    _route("write", "revoke-accessor", revoke_accessor),
)
