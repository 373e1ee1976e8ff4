"""`sys/`: health, mounts, policies, what a token may do, and wrapped answers."""

import re
import time
from typing import Any

from strongroom.access import acl
from strongroom.access.service_tokens import seconds
from strongroom.clock import parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault.routing import NAME, Call, Route
from strongroom.doors.vault.wire import Answer, rendered
from strongroom.errors import StrongroomError, UsageError
from strongroom.repository.service_rows import ServiceMountRow, ServiceTokenRow
from strongroom.services.service_keys.mounts import APPROLE, AUTH, KV_1, KV_2, TRANSIT
from strongroom.system.version import VERSION

_LONGEST_S = 32 * 86_400
_TUNE = "/tune"
_LEASES = ("default_lease_ttl", "max_lease_ttl")
_TUNED = frozenset({"description", "options", *_LEASES})
_HEALTHY, _SEALED = 200, 503
_STATUS = re.compile(r"[2-5][0-9]{2}")


# ---- what needs no token -------------------------------------------------------------------------


def health(call: Call) -> Answer:
    """Whether the node is able to do its work; nothing is recorded, since probes ask every second."""
    sealed = _is_sealed(call)
    wanted = call.request.query.get("sealedcode" if sealed else "activecode", "")
    status = int(wanted) if _STATUS.fullmatch(wanted) else 0
    state = {
        "initialized": True,
        "sealed": sealed,
        "standby": False,
        "performance_standby": False,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": int(time.time()),
        "version": VERSION,
        "cluster_name": "strongroom",
    }
    return Answer(whole=state, status=status or (_SEALED if sealed else _HEALTHY))


def seal_status(call: Call) -> Answer:
    """The same in another form: nobody unseals a node by shares, its root does."""
    return Answer(
        whole={
            "type": "strongroom",
            "initialized": True,
            "sealed": _is_sealed(call),
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": VERSION,
            "migration": False,
            "recovery_seal": False,
            "storage_type": "strongroom",
        }
    )


def initialized(call: Call) -> Answer:
    """A node that answers was initialised."""
    del call
    return Answer(whole={"initialized": True})


def leader(call: Call) -> Answer:
    """Every node answers for itself."""
    del call
    return Answer(whole={"ha_enabled": False, "is_self": True, "leader_address": ""})


def _is_sealed(call: Call) -> bool:
    try:
        call.services.readiness.check()
    except StrongroomError:
        return True
    return False


# ---- mounts --------------------------------------------------------------------------------------


def mounts(call: Call) -> Answer:
    """All mounts of keys and secrets."""
    return _listed(call, sign_in=False)


def sign_ins(call: Call) -> Answer:
    """All mounts of sign-ins."""
    return _listed(call, sign_in=True)


def read_mount(call: Call) -> Answer:
    """Show a mount, or its settings."""
    path = call.parts["path"]
    mount = call.services.service_mounts.read(call.by, path.removesuffix(_TUNE))
    if path.endswith(_TUNE):
        found = {
            **_settings(mount),
            "description": mount.description,
            "options": _options(mount),
        }
    else:
        found = _described(mount)
    return Answer(found, beside=found)


def read_visible(call: Call) -> Answer:
    """The mount of a path, as the command line of Vault asks before it writes a secret."""
    mount, _ = call.services.service_mounts.find(call.parts["path"])
    call.by.access_read(f"sys/mounts/{mount.path}", "read")
    return Answer({**_described(mount), "path": f"{mount.path}/"})


def enable_mount(call: Call) -> Answer:
    """Make a mount, or change the settings of one."""
    path = call.parts["path"]
    if path.endswith(_TUNE):
        return _tune(call, path.removesuffix(_TUNE))
    fields = call.fields
    kind = fields.text("type")
    options = fields.mapping("options")
    version = str(options.get("version") or fields.mapping("config").get("version") or "1")
    if kind == "transit":
        found = TRANSIT
    elif kind in {"kv", "kv-v2"} and version in {"1", "2"}:
        found = KV_2 if version == "2" or kind == "kv-v2" else KV_1
    else:
        raise UsageError(f"plugin not found in the catalog: {kind[:40]!r}; known: transit, kv")
    call.services.service_mounts.enable(call.by, path, found, fields.text("description"), {})
    return Answer()


def disable_mount(call: Call) -> Answer:
    """Remove a mount with all that lies below it."""
    call.services.service_mounts.disable(call.by, call.parts["path"])
    return Answer()


def enable_sign_in(call: Call) -> Answer:
    """Make a mount of roles."""
    kind, fields = call.fields.text("type"), call.fields
    if kind != APPROLE:
        raise UsageError(f"plugin not found in the catalog: {kind[:40]!r}; known: {APPROLE}")
    path = f"{AUTH}{call.parts['path']}"
    call.services.service_mounts.enable(call.by, path, APPROLE, fields.text("description"), {})
    return Answer()


def disable_sign_in(call: Call) -> Answer:
    """Remove a mount of roles with its roles."""
    call.services.service_mounts.disable(call.by, f"{AUTH}{call.parts['path']}")
    return Answer()


def _tune(call: Call, path: str) -> Answer:
    """Take settings that a mount has already: none of them can be changed, and a client must not believe otherwise."""
    fields = call.fields
    for name in fields.members:
        if name not in _TUNED:
            raise UsageError(f"{name[:60]} is not understood")
    mount, _ = call.services.service_mounts.find(path)
    for name in _LEASES:
        if seconds(fields.members.get(name), name) not in {0, _LONGEST_S}:
            raise UsageError(f"{name} stays: no other is kept here")
    options = _options(mount) or {}
    for name, value in fields.mapping("options").items():
        if str(value) != options.get(name):
            raise UsageError(f"the option {name[:60]!r} of a mount stays as it was made")
    if "description" in fields and fields.text("description") != mount.description:
        raise UsageError("the description of a mount stays as it was made")
    call.services.service_mounts.change(call.by, path)
    return Answer()


def _listed(call: Call, *, sign_in: bool) -> Answer:
    found = {
        f"{mount.path.removeprefix(AUTH)}/": _described(mount)
        for mount in call.services.service_mounts.list(call.by)
        if mount.path.startswith(AUTH) is sign_in
    }
    return Answer(found, beside=found)


def _described(mount: ServiceMountRow) -> dict[str, object]:
    kind = "kv" if mount.kind in {KV_1, KV_2} else mount.kind
    return {
        "accessor": f"{kind}_{mount.id[:8]}",
        "config": _settings(mount),
        "description": mount.description,
        "external_entropy_access": False,
        "options": _options(mount),
        "seal_wrap": False,
        "type": kind,
        "uuid": mount.id,
    }


def _settings(mount: ServiceMountRow) -> dict[str, object]:
    del mount
    return {"default_lease_ttl": _LONGEST_S, "max_lease_ttl": _LONGEST_S, "force_no_cache": False}


def _options(mount: ServiceMountRow) -> dict[str, str] | None:
    return {KV_1: {"version": "1"}, KV_2: {"version": "2"}}.get(mount.kind)


# ---- policies ------------------------------------------------------------------------------------


def policies(call: Call) -> Answer:
    """The names of all policies."""
    found = call.services.service_policies.names(call.by)
    return Answer({"keys": found, "policies": found}, beside={"keys": found, "policies": found})


def read_policy(call: Call) -> Answer:
    """The text of a policy."""
    name = call.parts["name"]
    text = call.services.service_policies.read(call.by, name)
    return Answer({"name": name, "policy": text})


def read_older_policy(call: Call) -> Answer:
    """The text of a policy, for older clients."""
    name = call.parts["name"]
    found = {"name": name, "rules": call.services.service_policies.read(call.by, name)}
    return Answer(found, beside=found)


def write_policy(call: Call) -> Answer:
    """Write a policy."""
    text = call.fields.text("policy") or call.fields.text("rules")
    if not text:
        raise UsageError("'policy' parameter not supplied or empty")
    call.services.service_policies.write(call.by, call.parts["name"], text)
    return Answer()


def delete_policy(call: Call) -> Answer:
    """Delete a policy."""
    call.services.service_policies.delete(call.by, call.parts["name"])
    return Answer()


def capabilities(call: Call) -> Answer:
    """List the capabilities of the caller at some paths, as a call of each would be judged."""
    paths = call.fields.texts("paths") or call.fields.texts("path")
    if not paths:
        raise UsageError("missing paths")
    rules = call.caller.acl
    found: dict[str, object] = {}
    for path in paths:
        may = sorted(call.may_at(path.strip("/")))
        found[path] = [acl.ROOT] if rules.is_root else [one.value for one in may] or ["deny"]
    call.by.access_read("sys/capabilities-self", "read")
    found["capabilities"] = found[paths[0]]
    return Answer(found, beside=found)


# ---- wrapped answers -----------------------------------------------------------------------------


def wrap(call: Call) -> Answer:
    """Give the body back, to be wrapped by whoever wraps answers."""
    if not call.request.wrap_ttl:
        raise UsageError("endpoint requires response wrapping to be used")
    call.by.access_read("sys/wrapping", "wrap")
    return Answer(call.fields.members)


def unwrap(call: Call) -> Answer:
    """A wrapped answer, for the token that is in the body, or that asks."""
    found = call.services.service_wrapping.unwrap(call.by, _wrapping_token(call))
    return Answer(whole=found.reveal())


def look_up_wrapped(call: Call) -> Answer:
    """Show a wrapped answer without opening it."""
    token = call.services.service_wrapping.look_up(call.by, _wrapping_token(call))
    return Answer(
        {
            "creation_path": token.metadata.get("creation_path", ""),
            "creation_time": token.created_at,
            "creation_ttl": token.ttl_s,
        }
    )


def wrapped(answer: Answer, call: Call, ttl_s: int) -> Answer:
    """An answer kept for another reader, in place of the answer itself."""
    made = call.services.service_wrapping.wrap(
        SecretBytes(answer.body() or rendered({})), ttl_s, call.request.path
    )
    accessor = answer.auth.get("accessor", "") if answer.auth is not None else ""
    return Answer(wrap_info=_info(made.token, made.secret, call.request.path, accessor))


def _info(
    token: ServiceTokenRow, secret: SecretBytes, path: str, accessor: object
) -> dict[str, object]:
    return {
        "token": secret.reveal().decode(),
        "accessor": token.id,
        "ttl": token.ttl_s,
        "creation_time": parse_utc(token.created_at).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "creation_path": path,
        "wrapped_accessor": accessor,
    }


def _wrapping_token(call: Call) -> SecretBytes:
    given = call.fields.text("token")
    return SecretBytes(given.encode()) if given else call.request.token


def _route(
    operation: str, pattern: str, handle: Any, *, is_open: bool = False, sudo: bool = False
) -> Route:
    folds = NAME in pattern
    return Route("sys", operation, f"sys/{pattern}", handle, is_open, sudo, folds=folds)


ROUTES = (
    _route("read", "health", health, is_open=True),
    _route("read", "seal-status", seal_status, is_open=True),
    _route("read", "init", initialized, is_open=True),
    _route("read", "leader", leader, is_open=True),
    _route("read", "mounts", mounts),
    _route("read", "mounts/{path*}", read_mount),
    _route("write", "mounts/{path*}", enable_mount),
    _route("delete", "mounts/{path*}", disable_mount),
    _route("read", "internal/ui/mounts/{path*}", read_visible),
    _route("read", "auth", sign_ins),
    # with `sudo`, as Vault has it: a policy that moves here opens no more than it did there
    _route("write", "auth/{path*}", enable_sign_in, sudo=True),
    _route("delete", "auth/{path*}", disable_sign_in, sudo=True),
    _route("list", "policies/acl", policies),
    _route("read", "policies/acl", policies),
    _route("read", "policies/acl/{name}", read_policy),
    _route("write", "policies/acl/{name}", write_policy),
    _route("delete", "policies/acl/{name}", delete_policy),
    _route("list", "policy", policies),
    _route("read", "policy", policies),
    _route("read", "policy/{name}", read_older_policy),
    _route("write", "policy/{name}", write_policy),
    _route("delete", "policy/{name}", delete_policy),
    _route("write", "capabilities-self", capabilities),
    _route("write", "wrapping/wrap", wrap),
    _route("write", "wrapping/unwrap", unwrap, is_open=True),
    _route("write", "wrapping/lookup", look_up_wrapped, is_open=True),
    _route("read", "wrapping/lookup", look_up_wrapped, is_open=True),
)
