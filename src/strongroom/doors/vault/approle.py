"""`auth/approle`: roles, their secret ids, and the sign-in with both."""

from typing import Any

from strongroom.clock import parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault import tokens
from strongroom.doors.vault.role_options import RoleForm
from strongroom.doors.vault.routing import NAME, Call, Route
from strongroom.doors.vault.wire import Answer
from strongroom.errors import NotFoundError, UsageError
from strongroom.repository.service_rows import ServiceSecretIdRow
from strongroom.services.service_keys.mounts import APPROLE

_FORM = RoleForm(
    times=frozenset({"secret_id_ttl", "token_explicit_max_ttl", "token_max_ttl"})
    | {"token_period", "token_ttl"},
    counts=frozenset({"secret_id_num_uses", "token_num_uses"}),
    truths=frozenset({"bind_secret_id", "token_no_default_policy"}),
    names=frozenset({"token_policies"}),
    texts={"token_type": {"default": "default", "service": "service", "": "default"}},
    older={"policies": "token_policies", "period": "token_period"},
    only_empty=frozenset({"secret_id_bound_cidrs", "token_bound_cidrs"})
    | {"local_secret_ids", "enable_local_secret_ids"},
)


def names(call: Call) -> Answer:
    """The names of all roles."""
    found = call.services.service_roles.names(call.by, call.at.path)
    return Answer({"keys": found}) if found else Answer(whole={"errors": []}, status=404)


def read(call: Call) -> Answer:
    """Show a role."""
    return Answer(dict(call.services.service_roles.read(call.by, _name(call)).options))


def write(call: Call) -> Answer:
    """Make or change a role."""
    call.services.service_roles.write(call.by, _name(call), _FORM.read(call.fields))
    return Answer()


def delete(call: Call) -> Answer:
    """Remove a role."""
    call.services.service_roles.delete(call.by, _name(call))
    return Answer()


def read_role_id(call: Call) -> Answer:
    """The id of a role."""
    return Answer({"role_id": call.services.service_roles.read(call.by, _name(call)).role_id})


def write_role_id(call: Call) -> Answer:
    """Give a role an id of the caller's choice."""
    call.services.service_roles.set_role_id(call.by, _name(call), call.fields.text("role_id"))
    return Answer()


def make_secret_id(call: Call) -> Answer:
    """Make a secret id."""
    return _made(call, None)


def make_own_secret_id(call: Call) -> Answer:
    """Make a secret id of the caller's choice."""
    return _made(call, _secret(call))


def secret_ids(call: Call) -> Answer:
    """The accessors of a role's secret ids."""
    return Answer({"keys": call.services.service_roles.secret_ids(call.by, _name(call))})


def look_up(call: Call) -> Answer:
    """Show a secret id, without its secret."""
    found = call.services.service_roles.look_up(call.by, _name(call), secret=_secret(call))
    return Answer() if found is None else Answer(_known(found))


def look_up_accessor(call: Call) -> Answer:
    """Show a secret id, by its accessor."""
    accessor = call.fields.text("secret_id_accessor")
    found = call.services.service_roles.look_up(call.by, _name(call), accessor=accessor)
    if found is None:
        raise NotFoundError(
            "failed to find accessor entry for secret_id_accessor", about="secret id"
        )
    return Answer(_known(found))


def destroy(call: Call) -> Answer:
    """End a secret id."""
    call.services.service_roles.destroy_secret_id(call.by, _name(call), secret=_secret(call))
    return Answer()


def destroy_accessor(call: Call) -> Answer:
    """End a secret id, by its accessor."""
    accessor = call.fields.text("secret_id_accessor")
    call.services.service_roles.destroy_secret_id(call.by, _name(call), accessor=accessor)
    return Answer()


def login(call: Call) -> Answer:
    """A token for a role id and a secret id."""
    role_id = call.fields.text("role_id")
    made = call.services.service_roles.login(
        call.by, call.at.path, role_id, _secret(call), peer=call.request.peer
    )
    return tokens.signed_in(made)


# ---- parts ---------------------------------------------------------------------------------------


def _name(call: Call) -> str:
    return f"{call.at.path}/{call.parts['name']}"


def _secret(call: Call) -> SecretBytes:
    return SecretBytes(call.fields.text("secret_id").encode())


def _made(call: Call, own: SecretBytes | None) -> Answer:
    metadata = call.fields.mapping("metadata")
    if not all(isinstance(one, str) for one in metadata.values()):
        raise UsageError("metadata should hold texts")
    if call.fields.members.get("token_bound_cidrs"):
        raise UsageError("token_bound_cidrs is not understood")
    made = call.services.service_roles.make_secret_id(
        call.by, _name(call), metadata=metadata, cidrs=call.fields.texts("cidr_list"), own=own
    )
    return Answer(
        {
            "secret_id": made.secret.reveal().decode(),
            "secret_id_accessor": made.row.id,
            "secret_id_num_uses": made.row.uses_left,
            "secret_id_ttl": _ttl(made.row),
        }
    )


def _known(row: ServiceSecretIdRow) -> dict[str, object]:
    return {
        "cidr_list": list(row.cidrs),
        "creation_time": row.created_at,
        "expiration_time": row.expires_at or "0001-01-01T00:00:00Z",
        "last_updated_time": row.created_at,
        "metadata": dict(row.metadata),
        "secret_id_accessor": row.id,
        "secret_id_num_uses": row.uses_left,
        "secret_id_ttl": _ttl(row),
        "token_bound_cidrs": [],
    }


def _ttl(row: ServiceSecretIdRow) -> int:
    if row.expires_at is None:
        return 0
    return int((parse_utc(row.expires_at) - parse_utc(row.created_at)).total_seconds())


def _route(operation: str, pattern: str, handle: Any, *, is_open: bool = False) -> Route:
    return Route(APPROLE, operation, pattern, handle, is_open=is_open, folds=NAME in pattern)


ROUTES = (
    _route("write", "login", login, is_open=True),
    _route("list", "role", names),
    _route("read", "role/{name}", read),
    _route("write", "role/{name}", write),
    _route("delete", "role/{name}", delete),
    _route("read", "role/{name}/role-id", read_role_id),
    _route("write", "role/{name}/role-id", write_role_id),
    _route("list", "role/{name}/secret-id", secret_ids),
    _route("write", "role/{name}/secret-id", make_secret_id),
    _route("write", "role/{name}/custom-secret-id", make_own_secret_id),
    _route("write", "role/{name}/secret-id/lookup", look_up),
    _route("write", "role/{name}/secret-id/destroy", destroy),
    _route("delete", "role/{name}/secret-id/destroy", destroy),
    _route("write", "role/{name}/secret-id-accessor/lookup", look_up_accessor),
    _route("write", "role/{name}/secret-id-accessor/destroy", destroy_accessor),
    _route("delete", "role/{name}/secret-id-accessor/destroy", destroy_accessor),
)
