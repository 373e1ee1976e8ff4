"""Azure Key Vault as the root: an RSA key wraps the RMK; the one door to the Azure SDK.

The RMK is made here, since a vault makes no data keys. It is wrapped with RSA-OAEP-256 by the newest
version of the key, and unwrapped by the very version that the record names, so that a new version of
the key needs nothing from us. RSA binds no context: an inner seal does (kms-store.md 1.3, indirect).
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from strongroom import foreign_words
from strongroom.clock import Clock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StrongroomError,
    UsageError,
)
from strongroom.roots import addresses, indirect, managed_identity, names, outbound, wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.kinds import WAY, Given, LogWords, Option, RootKind
from strongroom.roots.settings import RootSettings
from strongroom.system.extras import needed

T = TypeVar("T")
_Secrets = tuple[foreign_words.Secret, ...]

KIND = "azure"
ALGORITHM = "RSA-OAEP-256"
#: Longest wait that a throttling vault may ask for; beyond it the caller's own backoff is better.
MAX_WAIT_S = 5.0
_TRIES = 3
_PAUSE_S = 0.4
_UNAUTHORIZED = 401
#: The SDK's exceptions for an answer that does not come from a vault: the SDK reads members without checking for them.
_UNREADABLE = (ValueError, OSError, AttributeError, TypeError, LookupError)
_RSA = frozenset({"RSA", "RSA-HSM"})
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")


def settings(key_name: str, vault_baseurl: str, **options: str) -> RootSettings:
    """Checked settings; sends no request.

    Args:
        key_name: Name of the RSA key.
        vault_baseurl: `https://<vault>.vault.azure.net`.
        options: `client_id` of a user-assigned identity, `ca_file` of a private cloud.

    Raises:
        UsageError: No vault URL or no key name.
    """
    vault = addresses.parse(
        vault_baseurl, what="a vault", example="https://<vault>.vault.azure.net"
    )
    if not vault.startswith("https://"):
        raise UsageError(f"a vault is asked over https only: {vault!r}")
    hint = "letters, digits and hyphens"
    name = names.part(key_name, _NAME, "the name of a key", hint=hint)
    if options.get("client_id"):
        names.part(options["client_id"], _NAME, "the id of a managed identity", hint=hint)
    present = {key: value for key, value in options.items() if value}
    return RootSettings(KIND, f"{vault}/keys/{name}", {"vault": vault, "key": name, **present})


def build(root: RootSettings, clock: Clock) -> "AzureRoot":
    """The root with the SDK's clients and the machine's managed identity."""
    with needed("the Azure root needs the Azure SDK", "azure", RootError):
        vault = SdkVault(root.options)
    return AzureRoot(vault, root, clock)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    return settings(
        given.text("--key-name"),
        given.text("--vault-baseurl"),
        client_id=given.text("--client-id"),
        ca_file=given.certificates("--ca-file"),
    )


def of_backup(root: RootSettings) -> RootSettings:
    """The settings that a backup names."""
    return settings(root.options["key"], root.options["vault"], **root.told("client_id", "ca_file"))


ROOT = RootKind(
    KIND,
    build,
    title="Azure Key Vault",
    options=(
        Option("--key-name", "NAME", "an RSA key of the vault", required=True),
        Option("--vault-baseurl", "URL", "https://<vault>.vault.azure.net", required=True),
        Option("--client-id", "ID", "client id of a user-assigned managed identity"),
        Option("--ca-file", "FILE", "certificates of a private cloud, to trust"),
    ),
    of_options=of_options,
    example="--key-name NAME --vault-baseurl URL",
    shown={"vault": "Vault", "key": "Key name", "": "Key ID", "identity": "Identity", **WAY},
    log_words=LogWords("AzureKeyVaultEnvelopeAccessor", "AzureKeyVaultEnvelope", "key with ID"),
    version=r"(?P<key>.*/keys/[^/]+)/[^/]+",
    of_backup=of_backup,
)


class Vault(Protocol):
    """The requests to a vault; the exceptions of the SDK pass through."""

    def renew(self) -> None:
        """Forget the token: the next call asks for one anew."""
        ...

    def newest(self, name: str) -> tuple[str, str]:
        """Id of the newest version of a key, and its type."""
        ...

    def newest_since(self, name: str) -> datetime | None:
        """When the newest version of a key was made, if the vault says it."""
        ...

    def wrap(self, key_id: str, data: bytes) -> bytes:
        """Wrap by a version of a key."""
        ...

    def unwrap(self, key_id: str, blob: bytes) -> bytes:
        """Unwrap by a version of a key."""
        ...


class SdkVault:
    """The vault by the Azure SDK, which verifies that the vault's challenge is for its own domain."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Make the clients; sends no request.

        Args:
            options: `vault`, and if they are set `client_id` and `ca_file`.
        """
        import logging

        from azure.keyvault.keys import KeyClient
        from azure.keyvault.keys.crypto import CryptographyClient

        # a local wrap that we do not want "failed"
        logging.getLogger("azure.keyvault.keys.crypto").setLevel(logging.ERROR)
        self._client_id = options.get("client_id", "")
        # two sessions, for the vault and for the token endpoint: only the first trusts the private cloud's
        # certificates
        ca_file = options.get("ca_file", "")
        trusted = {"connection_verify": ca_file} if ca_file else {}
        # AzureRoot retries, not the SDK
        transport = managed_identity.transport(outbound.session(ca_file))
        self._options = {**managed_identity.NO_RETRIES, **trusted, **transport}
        self._url = options["vault"]
        self._keys_class = KeyClient
        # Any, since the SDK's annotations do not allow a plain text as algorithm
        self._client_class: Any = CryptographyClient
        self.renew()

    def renew(self) -> None:
        """Forget the token: it is kept by the credential, even if the vault does not take it."""
        self._credential = managed_identity.credential(self._client_id)
        self._keys = self._keys_class(self._url, self._credential, **self._options)

    def newest(self, name: str) -> tuple[str, str]:
        """Id of the newest version of a key, and its type."""
        key = self._keys.get_key(name)
        return str(key.id), str(getattr(key.key_type, "value", key.key_type))

    def newest_since(self, name: str) -> datetime | None:
        """When the newest version of a key was made."""
        made = self._keys.get_key(name).properties.created_on
        return made if isinstance(made, datetime) else None

    def wrap(self, key_id: str, data: bytes) -> bytes:
        """Wrap in the vault: by a plain text as algorithm the SDK does not wrap by the public key."""
        with self._client_class(key_id, self._credential, **self._options) as client:
            return bytes(client.wrap_key(ALGORITHM, data).encrypted_key)

    def unwrap(self, key_id: str, blob: bytes) -> bytes:
        """Unwrap in the vault."""
        with self._client_class(key_id, self._credential, **self._options) as client:
            return bytes(client.unwrap_key(ALGORITHM, blob).key)


class AzureRoot:
    """Wraps the RMK by one RSA key of a vault."""

    def __init__(
        self,
        vault: Vault,
        root: RootSettings,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Build the root.

        Args:
            vault: The vault.
            root: The settings of the root.
            clock: For the times in records.
            sleep: Waits between two tries.
        """
        self._vault = vault
        self._root = root
        self._clock = clock
        self._sleep = sleep

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap by the newest version of the key; the record keeps that version's id."""
        data_key = rng.new_key()
        key_id, key_type = self._call("get", lambda: self._vault.newest(self._root.options["key"]))
        if key_type not in _RSA:
            raise RootRefusedError(
                f"the key {self._root.root_key_id} is not an RSA key but {key_type}",
                hint="create an asymmetric RSA key in the vault and name that",
            )
        key_id = self._own_version(key_id)
        blob = self._call("wrapKey", lambda: self._vault.wrap(key_id, data_key.reveal()), data_key)
        inner = indirect.seal(key, data_key, context)
        return wraps.new_record(context, KIND, key_id, blob, self._clock, inner=inner)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Unwrap by the version of the key that the record names.

        Raises:
            RootRefusedError: The record names another key; nobody is asked, since the token of this
                machine's identity must not go to a vault that a record names.
        """
        own, version = self._root.root_key_id, self._root.version_of(record)
        if not version:
            raise wraps.other_key(record.root_key_id, f"a version of {own}")
        raw = self._call("unwrapKey", lambda: self._vault.unwrap(f"{own}/{version}", record.blob))
        return indirect.open_(record, SecretBytes(raw))

    def describe(self) -> RootDescription:
        """Vault, key and the identity used."""
        options = self._root.options
        details = {"vault": options["vault"], "key": options["key"], "identity": self._identity()}
        details |= outbound.shown_proxy(options["vault"])
        return RootDescription(KIND, self._root.root_key_id, details)

    def check(self) -> None:
        """Wrap and unwrap a fresh key.

        Raises:
            RootError: The vault does not allow it, or gives back another key.
        """
        wraps.check_round_trip(self, f"the key {self._root.root_key_id}")

    def rotated_at(self) -> str:
        """When the newest version of the key was made; empty if it cannot be known now."""
        name = self._root.options["key"]
        try:
            made = self._call("get", lambda: self._vault.newest_since(name))
        except StrongroomError:
            return ""
        return format_utc(made) if made else ""

    def _identity(self) -> str:
        client_id = self._root.options.get("client_id")
        return f"managed identity {client_id}" if client_id else "system-assigned managed identity"

    def _own_version(self, key_id: str) -> str:
        """The id of a version of our key, under the address in the settings: a vault may report another name of itself."""
        own, (path, _, version) = self._root.root_key_id, key_id.rpartition("/")
        if not version or not path.lower().endswith(f"/keys/{self._root.options['key'].lower()}"):
            raise wraps.other_key(key_id, f"a version of {own}")
        return f"{own}/{version}"

    def _call(self, action: str, call: Callable[[], T], *secrets: foreign_words.Secret) -> T:
        """Run a call, and again with a fresh token if the vault does not take the present one (5).

        Args:
            action: The name of the request, in the vault's words.
            call: Sends the request.
            secrets: The values in the request that no error message may show.
        """
        secrets = (*secrets, *self._root.secrets.values(), *outbound.secrets())
        try:
            return self._patiently(action, call, secrets)
        except RootRefusedError as error:
            if getattr(error.__cause__, "code", 0) != _UNAUTHORIZED:
                raise
        self._vault.renew()
        return self._patiently(action, call, secrets)

    def _patiently(self, action: str, call: Callable[[], T], secrets: _Secrets) -> T:
        """Run a call, again after what may pass (the SDK does not after a reset of a POST)."""
        number = 1
        while True:
            try:
                return self._once(action, call, secrets)
            except _PassingError as error:
                if number == _TRIES or error.wait > MAX_WAIT_S:
                    raise self._unavailable(action, error.reason) from error.__cause__
                self._sleep(error.wait or _PAUSE_S * 2 ** (number - 1))
            number += 1

    def _once(self, action: str, call: Callable[[], T], secrets: _Secrets) -> T:
        from azure.core import exceptions as azure
        from azure.identity import CredentialUnavailableError

        try:
            return call()
        except CredentialUnavailableError as error:
            raise _PassingError(
                f"this machine has no managed identity that answers {outbound.whose()}"
            ) from foreign_words.cause(error, *secrets)
        except azure.HttpResponseError as error:
            raise self._translated(action, error, secrets) from foreign_words.cause(
                error, *secrets, code=int(error.status_code or 0)
            )
        except azure.AzureError as error:
            said = foreign_words.of(error.message, *secrets)
            raise _PassingError(f"{type(error).__name__}: {said}") from foreign_words.cause(
                error, *secrets
            )
        except _UNREADABLE as error:
            # an answer that is none, or a challenge for another domain than the vault's
            said = foreign_words.of(error, *secrets)
            raise RootUnavailableError(
                f"the answer to {action} with {self._root.root_key_id} cannot be used: {said}",
                hint="check proxy and vault URL: something else may answer for the vault",
            ) from foreign_words.cause(error, *secrets)

    def _translated(self, action: str, error: Any, secrets: _Secrets) -> Exception:
        status = int(error.status_code or 0)
        code = foreign_words.of(_inner_code(error), *secrets)
        if status in {0, 408, 429} or status >= 500:
            return _PassingError(f"HTTP {status} {code}".rstrip(), _retry_after(error))
        if status == 400 and action == "unwrapKey" and code in {"", "BadParameter"}:
            return IntegrityError()
        reason, hint = self._reason(action, status, code)
        return RootRefusedError(
            f"Azure Key Vault refused {action} with {self._root.root_key_id}: {reason}", hint=hint
        )

    def _reason(self, action: str, status: int, code: str) -> tuple[str, str]:
        key, who = self._root.root_key_id, self._identity()
        if code == "KeyDisabled":
            return "the key or this version of it is disabled", f"enable {key} in the vault"
        if status == 404:
            return "there is no such key", "compare vault and key name with the portal"
        if status == _UNAUTHORIZED:
            return (
                f"the token of the {who} is not accepted",
                "check that the identity is of the vault's tenant, and this machine's clock",
            )
        if status == 403:
            return (
                f"the {who} has no permission ({code or status})",
                f"let the {who} {action} with {key} in the vault, and through its firewall",
            )
        return f"HTTP {status} {code}".rstrip(), "see the documentation of Azure Key Vault"

    def _unavailable(self, action: str, reason: str) -> RootUnavailableError:
        return RootUnavailableError(
            f"Azure Key Vault cannot {action} now with {self._root.root_key_id}: {reason}",
            hint="it is tried again by itself; check network, firewall, managed identity and the"
            " vault's throttling",
        )


class _PassingError(Exception):
    """Worth another try, after the given seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


def _retry_after(error: Any) -> float:
    try:
        return max(
            0.0, float((getattr(error.response, "headers", None) or {}).get("Retry-After", 0))
        )
    except ValueError:  # a date: rare, and soon enough by our own pause
        return 0.0


def _inner_code(error: Any) -> str:
    """The most exact code of an answer, not filtered yet: `error.innererror.code`, else `error.code`."""
    told = getattr(error, "error", None)
    inner = getattr(told, "innererror", None)
    if isinstance(inner, dict) and inner.get("code"):
        return str(inner["code"])
    return str(getattr(told, "code", None) or "")
