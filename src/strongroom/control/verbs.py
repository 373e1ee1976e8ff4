"""What can be asked over the socket: each verb calls one service and gives back plain values.

The same functions serve a command that finds no `serve` running: then they work in its own process.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from strongroom.bootstrap import Node
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.kms import status as kms_status
from strongroom.roots.settings import RootSettings

Say = Callable[[str], None]
Arguments = Mapping[str, Any]
Verb = Callable[[Node, str, Arguments, Say], object]


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


def _status(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del actor, say
    status = node.kms.last_status() if arguments.get("cached") else node.kms.prove()
    return {"json": dict(kms_status.as_json(status)), "text": kms_status.as_text(status)}


def _rotate(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del say
    change = node.kms.rotate(actor, arguments.get("drop_roots", ()))
    return {"rmk": change.store.rmk_id, "mek": change.ring.active.id}


def _retire(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del say
    node.kms.retire(arguments["mek_id"], actor)
    return None


def _set_mode(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del say
    change = node.roots.set_mode(
        _settings(arguments["settings"]),
        actor,
        dry_run=arguments.get("dry_run", False),
        abandon=arguments.get("abandon", False),
        drop=arguments.get("drop_roots", ()),
    )
    return asdict(change)


def _regenerate(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    return asdict(node.regenerate.run(actor, say, arguments.get("only", ())))


def _roots_list(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del actor, arguments, say
    return [asdict(state) for state in node.roots.list()]


def _roots_verify(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del arguments, say
    return [asdict(state) for state in node.roots.verify(actor)]


def _roots_add(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del say
    settings = _settings(arguments["settings"])
    if settings is None:
        raise UsageError("a recovery root has a kind")
    return node.roots.add(settings, actor)


def _roots_remove(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del say
    node.roots.remove(arguments["wrap_id"], actor)
    return None


def _roots_repair(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del arguments, say
    return list(node.roots.repair(actor))


def _adopt(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del arguments, say
    return list(node.roots.adopt(actor))


def _backup_wrap(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del actor, say
    from strongroom.crypto.age import SealTo
    from strongroom.services.backup_keys import BackupKeys, Wanted

    phrase = arguments["passphrase"]
    to = SealTo(
        tuple(arguments["recipients"]),
        None if phrase is None else SecretBytes(bytes.fromhex(phrase)),
    )
    wanted = Wanted(arguments["store_sha256"], tuple(arguments["asset_keys"]))
    keys = BackupKeys(node.keeper, node.assets).wrap(arguments["backup_id"], wanted, to)
    return {name: data.hex() for name, data in asdict(keys).items()}


def _backup_seal(node: Node, actor: str, arguments: Arguments, say: Say) -> object:
    del actor, say
    from strongroom.services.backup_keys import BackupKeys

    words = (arguments[name] for name in ("backup_id", "rmk_id", "manifest_sha256"))
    return asdict(BackupKeys(node.keeper, node.assets).seal(*words))


VERBS: dict[str, Verb] = {
    "backup.seal": _backup_seal,
    "backup.wrap": _backup_wrap,
    "kms.adopt": _adopt,
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
}


def is_for_the_server(verb: str, arguments: Arguments) -> bool:
    """Whether no other process may do this while one serves: its memory may hold what would be given up (Q-05)."""
    abandons = arguments.get("abandon", False) and not arguments.get("dry_run", False)
    return verb == "kms.set-mode" and abandons


def perform(node: Node, actor: str, verb: str, arguments: Arguments, say: Say) -> object:
    """Do what a verb says.

    Raises:
        UsageError: There is no such verb.
        StrongroomError: What the service raises.
    """
    if verb not in VERBS:
        raise UsageError(f"unknown request {verb!r}", hint="the two programs differ in version")
    return VERBS[verb](node, actor, arguments, say)
