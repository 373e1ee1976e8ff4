"""Google Cloud KMS as the root: a symmetric key wraps the RMK; the one door to Google's libraries.

REST only. The wrap's context is the additional authenticated data. What is sent and what comes back is
checked by CRC32C, as Google advises: a network that damages a wrap must be noticed while the RMK is there.
"""

import json
import re
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

from strongroom import foreign_words
from strongroom.clock import Clock
from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    UsageError,
)
from strongroom.roots import addresses, indirect, names, outbound, wraps
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.kinds import Given, Option, RootKind
from strongroom.roots.settings import RootSettings
from strongroom.system.crc32c import crc32c
from strongroom.system.extras import needed

KIND = "gcp"
TIMEOUT_S = 5.0
ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_SCOPES = ("https://www.googleapis.com/auth/cloudkms",)
_NAME = re.compile(
    r"projects/[A-Za-z0-9.:_-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}"
    r"/cryptoKeys/[A-Za-z0-9_-]{1,63}"
)
#: The libraries' exceptions for an answer that does not come from Cloud KMS.
_UNREADABLE = (ValueError, OSError, AttributeError, TypeError, LookupError)
_CASTAGNOLI = 0x82F63B78
_NEEDED = ("client_email", "private_key", "token_uri")
_PRIVATE = "https://<name>.p.googleapis.com"
#: Types of credentials that Google's tools make and that are no service account's key → what to do with them.
_OTHER_TYPES = {
    "external_account": "of workload identity federation",
    "external_account_authorized_user": "of workforce identity federation",
    "impersonated_service_account": "of an impersonated service account",
    "authorized_user": "of a person",
    "gdch_service_account": "of Google Distributed Cloud",
}


def settings(
    key_name: str, *, credentials: SecretBytes | None = None, endpoint: str = ""
) -> RootSettings:
    """Checked settings; sends no request.

    Args:
        key_name: `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
        credentials: JSON of a service account's key; else the application default credentials.
        endpoint: `https://<name>.p.googleapis.com` of a private endpoint; else Google's public one.

    Raises:
        UsageError: No name of a key, no endpoint, or no service account's key.
    """
    hint = "projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>, no version"
    # a slash before it or behind it is no name of Google's
    name = names.part(key_name, _NAME, "the name of a key", hint=hint)
    names.path(name, _NAME, "the name of a key", hint=hint)
    options = {}
    if endpoint:
        options["endpoint"] = addresses.parse(endpoint, what="an endpoint", example=_PRIVATE)
    if credentials is None:
        return RootSettings(KIND, name, options)
    account = _account(credentials)
    return RootSettings(KIND, name, {**options, "account": account}, {"credentials": credentials})


def _account(credentials: SecretBytes) -> str:
    """The account of a key in JSON; errors are without their cause, which could hold the key."""
    try:
        told = json.loads(credentials.reveal())
        kind, missing = str(told["type"]), {*_NEEDED} - {*told}
    except (ValueError, TypeError, LookupError):
        raise UsageError("the credentials are not the JSON of a service account's key") from None
    if kind in _OTHER_TYPES:
        raise UsageError(
            f"the credentials are {_OTHER_TYPES[kind]} ({kind}), not a service account's key",
            hint="name their file in GOOGLE_APPLICATION_CREDENTIALS in the environment of 'strongroom serve' and"
            " of the commands, and leave --credentials-file out: then they are the default credentials",
        )
    if kind != "service_account" or missing:
        raise UsageError("the credentials are not the JSON of a service account's key")
    token_url = urlsplit(str(told["token_uri"]))
    addresses.parse(
        f"{token_url.scheme}://{token_url.netloc}",
        what="who gives tokens for the service account (token_uri)",
        example="https://oauth2.googleapis.com/token",
    )
    return str(told["client_email"])


def build(root: RootSettings, clock: Clock) -> "GcpRoot":
    """The root with Google's client; credentials are looked for at the first call."""
    with needed("the root of Google Cloud needs google-cloud-kms", "gcp", RootError):
        from google.cloud import kms_v1  # noqa: F401  a missing library is told here
    return GcpRoot(GoogleClient(root), root, clock)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line."""
    file, what = "--credentials-file", "the service account's key"
    return settings(
        given.text("--key-name"),
        credentials=given.credential(file, what, lines=True),
        endpoint=given.text("--endpoint"),
    )


def of_backup(root: RootSettings) -> RootSettings:
    """The settings that a backup names."""
    return settings(
        root.root_key_id,
        credentials=root.secrets.get("credentials"),
        endpoint=root.options.get("endpoint", ""),
    )


ROOT = RootKind(
    KIND,
    build,
    title="Google Cloud KMS",
    options=(
        Option("--key-name", "NAME", "projects/…/cryptoKeys/K", required=True),
        Option(
            "--credentials-file",
            "FILE",
            "JSON of a service account's key, - is stdin; else the machine's default credentials",
        ),
        Option("--endpoint", "URL", "a private endpoint"),
    ),
    of_options=of_options,
    example="--key-name NAME --credentials-file key.json",
    version=r"(?P<key>.*/cryptoKeys/[^/]+)/cryptoKeyVersions/[^/]+",
    of_backup=of_backup,
)


class Connection(Protocol):
    """A client of Cloud KMS, and whose credentials it has."""

    def client(self) -> Any:
        """Google's client."""
        ...

    def identity(self) -> str:
        """The owner of the credentials, in words; sends no request."""
        ...

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The secrets of a call, which no message may show."""
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
        with self._lock:
            if self._client is None:
                self._client = self._connected()
            return self._client

    def identity(self) -> str:
        """The service account, as far as it is known."""
        return self._email or "the application default credentials"

    def _connected(self) -> Any:
        from google.cloud import kms_v1

        found = self._credentials()
        universe = str(getattr(found, "universe_domain", "") or "googleapis.com")
        # both are named, or a variable of the environment may name another server
        where = {
            "api_endpoint": self._root.options.get("endpoint", f"cloudkms.{universe}"),
            "universe_domain": universe,
        }
        made = kms_v1.KeyManagementServiceClient(
            credentials=found, transport="rest", client_options=where
        )
        # the client takes no session of ours; it has one for requests, and in it one for tokens
        transport: Any = made.transport
        session = transport._session  # noqa: SLF001
        outbound.close(session, outbound.trusted())
        session._auth_request = _request()  # noqa: SLF001
        return made

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The texts that no message may show: the private key, the tokens obtained with it, proxies' passwords."""
        own = self._root.secrets.get("credentials")
        key = str(json.loads(own.reveal()).get("private_key", "")) if own else ""
        client = self._client
        token = getattr(client.transport._session.credentials, "token", None) if client else None  # noqa: SLF001
        return (own, key, token, *outbound.secrets())

    def _credentials(self) -> Any:
        import google.auth
        from google.oauth2 import service_account

        own = self._root.secrets.get("credentials")
        if own is None:
            found, _ = google.auth.default(scopes=_SCOPES, request=_request())
            self._email = str(getattr(found, "service_account_email", ""))
            return found
        return service_account.Credentials.from_service_account_info(
            json.loads(own.reveal()), scopes=_SCOPES
        )


def _request() -> Any:
    """How Google's library fetches tokens: by a session that is closed to the environment."""
    from google.auth.transport.requests import Request

    return Request(outbound.session())


class GcpRoot:
    """Wraps the RMK by one symmetric key of Cloud KMS."""

    def __init__(self, connection: Connection, root: RootSettings, clock: Clock) -> None:
        """Build the root.

        Args:
            connection: Gives the client.
            root: The settings of the root.
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
        aad = labels.ROOT_GCP + indirect.context_bytes(pairs)
        request = {
            "name": self._root.root_key_id,
            "plaintext": plain,
            "plaintext_crc32c": crc32c(plain),
            "additional_authenticated_data": aad,
            "additional_authenticated_data_crc32c": crc32c(aad),
        }
        answer = self._call("encrypt", request)
        blob, named, own = bytes(answer.ciphertext), str(answer.name), self._root.root_key_id
        self._check_crc("encrypt", blob, answer.ciphertext_crc32c)
        both = (
            answer.verified_plaintext_crc32c,
            answer.verified_additional_authenticated_data_crc32c,
        )
        # a project has a name and a number: what comes after it says whether it is our key
        _, _, place = own.partition("/locations/")
        _, _, told = named.partition("/locations/")
        if not all(both) or not told.startswith(f"{place}/"):
            raise self._unavailable("encrypt", "the request was changed on its way")
        return wraps.new_record(context, KIND, own + told[len(place) :], blob, self._clock)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Decrypt; Cloud KMS finds the version by itself.

        Raises:
            RootRefusedError: Another key made the record, which is seen without a request.
        """
        own = self._root.root_key_id
        if not self._root.opens(record):
            raise wraps.other_key(record.root_key_id, own)
        aad = labels.ROOT_GCP + indirect.context_bytes(record.context)
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
        details |= outbound.shown_proxy(endpoint or "https://cloudkms.googleapis.com")
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

        def secrets() -> tuple[foreign_words.Secret, ...]:
            return (request.get("plaintext"), *self._connection.secrets())

        try:
            return getattr(self._connection.client(), action)(
                request=request, retry=None, timeout=TIMEOUT_S
            )
        except GoogleAPICallError as error:
            raise self._translated(action, error, secrets()) from foreign_words.cause(
                error, *secrets()
            )
        except GoogleAuthError as error:
            raise self._unauthenticated(action, error) from foreign_words.cause(error, *secrets())
        except (GoogleAPIError, requests.RequestException, *_UNREADABLE) as error:
            said = foreign_words.named(error, *secrets())
            raise self._unavailable(action, said) from foreign_words.cause(error, *secrets())

    def _translated(
        self, action: str, error: Any, secrets: tuple[foreign_words.Secret, ...]
    ) -> RootError | IntegrityError:
        status = int(error.code or 0)
        said = foreign_words.of(error.message, *secrets)
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
        said = foreign_words.of(error, *self._connection.secrets())
        if isinstance(error, RefreshError) and not error.retryable:
            return RootRefusedError(
                f"Google does not accept {who} to {action} with {key}: {said}",
                hint=f"check the credentials of {who}, and this machine's clock",
            )
        return RootUnavailableError(
            f"there are no credentials of Google in the environment of {outbound.whose()} to {action}"
            f" with {key}: {said}",
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
