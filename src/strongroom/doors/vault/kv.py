"""The engine `kv`: secrets with versions (KV v2), and without (KV v1)."""

from typing import Any

from strongroom.access.service_tokens import seconds
from strongroom.clock import parse_utc
from strongroom.doors.vault.routing import Call, Route
from strongroom.doors.vault.wire import Answer, Fields
from strongroom.errors import NotFoundError, UsageError
from strongroom.repository.service_rows import ServiceSecretRow, ServiceValueRow
from strongroom.services.service_keys.mounts import KV_1, KV_2
from strongroom.services.service_keys.secrets import Detailed, SecretAt

_NOTHING = Answer(whole={"errors": []}, status=404)
_MOST_PAIRS = 64


# ---- with versions -------------------------------------------------------------------------------


def read(call: Call) -> Answer:
    """A version of a secret."""
    wanted = Fields(call.request.query).number("version")
    found = call.services.service_secrets.read(call.by, _at(call), wanted)
    data = {"data": found.data, "metadata": _of_value(found.value, found.secret)}
    return Answer(data, status=0 if found.data is not None else 404)


def write(call: Call) -> Answer:
    """Add a version."""
    made = call.services.service_secrets.write(call.by, _at(call), _data(call), _cas(call))
    return Answer(_of_value(made))


def patch(call: Call) -> Answer:
    """Add a version that is the latest with some members changed."""
    made = call.services.service_secrets.patch(call.by, _at(call), _data(call), _cas(call))
    return Answer(_of_value(made))


def delete_latest(call: Call) -> Answer:
    """Delete the latest version."""
    call.services.service_secrets.mark(call.by, _at(call), (), deleted=True)
    return Answer()


def delete(call: Call) -> Answer:
    """Delete versions."""
    call.services.service_secrets.mark(call.by, _at(call), _versions(call), deleted=True)
    return Answer()


def undelete(call: Call) -> Answer:
    """Take deleted versions back."""
    call.services.service_secrets.mark(call.by, _at(call), _versions(call), deleted=False)
    return Answer()


def destroy(call: Call) -> Answer:
    """Remove the values of versions."""
    call.services.service_secrets.destroy(call.by, _at(call), _versions(call))
    return Answer()


def details(call: Call) -> Answer:
    """Show all about a secret but its values."""
    return Answer(_of_secret(call.services.service_secrets.details(call.by, _at(call))))


def names(call: Call) -> Answer:
    """List a path."""
    try:
        return Answer({"keys": call.services.service_secrets.names(call.by, _at(call))})
    except NotFoundError:
        call.by.secret_read(_at(call).shown, "list")
        return _NOTHING


def set_details(call: Call) -> Answer:
    """Set options and metadata of a secret."""
    metadata = call.fields.mapping("custom_metadata") if "custom_metadata" in call.fields else None
    if metadata is not None:
        _check_metadata(metadata)
    call.services.service_secrets.set_details(call.by, _at(call), _options(call.fields), metadata)
    return Answer()


def remove(call: Call) -> Answer:
    """Remove a secret with all its versions."""
    call.services.service_secrets.remove(call.by, _at(call))
    return Answer()


def read_settings(call: Call) -> Answer:
    """The options of the mount."""
    options = call.at.options
    call.by.access_read(f"{call.at.path}/config", "read")
    return Answer(
        {
            "max_versions": options.get("max_versions", 0),
            "cas_required": options.get("cas_required", False),
            "delete_version_after": _shown(options.get("delete_after_s", 0)),
        }
    )


def write_settings(call: Call) -> Answer:
    """Set options of the mount."""
    call.services.service_mounts.change(call.by, call.at.path, **_options(call.fields))
    return Answer()


# ---- without versions ----------------------------------------------------------------------------


def read_1(call: Call) -> Answer:
    """A secret."""
    found = call.services.service_secrets.read(call.by, _at(call))
    if found.data is None:
        raise NotFoundError("there is no such secret", about="secret")
    return Answer(found.data)


def write_1(call: Call) -> Answer:
    """Write a secret over what was there."""
    if not call.fields.members:
        raise UsageError("missing data fields")
    call.services.service_secrets.write(call.by, _at(call), call.fields.members)
    return Answer()


# ---- parts ---------------------------------------------------------------------------------------


def _at(call: Call) -> SecretAt:
    return SecretAt(call.at, call.parts.get("path", ""))


def _exists(call: Call) -> bool:
    return call.services.service_secrets.exists(_at(call))


def _data(call: Call) -> dict[str, Any]:
    if "data" not in call.fields:
        raise UsageError("no data provided")
    return call.fields.mapping("data")


def _cas(call: Call) -> int | None:
    options = call.fields.mapping("options")
    found = options.get("cas")
    # no version has a negative number: that is refused as another one than the latest
    if isinstance(found, int) and not isinstance(found, bool) and found < 0:
        return found
    return Fields(options).number_if("cas")


def _versions(call: Call) -> list[int]:
    found = call.fields.numbers("versions")
    if not found:
        raise UsageError("No version number provided")
    return found


def _options(fields: Fields) -> dict[str, object]:
    options: dict[str, object] = {}
    if "max_versions" in fields:
        options["max_versions"] = fields.number("max_versions")
    if "cas_required" in fields:
        options["cas_required"] = fields.truth("cas_required")
    if "delete_version_after" in fields:
        after = fields.members["delete_version_after"]
        options["delete_after_s"] = seconds(after, "delete_version_after")
    return options


def _check_metadata(metadata: dict[str, Any]) -> None:
    pairs = metadata.items()
    if len(metadata) > _MOST_PAIRS or not all(
        isinstance(value, str) and len(name) <= 128 and len(value) <= 512 for name, value in pairs
    ):
        raise UsageError(f"custom_metadata has at most {_MOST_PAIRS} pairs of short texts")


def _of_value(row: ServiceValueRow, secret: ServiceSecretRow | None = None) -> dict[str, object]:
    metadata = dict(secret.metadata) if secret is not None and secret.metadata else None
    return {
        "created_time": _precise(row.created_at),
        "custom_metadata": metadata,
        "deletion_time": "" if row.deleted_at is None else _precise(row.deleted_at),
        "destroyed": row.destroyed,
        "version": row.version,
    }


def _of_secret(found: Detailed) -> dict[str, object]:
    secret = found.secret
    versions: dict[str, object] = {}
    for row in found.values:
        shown = _of_value(row)
        versions[str(row.version)] = {
            name: shown[name] for name in ("created_time", "deletion_time", "destroyed")
        }
    return {
        "cas_required": bool(secret.options.get("cas_required", False)),
        "created_time": _precise(secret.created_at),
        "current_version": secret.latest,
        "custom_metadata": dict(secret.metadata) or None,
        "delete_version_after": _shown(secret.options.get("delete_after_s", 0)),
        "max_versions": secret.options.get("max_versions", 0),
        "oldest_version": 0 if secret.oldest <= 1 else secret.oldest,
        "updated_time": _precise(secret.updated_at),
        "versions": versions,
    }


def _precise(moment: str) -> str:
    """A moment as clients of Vault parse it: with a fraction of the second."""
    return parse_utc(moment).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _shown(after: object) -> str:
    """A duration as Vault shows one."""
    total = after if isinstance(after, int) else 0
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    return (
        f"{hours}h{minutes}m{secs}s" if hours else f"{minutes}m{secs}s" if minutes else f"{secs}s"
    )


def _2(operation: str, pattern: str, handle: Any, *, makes: bool = False) -> Route:
    return Route(KV_2, operation, pattern, handle, exists=_exists if makes else None)


def _1(operation: str, pattern: str, handle: Any, *, makes: bool = False) -> Route:
    return Route(KV_1, operation, pattern, handle, exists=_exists if makes else None)


ROUTES = (
    _2("read", "config", read_settings),
    _2("write", "config", write_settings),
    _2("read", "data/{path*}", read),
    _2("write", "data/{path*}", write, makes=True),
    _2("patch", "data/{path*}", patch),
    _2("delete", "data/{path*}", delete_latest),
    _2("write", "delete/{path*}", delete),
    _2("write", "undelete/{path*}", undelete),
    _2("write", "destroy/{path*}", destroy),
    _2("list", "metadata", names),
    _2("list", "metadata/{path*}", names),
    _2("read", "metadata/{path*}", details),
    _2("write", "metadata/{path*}", set_details, makes=True),
    _2("patch", "metadata/{path*}", set_details),
    _2("delete", "metadata/{path*}", remove),
    _1("list", "{path*}", names),
    _1("read", "{path*}", read_1),
    _1("write", "{path*}", write_1, makes=True),
    _1("delete", "{path*}", remove),
)
