"""Checks the root settings that a backup names, before anybody is asked by them; a part of `node_backups`.

The words are a stranger's: a TCTI or a PKCS#11 module of them would run code of their choice. It never takes an option
that the root's own `settings` did not check, and asks nobody.
"""

import re
from typing import Any

from strongroom import bootstrap_roots
from strongroom.errors import FormatError, StateError, StrongroomError
from strongroom.roots.settings import RootSettings

_TCTI = re.compile(r"device:/dev/tpm(?:rm)?[0-9]+|(?:tabrmd|swtpm)(?::[A-Za-z0-9_.,=/-]*)?")
_OPTIONS = {
    "azure": frozenset({"client_id", "ca_file"}),
    "openbao": frozenset({"mount", "namespace", "role_id", "ca_file"}),
}


def checked(root: RootSettings) -> RootSettings:
    """The settings, made anew by the module of their kind.

    Raises:
        StrongroomError: They are not to be used, or no settings at all.
    """
    try:
        made = _made(root)
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        raise FormatError(f"the {root.kind} root of the backup has no proper settings") from error
    if made.root_key_id != root.root_key_id:
        raise FormatError(f"the {root.kind} root of the backup has settings of another key")
    return made


def _made(root: RootSettings) -> RootSettings:
    module: Any = bootstrap_roots.root_module(root.kind)
    told, secrets = root.options, root.secrets
    more = {name: told[name] for name in _OPTIONS.get(root.kind, ()) if name in told}
    made: RootSettings
    if root.kind == "aws":
        made = module.settings(root.root_key_id, told["region"])
    elif root.kind == "azure":
        made = module.settings(told["key"], told["vault"], **more)
    elif root.kind == "openbao":
        credentials = {name: secrets.get(name) for name in ("token", "secret_id")}
        made = module.settings(told["address"], told["key"], **credentials, **more)
    elif root.kind == "gcp":
        made = module.settings(
            root.root_key_id,
            credentials=secrets.get("credentials"),
            endpoint=told.get("endpoint", ""),
        )
    elif root.kind == "tpm" and _TCTI.fullmatch(told["tcti"]):
        made = module.settings(told["tcti"], auth=secrets.get("auth"))
    else:
        raise _refused(root)
    return made


def _refused(root: RootSettings) -> StrongroomError:
    return StateError(
        f"how to reach the {root.kind} root is not taken from a backup: it would choose what runs here",
        hint="set the root up here: 'tsm security kms roots add', then restore again",
    )
