"""Google Cloud KMS as the root: a symmetric key wraps the RMK; the one door to Google's libraries.

REST only. The wrap's context is the additional authenticated data. What is sent and what comes back is
checked by CRC32C, as Google advises: a network that damages a wrap must be noticed while the RMK is there.
"""

import ipaddress
import json
import re
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

from strongroom.clock import Clock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.roots import indirect, wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.settings import RootSettings

KIND = "gcp"
TIMEOUT_S = 5.0
ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_SCOPES = ("https://www.googleapis.com/auth/cloudkms",)
_LABEL = b"strongroom/v1/root/gcp"
_NAME = re.compile(
    r"projects/[A-Za-z0-9.:_-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}"
    r"/cryptoKeys/[A-Za-z0-9_-]{1,63}"
)
_CASTAGNOLI = 0x82F63B78


def settings(
    key_name: str, *, credentials: SecretBytes | None = None, endpoint: str = ""
) -> RootSettings:
    """Checked settings; asks nobody.

    Args:
        key_name: `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
        credentials: JSON of a service account's key; else the application default credentials.
        endpoint: `https://<name>.p.googleapis.com` of a private endpoint; else Google's public one.

    Raises:
        UsageError: No name of a key, no endpoint, or no service account's key.
    """
    name = key_name.strip().strip("\"'").strip()
    if _NAME.fullmatch(name) is None:
        hint = (
            "projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>, no version"
        )
        raise UsageError(f"not the name of a key: {name!r}", hint=hint)
    options = {"endpoint": _endpoint(endpoint)} if endpoint else {}
    if credentials is None:
        return RootSettings(KIND, name, options)
    try:
        told = json.loads(credentials.reveal())
        email = str(told["client_email"])
        fit = told["type"] == "service_account"
    except (ValueError, TypeError, LookupError):
        fit, email = False, ""
    if not fit:
        # without the cause, which could hold the key
        raise UsageError("the credentials are not the JSON of a service account's key") from None
    return RootSettings(KIND, name, {**options, "account": email}, {"credentials": credentials})


def _endpoint(text: str) -> str:
    url = text.strip().strip("\"'").rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        local = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        host, port, local = "", 0, False
        parts = urlsplit("")
    bare = f"{parts.scheme}://{parts.netloc}" == url and "@" not in url and port != 0
    if not host or not bare or not (parts.scheme == "https" or local):
        raise UsageError(f"not an endpoint: {url!r}", hint="https://<name>.p.googleapis.com")
    return url


def build(root: RootSettings, clock: Clock) -> "GcpRoot":
    """The root with Google's client; credentials are looked for at the first call."""
    try:
        from google.cloud import kms_v1  # noqa: F401  a missing library is told here
    except ImportError as error:
        raise RootError(
            "the root of Google Cloud needs google-cloud-kms", hint="pip install 'strongroom[gcp]'"
        ) from error
    return GcpRoot(GoogleClient(root), root, clock)


class Connection(Protocol):
    """A client of Cloud KMS, and whose credentials it has."""

    def client(self) -> Any:
        """Google's client."""
        ...

    def identity(self) -> str:
        """Who the credentials belong to, in words; asks nobody."""
        ...


class GoogleClient:
    """The client by a service account's key of the settings, else by the default credentials."""

    def __init__(self, root: RootSettings) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._client: Any = None
        self._email = root.options.get("account", "")

    def client(self) -> Any:
        """Google's client; made at the first call, since it looks for credentials."""
        from google.cloud import kms_v1

        with self._lock:
            if self._client is None:
                options = self._root.options
                endpoint = {"api_endpoint": options["endpoint"]} if "endpoint" in options else {}
                self._client = kms_v1.KeyManagementServiceClient(
                    credentials=self._credentials(), transport="rest", client_options=endpoint
                )
            return self._client

    def identity(self) -> str:
        """The service account, as far as it is known."""
        return self._email or "the application default credentials"

    def _credentials(self) -> Any:
        import google.auth
        from google.oauth2 import service_account

        own = self._root.secrets.get("credentials")
        if own is None:
            found, _ = google.auth.default(scopes=_SCOPES)
            self._email = str(getattr(found, "service_account_email", ""))
            return found
        return service_account.Credentials.from_service_account_info(
            json.loads(own.reveal()), scopes=_SCOPES
        )


class GcpRoot:
    """Wraps the RMK by one symmetric key of Cloud KMS."""

    def __init__(self, connection: Connection, root: RootSettings, clock: Clock) -> None:
        """Build the root.

        Args:
            connection: Gives the client.
            root: Its settings.
            clock: For the times in records.
        """
        self._connection = connection
        self._root = root
        self._clock = clock

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Encrypt by the primary version of the key; the record keeps that version's name."""
        pairs, plain = context.pairs(), key.reveal()
        aad = _LABEL + indirect.context_bytes(pairs)
        request = {
            "name": self._root.root_key_id,
            "plaintext": plain,
            "plaintext_crc32c": crc32c(plain),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
        answer = self._call("encrypt", request)
        blob, version = bytes(answer.ciphertext), str(answer.name)
        self._check_crc("encrypt", blob, answer.ciphertext_crc32c)
        both = (
            answer.verified_plaintext_crc32c,
            answer.verified_additional_authenticated_data_crc32c,
        )
        if not all(both) or not version.startswith(f"{self._root.root_key_id}/"):
            raise self._unavailable("encrypt", "the request was changed on its way")
        return wraps.new_record(context, KIND, version, blob, self._clock)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt; Cloud KMS finds the version by itself.

        Raises:
            RootRefusedError: Another key made the record; nobody is asked.
        """
        own = self._root.root_key_id
        if not f"{record.root_key_id}/".startswith(f"{own}/"):
            raise wraps.other_key(record.root_key_id, own)
        aad = _LABEL + indirect.context_bytes(record.context)
        request = {
            "name": own,
            "ciphertext": record.blob,
            "ciphertext_crc32c": crc32c(record.blob),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
        answer = self._call("decrypt", request)
        plain = bytes(answer.plaintext)
        self._check_crc("decrypt", plain, answer.plaintext_crc32c)
        return SecretBytes(plain)

    def describe(self) -> RootDescription:
        """The key, and the identity used."""
        details = {"identity": self._connection.identity()}
        endpoint = self._root.options.get("endpoint")
        if endpoint:
            details["endpoint"] = endpoint
        return RootDescription(KIND, self._root.root_key_id, details)

    def check(self) -> None:
        """Wrap and unwrap a fresh key.

        Raises:
            RootError: Cloud KMS does not allow it, or gives back another key.
        """
        wraps.check_round_trip(self, f"the key {self._root.root_key_id}")

    # ---- calls -----------------------------------------------------------------------------------

    def _call(self, action: str, request: dict[str, Any]) -> Any:
        """Ask, and translate what Google's libraries raise."""
        import requests
        from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            return getattr(self._connection.client(), action)(
                request=request, retry=None, timeout=TIMEOUT_S
            )
        except GoogleAPICallError as error:
            raise self._translated(action, error) from error
        except GoogleAuthError as error:
            raise self._unauthenticated(action, error) from error
        except (GoogleAPIError, requests.RequestException, ValueError, OSError) as error:
            raise self._unavailable(action, f"{type(error).__name__}: {error}") from error

    def _translated(self, action: str, error: Any) -> RootError | IntegrityError:
        status, said = int(error.code or 0), str(error.message)
        if status in {0, 408, 429, 499} or status >= 500:
            return self._unavailable(action, f"HTTP {status}: {said}")
        if action == "decrypt" and status == 400 and "Decryption failed" in said:
            return IntegrityError()
        key = self._root.root_key_id
        reason, hint = self._reason(action, status, said)
        return RootRefusedError(f"Cloud KMS refused to {action} with {key}: {reason}", hint=hint)

    def _reason(self, action: str, status: int, said: str) -> tuple[str, str]:
        key, who = self._root.root_key_id, self._connection.identity()
        if status == 401:
            hint = f"check the credentials of {who}, and this machine's clock"
            return f"{who} is not accepted ({said})", hint
        if status == 403:
            return f"{who} may not {action} ({said})", f"grant {who} {ROLE} on {key}"
        if status == 404:
            return f"there is no such key ({said})", "compare project, location, ring and key"
        if "DESTROY" in said:
            return f"the key's version is to be destroyed ({said})", "restore it, at once"
        if "not enabled" in said or "DISABLED" in said:
            return f"the key's version is disabled ({said})", "enable it"
        return f"HTTP {status}: {said}", "see the documentation of Cloud KMS"

    def _unauthenticated(self, action: str, error: Any) -> RootError:
        from google.auth.exceptions import RefreshError

        key, who = self._root.root_key_id, self._connection.identity()
        if isinstance(error, RefreshError) and not error.retryable:
            return RootRefusedError(
                f"Google does not accept {who} to {action} with {key}: {error}",
                hint=f"check the credentials of {who}, and this machine's clock",
            )
        return RootUnavailableError(
            f"there are no credentials of Google to {action} with {key}: {error}",
            hint="attach a service account to the machine, or give --credentials-file",
        )

    def _check_crc(self, action: str, data: bytes, told: object) -> None:
        if told != crc32c(data):
            raise self._unavailable(action, "the answer was changed on its way")

    def _unavailable(self, action: str, reason: str) -> RootUnavailableError:
        return RootUnavailableError(
            f"Cloud KMS cannot {action} now with {self._root.root_key_id}: {reason}",
            hint="it is tried again by itself; check network, proxy, TLS and the project's quota",
        )


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum; by bits, since all that is summed here is short."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
