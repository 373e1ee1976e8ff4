"""Azure Key Vault as the root: an RSA key wraps the RMK (requirements 5); the one door to the Azure SDK.

The RMK is made here, since a vault makes no data keys. It is wrapped with RSA-OAEP-256 by the newest
version of the key, and unwrapped by the very version that the record names, so that a new version of
the key needs nothing from us. RSA binds no context: an inner seal does (kms-store.md 1.3, indirect).
"""

import re
from collections.abc import Callable
from typing import Any

from strongroom.clock import Clock, format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.roots import indirect
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.settings import RootSettings

KIND = "azure"
ALGORITHM = "RSA-OAEP-256"
_TRIES = 3
_VAULT = re.compile(r"https://[A-Za-z0-9.-]+(?::\d+)?")
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")


def settings(key_name: str, vault_baseurl: str, **options: str) -> RootSettings:
    """Checked settings; asks nobody.

    Args:
        key_name: Name of the RSA key.
        vault_baseurl: `https://<vault>.vault.azure.net`.
        options: `client_id` of a user-assigned identity, `ca_file` of a private cloud.

    Raises:
        UsageError: No vault URL or no key name.
    """
    vault = vault_baseurl.strip().strip("\"'").rstrip("/")
    if _VAULT.fullmatch(vault) is None:
        raise UsageError(
            f"not the URL of a vault: {vault!r}", hint="for example https://<vault>.vault.azure.net"
        )
    name = key_name.strip().strip("\"'")
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"not the name of a key: {name!r}", hint="letters, digits and hyphens")
    present = {key: value for key, value in options.items() if value}
    return RootSettings(KIND, f"{vault}/keys/{name}", {"vault": vault, "key": name, **present})


def build(root: RootSettings, clock: Clock) -> "AzureRoot":
    """The root with the SDK's clients and the machine's managed identity."""
    try:
        from azure.identity import ManagedIdentityCredential
        from azure.keyvault.keys import KeyClient
        from azure.keyvault.keys.crypto import CryptographyClient
    except ImportError as error:
        raise RootError(
            "the Azure root needs the Azure SDK", hint="pip install 'strongroom[azure]'"
        ) from error
    options: dict[str, Any] = {}
    if "ca_file" in root.options:
        options["connection_verify"] = root.options["ca_file"]
    client_id = root.options.get("client_id")
    credential = (
        ManagedIdentityCredential(client_id=client_id)
        if client_id
        else (ManagedIdentityCredential())
    )
    keys = KeyClient(root.options["vault"], credential, **options)
    return AzureRoot(
        keys,
        lambda kid: CryptographyClient(kid, credential, **options),
        root,
        clock,
    )


class AzureRoot:
    """Wraps the RMK by one RSA key of a vault."""

    def __init__(
        self,
        keys: Any,
        cryptography_for: Callable[[Any], Any],
        root: RootSettings,
        clock: Clock,
    ) -> None:
        """Build the root.

        Args:
            keys: A `KeyClient` of the vault.
            cryptography_for: A `CryptographyClient` of a versioned key id or a key.
            root: Its settings.
            clock: For the times in records.
        """
        self._keys = keys
        self._cryptography_for = cryptography_for
        self._root = root
        self._clock = clock

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap by the newest version of the key; the record keeps that version's id."""
        data_key, pairs = rng.new_key(), context.pairs()
        newest = self._call("get", lambda: self._keys.get_key(self._root.options["key"]))
        if str(newest.key_type) not in {"RSA", "RSA-HSM", "KeyType.rsa", "KeyType.rsa_hsm"}:
            raise RootRefusedError(
                f"the key {self._root.root_key_id} is not an RSA key",
                hint="create an asymmetric RSA key in the vault and name that",
            )
        wrapped = self._call(
            "wrapKey",
            # by id, not by the key: the SDK would wrap by the public key without asking the vault
            lambda: self._cryptography_for(newest.id).wrap_key(ALGORITHM, data_key.reveal()),
        )
        now = format_utc(self._clock.now())
        return WrapRecord(
            id=context.wrap_id,
            kind=KIND,
            form="indirect",
            root_key_id=str(wrapped.key_id),
            region="",
            blob=wrapped.encrypted_key,
            inner=indirect.seal(key, data_key, pairs),
            context=pairs,
            added_at=now,
            last_verified=now,
        )

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Unwrap by the version of the key that the record names."""
        answer = self._call(
            "unwrapKey",
            lambda: self._cryptography_for(record.root_key_id).unwrap_key(ALGORITHM, record.blob),
        )
        return indirect.open_(record.inner, SecretBytes(answer.key), record.context)

    def describe(self) -> RootDescription:
        """Vault, key and the identity used."""
        options = self._root.options
        identity = options.get("client_id", "system-assigned managed identity")
        details = {"vault": options["vault"], "key": options["key"], "identity": identity}
        return RootDescription(KIND, self._root.root_key_id, details)

    def check(self) -> None:
        """Wrap and unwrap a fresh key.

        Raises:
            RootError: The vault does not allow it, or gives back another key.
        """
        key, record = self.generate_data_key(Context(new_id(), new_id(), new_id()))
        if self.unwrap(record) != key:
            raise RootError(f"the key {self._root.root_key_id} gave back another key")

    def _call(self, action: str, call: Callable[[], Any]) -> Any:
        """Run a call, again after a reset (which the SDK does not do for POST), and translate."""
        from azure.core import exceptions as azure

        for left in reversed(range(_TRIES)):
            try:
                return call()
            except azure.ClientAuthenticationError as error:
                raise self._refused(action, error, "its credentials are not accepted") from error
            except azure.HttpResponseError as error:
                raise self._translated(action, error) from error
            except (azure.ServiceRequestError, azure.ServiceResponseError) as error:
                if left == 0:
                    raise self._unavailable(action, type(error).__name__) from error
            except ValueError as error:
                # what the SDK says of a local decryption or an answer that is no key
                raise IntegrityError from error
        raise self._unavailable(action, "no answer")

    def _translated(self, action: str, error: Any) -> RootError | IntegrityError:
        status, code = error.status_code or 0, _inner_code(error)
        if status in {408, 429} or status >= 500:
            return self._unavailable(action, f"HTTP {status}")
        if status == 400:
            return IntegrityError()
        reason = {
            "KeyDisabled": "the key is disabled",
            "KeyNotFound": "there is no such key",
        }.get(code, "the identity has no permission" if status == 403 else f"HTTP {status} {code}")
        if status == 404:
            reason = "there is no such key"
        return self._refused(action, error, reason)

    def _refused(self, action: str, error: object, reason: str) -> RootRefusedError:
        del error
        identity = self.describe().details["identity"]
        return RootRefusedError(
            f"Azure Key Vault refused {action} with {self._root.root_key_id}: {reason}",
            hint=f"in the vault, give the {identity} the permissions get, wrapKey and unwrapKey, and enable the key",
        )

    def _unavailable(self, action: str, reason: str) -> RootUnavailableError:
        return RootUnavailableError(
            f"Azure Key Vault cannot {action} now with {self._root.root_key_id}: {reason}",
            hint="it is tried again by itself; check network, firewall and the vault's throttling",
        )


def _inner_code(error: Any) -> str:
    inner = getattr(getattr(error, "error", None), "innererror", None)
    if isinstance(inner, dict) and "code" in inner:
        return str(inner["code"])
    return str(getattr(getattr(error, "error", None), "code", ""))
