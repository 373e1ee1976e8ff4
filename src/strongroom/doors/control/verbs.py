"""The verbs of the socket, each of which calls a service and returns plain values.

A command that finds no `serve` process calls the same functions in its own process.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from strongroom.access.permissions import Subject
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES
from strongroom.errors import UsageError
from strongroom.kms import status as kms_status
from strongroom.roots.settings import RootSettings

if TYPE_CHECKING:
    from strongroom.doors.control.ports import ControlServices
    from strongroom.services.backups.keys import BackupKeys

Report = Callable[[str], None]
Arguments = Mapping[str, Any]
Verb = Callable[["ControlServices", str, Arguments, Report], object]


def settings_to_plain(settings: RootSettings | None) -> dict[str, object] | None:
    """Root settings as values that JSON can carry; only ever sent over the node's own socket."""
    if settings is None:
        return None
    secrets = {name: secret.reveal().hex() for name, secret in settings.secrets.items()}
    return {
        "kind": settings.kind,
        "root_key_id": settings.root_key_id,
        "options": dict(settings.options),
        "secrets": secrets,
    }


def _settings(plain: Mapping[str, Any] | None) -> RootSettings | None:
    if plain is None:
        return None
    secrets = {name: SecretBytes(bytes.fromhex(text)) for name, text in plain["secrets"].items()}
    return RootSettings(plain["kind"], plain["root_key_id"], dict(plain["options"]), secrets)


def _status(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, report
    status = (
        services.kms_store.last_status() if arguments.get("cached") else services.kms_store.prove()
    )
    return {
        "json": dict(kms_status.as_json(status)),
        "text": kms_status.as_text(status),
        "whole": kms_status.as_text(status, verbose=True),
        "brief": kms_status.in_brief(status),
    }


def _rotate(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    change = services.meks.rotate(actor, arguments.get("drop_roots", ()))
    return {"rmk": change.store.rmk_id, "mek": change.ring.active.id}


def _retire(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    from strongroom.services.keys.history import Outside

    if arguments.get("take_back", False):
        services.meks.take_back(arguments["mek_id"], actor)
        return None
    if (days := arguments.get("after_days")) is not None:
        return services.meks.schedule(arguments["mek_id"], days, actor)
    # a program of the version before names nothing, and gives up nothing
    services.meks.retire(
        arguments["mek_id"], actor, gives_up=Outside(**arguments.get("gives_up", {}))
    )
    return None


def _set_mode(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    change = services.modes.set_mode(
        _settings(arguments["settings"]),
        actor,
        dry_run=arguments.get("dry_run", False),
        abandon=arguments.get("abandon", False),
        drop=arguments.get("drop_roots", ()),
    )
    return asdict(change)


def _regenerate(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    without = tuple(arguments.get("without_node", ()))
    if without:
        services.peers.go_on_without(actor, without)
    return asdict(services.regenerate.run(actor, report, arguments.get("only", ())))


def _roots_list(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, arguments, report
    return [asdict(state) for state in services.roots.list()]


def _roots_verify(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del arguments, report
    return [asdict(state) for state in services.roots.verify(actor)]


def _roots_add(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    settings = _settings(arguments["settings"])
    if settings is None:
        raise UsageError("a recovery root has a kind")
    wrap_id = services.roots.reach_anew(settings, actor)
    if wrap_id:
        report(
            f"it is the key of the wrap {wrap_id}, which is reached at {settings.root_key_id} now; no wrap was added"
        )
        return ""
    return services.roots.add(settings, actor)


def _roots_remove(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    services.roots.remove(arguments["wrap_id"], actor)
    return None


def _roots_repair(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del arguments, report
    return list(services.roots.repair(actor))


def _adopt(services: "ControlServices", actor: str, arguments: Arguments, report: Report) -> object:
    del arguments, report
    return list(services.roots.adopt(actor))


def _backup_wrap(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, report
    from strongroom.crypto.age import SealTo
    from strongroom.services.backups.keys import WrapRequest

    phrase = arguments["passphrase"]
    to = SealTo(
        tuple(arguments["recipients"]),
        None if phrase is None else SecretBytes(bytes.fromhex(phrase)),
    )
    wanted = WrapRequest(arguments["store_sha256"], tuple(arguments["asset_keys"]))
    keys = _backup_keys(services).wrap(arguments["backup_id"], wanted, to)
    return {name: data.hex() for name, data in asdict(keys).items()}


def _backup_seal(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, report
    from strongroom.services.backups.keys import SealRequest

    seal = _backup_keys(services).seal(SealRequest(**arguments))
    return {**asdict(seal), "signature": seal.signature.hex()}


def _backup_keys(services: "ControlServices") -> "BackupKeys":
    from strongroom.services.backups.keys import BackupKeys

    return BackupKeys(services.kms_store, services.assets, services.identity)


def _backup_part(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, arguments, report
    seen = services.backup_part.describe()
    return {"files": list(seen.files), "keys": seen.keys._asdict()}


def _backup_copy(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    """A file in pieces, each told as a message; the result is the digest of all."""
    del actor
    digest = hashlib.sha256()

    def tell(piece: bytes) -> None:
        digest.update(piece)
        report(_base64(piece))

    services.backup_part.copy(str(arguments["name"]), tell)
    return {"sha256": digest.hexdigest()}


def _former_list(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del actor, arguments, report
    return [asdict(one) for one in services.roots.closed()]


def _former_forget(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    services.roots.forget(arguments["digest"], actor)
    return None


def _unlock(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    services.auth.unlock(actor, arguments["user_id"])
    return None


def _generate_data_key(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    size = int(arguments.get("segment_bytes", DEFAULT_SEGMENT_BYTES))
    page, key = services.data_key_desk.generate(Subject.local(actor), segment_bytes=size)
    return {"header": _base64(page), "key": _base64(key.reveal())}


def _unwrap_data_key(
    services: "ControlServices", actor: str, arguments: Arguments, report: Report
) -> object:
    del report
    page = base64.b64decode(arguments["header"], validate=True)
    return {"key": _base64(services.data_key_desk.unwrap(Subject.local(actor), page).reveal())}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


VERBS: dict[str, Verb] = {
    "backup.copy": _backup_copy,
    "backup.part": _backup_part,
    "backup.seal": _backup_seal,
    "backup.wrap": _backup_wrap,
    "data-keys.generate": _generate_data_key,
    "data-keys.unwrap": _unwrap_data_key,
    "kms.adopt": _adopt,
    "kms.former.forget": _former_forget,
    "kms.former.list": _former_list,
    "kms.roots.add": _roots_add,
    "kms.roots.list": _roots_list,
    "kms.roots.remove": _roots_remove,
    "kms.roots.repair": _roots_repair,
    "kms.roots.verify": _roots_verify,
    "kms.status": _status,
    "kms.rotate": _rotate,
    "kms.retire": _retire,
    "kms.set-mode": _set_mode,
    "regenerate": _regenerate,
    "users.unlock": _unlock,
}


def is_for_the_server(verb: str, arguments: Arguments) -> bool:
    """Whether only the serving process may do this, since its memory may hold keys that would be given up (Q-05)."""
    abandons = arguments.get("abandon", False) and not arguments.get("dry_run", False)
    return verb == "kms.set-mode" and abandons


def perform(
    services: "ControlServices", actor: str, verb: str, arguments: Arguments, report: Report
) -> object:
    """Carry out a verb.

    Raises:
        UsageError: The verb is unknown.
        StrongroomError: The service failed or refused.
    """
    if verb not in VERBS:
        raise UsageError(f"unknown request {verb!r}", hint="the two programs differ in version")
    without = arguments.get("without_node", ())
    if without and verb != "regenerate" and not arguments.get("dry_run", False):
        services.peers.set_stale(actor, without)
    if "wait_s" not in arguments:
        return VERBS[verb](services, actor, arguments, report)
    from strongroom.services.keys import words

    with words.waiting(arguments["wait_s"]):
        return VERBS[verb](services, actor, arguments, report)
