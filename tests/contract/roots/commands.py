"""The words of `set-mode` and of `roots add` for the settings of a lab; credentials go into files."""

from collections.abc import Mapping
from pathlib import Path

from strongroom.roots.settings import RootSettings

#: Kind → option → where its value stands: a name in the settings' options, or empty for the key's id.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "aws": {"--key-arn": "", "--aws-region": "region"},
    "azure": {
        "--key-name": "key",
        "--vault-baseurl": "vault",
        "--client-id": "client_id",
        "--ca-file": "ca_file",
    },
    "openbao": {
        "--address": "address",
        "--key": "key",
        "--mount": "mount",
        "--role-id": "role_id",
        "--ca-file": "ca_file",
    },
    "pkcs11": {"--module": "module", "--token-label": "token", "--key-label": "key"},
    "gcp": {"--key-name": "", "--endpoint": "endpoint"},
    "tpm": {"--tcti": "tcti"},
}
_FILES = {
    "token": "--token-file",
    "secret_id": "--secret-id-file",
    "pin": "--pin-file",
    "credentials": "--credentials-file",
    "auth": "--auth-file",
}


def words_of(settings: RootSettings | None, folder: Path) -> list[str]:
    """The words after `set-mode`; None is the local root."""
    if settings is None:
        return ["local"]
    words = [settings.kind]
    for option, name in _OPTIONS[settings.kind].items():
        value = settings.options.get(name) if name else settings.root_key_id
        if value:
            words += [option, value]
    for name, secret in settings.secrets.items():
        file = folder / f"{settings.kind}-{name}"
        file.write_bytes(secret.reveal() + b"\n")
        file.chmod(0o600)
        words += [_FILES[name], str(file)]
    return words + (["--create-key"] if "create" in settings.options else [])
