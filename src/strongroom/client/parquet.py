"""Parquet's modular encryption with the service keys of a node: a `KmsClient` for pyarrow (docs/howto/parquet.md).

    crypto = pyarrow.parquet.encryption.CryptoFactory(StrongroomKmsClient)

pyarrow makes the data keys of a file, and asks the client to wrap them by a master key, which is a service key and never
leaves the node. What the client wraps, and the text in which that stands in a file, are those of Arrow's sample client for
Vault, so each opens the other's files. This module alone imports pyarrow.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyarrow.parquet import encryption as pe

from strongroom.client.vault_service import AppRole, Identity, Token, VaultService
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, StrongroomError, UsageError

OPTIONS = frozenset(
    {"url", "ca_file", "token_file", "role_id", "secret_id_file", "role_mount", "mount"}
    | {"timeout_s"}
)
"""The names in `custom_kms_conf`; others are refused, so that a wrong spelling is noticed."""
_DEFAULT = "DEFAULT"
"""Stands in pyarrow's configuration where nothing was set."""


class StrongroomKmsClient(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Wraps and unwraps the data keys of Parquet files by service keys of a node.

    Of the configuration, `kms_instance_url` is the node's URL (`https://HOST:PORT` of its Vault door; `http://` only on
    this machine) and `key_access_token` a token. `custom_kms_conf` may hold, all as texts: `url`, the one URL that is ever
    asked; `ca_file`, a PEM file of the certificates to verify the node's by; `token_file`, or `role_id` with
    `secret_id_file` (and `role_mount`), in place of the token; `mount`, in place of `transit`; `timeout_s`.

    Args:
        config: The configuration, as pyarrow passes it.

    Raises:
        UsageError: The configuration has no URL, another URL than the one that is pinned, an unknown name, or no identity.
        KeyServiceError: A file that it names cannot be used.
    """

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        super().__init__()
        options = config.custom_kms_conf
        if unknown := sorted(options.keys() - OPTIONS):
            raise UsageError(
                f"custom_kms_conf has no {unknown[0][:60]!r}",
                hint=f"known: {', '.join(sorted(OPTIONS))}",
            )
        self._mount = options.get("mount", "transit").strip("/")
        self._service = VaultService(
            _url(config, options),
            _identity(config, options),
            ca_file=options.get("ca_file"),
            timeout_s=_seconds(options.get("timeout_s", "30")),
        )

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        """A data key wrapped by the latest version of a master key, as `vault:v1:…`.

        Raises:
            NotFoundError: The node has no such key.
            PermissionDeniedError: The identity may not encrypt by the key.
            AuthenticationError: The identity is not valid.
            StateError: The key is disabled, or is of a kind that encrypts nothing.
            KeyServiceError: The node cannot be asked.
        """
        key = SecretBytes(key_bytes)
        with _told():
            return self._service.encrypt(master_key_identifier, key, mount=self._mount)

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        """A data key that was wrapped by any version of a master key.

        Raises:
            IntegrityError: Another key wrapped it, or it was changed.
            StrongroomError: As `wrap_key`.
        """
        with _told():
            found = self._service.decrypt(master_key_identifier, wrapped_key, mount=self._mount)
        return found.reveal()


@contextmanager
def _told() -> Iterator[None]:
    """Show an error's hint below its message, since a program that uses pyarrow prints a traceback."""
    try:
        yield
    except StrongroomError as error:
        if error.hint:
            error.add_note(f"hint: {error.hint}")
        raise


class _ConfiguredToken:
    """The token in the configuration, which its owner may refresh."""

    described = "the token in key_access_token"

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        self._config = config

    def token(self, service: VaultService, *, anew: bool) -> SecretBytes:
        """The token (`Identity.token`)."""
        if anew:
            raise AuthenticationError(
                f"{self.described} is not valid at {service.url}",
                hint="'strongroom access token create' makes a token; refresh_key_access_token sets it",
            )
        return SecretBytes(self._config.key_access_token.encode())


def _url(config: pe.KmsConnectionConfig, options: Mapping[str, str]) -> str:
    """The URL to ask.

    With `read_kms_url` the configuration has the URL that stands in a file, which whoever wrote the file chose: `url` pins
    the one that gets the token.
    """
    given = config.kms_instance_url
    given = "" if given == _DEFAULT else given.rstrip("/")
    pinned = options.get("url", "").rstrip("/")
    if pinned and given and given != pinned:
        raise UsageError(
            f"the token is not sent to {given[:200]}: custom_kms_conf pins {pinned}",
            hint="look which file names that URL, and who wrote it",
        )
    if not (pinned or given):
        raise UsageError(
            "no node is named", hint="give kms_instance_url: https://HOST:PORT of its Vault door"
        )
    return pinned or given


def _identity(config: pe.KmsConnectionConfig, options: Mapping[str, str]) -> Identity:
    if "role_id" in options or "secret_id_file" in options:
        if not ("role_id" in options and "secret_id_file" in options):
            raise UsageError("role_id and secret_id_file go together")
        mount = options.get("role_mount", "approle")
        return AppRole(options["role_id"], options["secret_id_file"], mount=mount)
    if "token_file" in options:
        return Token(options["token_file"])
    if config.key_access_token in {"", _DEFAULT}:
        raise UsageError(
            "no identity is given",
            hint="set key_access_token, or token_file, or role_id and secret_id_file",
        )
    return _ConfiguredToken(config)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 3600:
        raise UsageError(f"timeout_s is a number of seconds, not {text[:20]!r}")
    return found
