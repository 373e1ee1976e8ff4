"""OpenBao or Vault as the root: a data key of transit seals the RMK; the one door to hvac.

Two paths are ever needed, `datakey/plaintext/<key>` and `decrypt/<key>`. Transit binds no context to a
data key, unless the key is derived: an inner seal does (kms-store.md 1.3, indirect). The context is
sent all the same, so that a derived key works, and binds it once more.
"""

import base64
import binascii
import ipaddress
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
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

KIND = "openbao"
#: A wrong secret id is given no more often by one provider: OpenBao locks a role out after five.
MAX_WRONG_LOGINS = 2
CONNECT_S = 3.0
READ_S = 5.0
_KEY_BYTES = 32
_PATH = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ACTIONS = {"datakey": "datakey/plaintext", "decrypt": "decrypt"}


def settings(
    address: str,
    key: str,
    *,
    token: SecretBytes | None = None,
    secret_id: SecretBytes | None = None,
    **options: str,
) -> RootSettings:
    """Checked settings; asks nobody.

    Args:
        address: `https://host:8200`.
        key: Name of the transit key.
        token: A token; or else
        secret_id: The secret id of the AppRole `role_id`.
        options: `mount`, `namespace`, `role_id`, `ca_file`.

    Raises:
        UsageError: A wrong address or name, or not exactly one kind of credential.
    """
    url = _address(address)
    mount = options.pop("mount", "").strip().strip("/") or "transit"
    namespace = options.pop("namespace", "").strip().strip("/")
    for path in filter(None, (mount, namespace)):
        if _PATH.fullmatch(path) is None:
            raise UsageError(f"not a path: {path!r}", hint="for example transit")
    name = key.strip().strip("\"'")
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"not the name of a transit key: {name!r}")
    by_role = bool(options.get("role_id")) and secret_id is not None
    if (token is not None) is by_role or bool(options.get("role_id")) is not (
        secret_id is not None
    ):
        hint = "give --token-file, or --role-id with --secret-id-file"
        raise UsageError("OpenBao needs one credential", hint=hint)
    present = {"address": url, "mount": mount, "key": name, "namespace": namespace, **options}
    secrets = {"token": token, "secret_id": secret_id}
    within = f"{namespace}/{mount}" if namespace else mount
    return RootSettings(
        KIND,
        f"{url}/v1/{within}/keys/{name}",
        {option: value for option, value in present.items() if value},
        {option: value for option, value in secrets.items() if value is not None},
    )


def _address(text: str) -> str:
    url = text.strip().strip("\"'").rstrip("/")
    hint = "for example https://bao.example.org:8200; plain http only to this machine itself"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"not an address: {url!r}", hint=hint) from error
    plain = parts.scheme == "http" and _is_loopback(host)
    rebuilt = f"{parts.scheme}://{parts.netloc}"
    if (
        not host
        or port == 0
        or "@" in url
        or url != rebuilt
        or not (parts.scheme == "https" or plain)
    ):
        raise UsageError(f"not an address that may be asked: {url!r}", hint=hint)
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build(
    root: RootSettings, clock: Clock, monotonic: Callable[[], float] = time.monotonic
) -> "OpenbaoRoot":
    """The root with a client of hvac; a CA file of the settings stands before `VAULT_CACERT`."""
    try:
        import hvac
    except ImportError as error:
        raise RootError(
            "the OpenBao root needs hvac", hint="pip install 'strongroom[openbao]'"
        ) from error
    token = root.secrets.get("token")
    client = hvac.Client(
        url=root.options["address"],
        # never None: hvac would take a token of the environment
        token=token.reveal().decode() if token else "",
        verify=root.options.get("ca_file"),
        namespace=root.options.get("namespace"),
        timeout=(CONNECT_S, READ_S),
    )
    return OpenbaoRoot(client, root, clock, monotonic)


@dataclass(frozen=True)
class _Lease:
    """For how long a token holds.

    Attributes:
        token: Which one.
        since: When it was told; seconds of the monotonic clock.
        ttl_s: For how long from then; 0 is for ever.
        renewable: Whether it can be made longer.
    """

    token: str
    since: float
    ttl_s: float
    renewable: bool

    def is_due(self, at: float) -> bool:
        """Whether half of its time is over at a moment."""
        return self.renewable and self.ttl_s > 0 and at >= self.since + self.ttl_s / 2


class OpenbaoRoot:
    """Wraps the RMK by one transit key."""

    def __init__(
        self,
        client: Any,
        root: RootSettings,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the root.

        Args:
            client: hvac's; with the token, if there is one.
            root: Its settings.
            clock: For the times in records.
            monotonic: Seconds of a clock that never goes back, for the age of tokens.
        """
        self._client = client
        self._root = root
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lease: _Lease | None = None
        self._wrong_logins = 0

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        """A fresh key of our own generator, and its wrap."""
        key = rng.new_key()
        return key, self.wrap(key, context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Seal a key under a data key of transit."""
        pairs = context.pairs()
        data = self._call(
            "datakey",
            lambda transit, where: transit.generate_data_key(
                key_type="plaintext", bits=8 * _KEY_BYTES, context=_bound(pairs), **where
            ),
        )
        blob = self._text(data, "ciphertext").encode()
        inner = indirect.seal(key, self._data_key(data), pairs)
        return wraps.new_record(
            context, KIND, self._root.root_key_id, blob, self._clock, inner=inner
        )

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Have the data key decrypted, and open the seal.

        Raises:
            RootRefusedError: Another key made the record; nobody is asked.
        """
        own = self._root.root_key_id
        if record.root_key_id != own:
            raise wraps.other_key(record.root_key_id, own)
        try:
            blob = record.blob.decode("ascii")
        except UnicodeDecodeError:
            raise IntegrityError from None
        data = self._call(
            "decrypt",
            lambda transit, where: transit.decrypt_data(
                ciphertext=blob, context=_bound(record.context), **where
            ),
        )
        return indirect.open_(record.inner, self._data_key(data), record.context)

    def describe(self) -> RootDescription:
        """Address, mount, key and the identity used."""
        shown = ("address", "namespace", "mount", "key")
        options = self._root.options
        details = {name: options[name] for name in shown if name in options}
        return RootDescription(
            KIND, self._root.root_key_id, {**details, "identity": self._identity()}
        )

    def check(self) -> None:
        """Make, wrap and unwrap a fresh key.

        Raises:
            RootError: The server does not allow it, or gives back another key.
        """
        wraps.check_round_trip(self, f"the key {self._root.root_key_id}")

    def renew_credentials(self, until_next_s: float) -> None:
        """Renew the token before half of its time is over; an AppRole that has none needs none yet.

        Args:
            until_next_s: Seconds until this is called again.

        Raises:
            RootError: It cannot be renewed now.
        """
        import requests
        from hvac.exceptions import Forbidden, InvalidRequest, VaultError

        try:
            with self._lock:
                lease = self._known_lease()
                if lease is not None and lease.is_due(self._monotonic() + until_next_s):
                    self._keep_lease(self._client.auth.token.renew_self()["auth"])
        except (Forbidden, InvalidRequest) as error:
            raise RootRefusedError(
                f"{self._identity()} cannot renew its token for {self._root.root_key_id}",
                hint="allow it lookup-self and renew-self, as the policy 'default' does; see that the"
                " token has not expired, and set a new one with set-mode if it has",
            ) from error
        except (VaultError, requests.RequestException) as error:
            raise self._unavailable("renew the token", type(error).__name__) from error
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            reason = f"its answer cannot be read ({type(error).__name__})"
            raise self._unavailable("renew the token", reason) from error

    def _known_lease(self) -> _Lease | None:
        """The lease of the present token; asked for, if the token was set and never looked at."""
        token = str(self._client.token or "")
        if not token or (self._lease is not None and self._lease.token == token):
            return self._lease if token else None
        told = self._client.auth.token.lookup_self()["data"]
        self._lease = _Lease(token, self._monotonic(), float(told["ttl"]), bool(told["renewable"]))
        return self._lease

    def _keep_lease(self, auth: Mapping[str, Any]) -> None:
        ttl_s, renewable = float(auth.get("lease_duration") or 0), bool(auth.get("renewable"))
        self._lease = _Lease(str(self._client.token), self._monotonic(), ttl_s, renewable)

    def _identity(self) -> str:
        role = self._root.options.get("role_id")
        return f"AppRole {role}" if role else "the token that was set"

    # ---- calls -----------------------------------------------------------------------------------

    def _call(self, action: str, call: Callable[[Any, dict[str, str]], Any]) -> Mapping[str, Any]:
        """Run a call and translate what hvac and requests raise."""
        import requests
        from hvac.exceptions import VaultError

        try:
            answer = self._signed_in(call)
            data = answer["data"]
        except VaultError as error:
            raise self._translated(action, error) from error
        except requests.RequestException as error:
            raise self._unavailable(action, f"{type(error).__name__}: {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            reason = f"its answer cannot be read ({type(error).__name__})"
            raise self._unavailable(action, reason) from error
        if not isinstance(data, dict):
            raise self._unavailable(action, "its answer cannot be read")
        return data

    def _signed_in(self, call: Callable[[Any, dict[str, str]], Any]) -> Any:
        """Run a call, and by AppRole once more with a new token if the present one has ended."""
        from hvac.exceptions import Forbidden

        where = {"name": self._root.options["key"], "mount_point": self._root.options["mount"]}
        token = self._login("")
        if self._lease is not None and self._lease.is_due(self._monotonic()):
            with suppress(RootError):  # the call itself tells what is wrong
                self.renew_credentials(0)
        try:
            return call(self._client.secrets.transit, where)
        except Forbidden:
            if "role_id" not in self._root.options:
                raise
            self._login(token)
            return call(self._client.secrets.transit, where)

    def _login(self, ended: str) -> str:
        """The token; a new one by AppRole if there is none, or if the present one is the `ended`."""
        with self._lock:
            token = str(self._client.token or "")
            secret_id = self._root.secrets.get("secret_id")
            if token != ended or secret_id is None:
                return token
            answer = self._sign_in(secret_id)
            self._client.token = answer["auth"]["client_token"]
            self._keep_lease(answer["auth"])
            return str(self._client.token)

    def _sign_in(self, secret_id: SecretBytes) -> Any:
        from hvac.exceptions import InvalidRequest

        if self._wrong_logins >= MAX_WRONG_LOGINS:
            raise RootRefusedError(
                f"the secret id of {self._identity()} for {self._root.root_key_id} was wrong, and is not"
                " given again, so that the role is not locked out",
                hint=f"make a new secret id for {self._identity()} and set it with set-mode",
            )
        try:
            answer = self._client.auth.approle.login(
                self._root.options["role_id"], secret_id.reveal().decode(), use_token=False
            )
        except InvalidRequest:
            self._wrong_logins += 1
            raise
        self._wrong_logins = 0
        return answer

    def _translated(self, action: str, error: Any) -> RootError | IntegrityError:
        from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized

        said = "; ".join(map(str, error.errors or [])) or str(error.args[0] or "no reason given")
        said = " ".join(said.split())
        if not isinstance(error, Forbidden | InvalidPath | InvalidRequest | Unauthorized):
            return self._unavailable(action, f"{type(error).__name__}: {said}")
        if action == "decrypt" and ("authentication failed" in said or "invalid cipher" in said):
            return IntegrityError()
        reason, hint = self._reason(action, said, isinstance(error, Forbidden | Unauthorized))
        return RootRefusedError(
            f"OpenBao refused {action} with {self._root.root_key_id}: {reason}", hint=hint
        )

    def _reason(self, action: str, said: str, forbidden: bool) -> tuple[str, str]:
        options, who = self._root.options, self._identity()
        path = f"{options['mount']}/{_ACTIONS[action]}/{options['key']}"
        if "invalid role or secret" in said:
            return f"{who} cannot sign in ({said})", f"make a new secret id for {who} and set it"
        if forbidden:
            expired = "see that its token or secret id has not expired"
            return (
                f"{who} may not ({said})",
                f"allow {who} to update {path}, by a policy; {expired}",
            )
        if "soft-deleted" in said:
            return "the key is soft-deleted", "restore it: soft-delete-restore"
        if "disallowed by policy" in said:
            return (
                f"the key's version is too old ({said})",
                "lower min_decryption_version of the key, and rotate here before it is raised",
            )
        if "key not found" in said or "no handler" in said:
            return f"there is no such key ({said})", "compare address, namespace, mount and key"
        return said, f"see the server's log for {path}"

    def _unavailable(self, action: str, reason: str) -> RootUnavailableError:
        hint = (
            "it is tried again by itself; check network, TLS and --ca-file, and the server's load"
        )
        if "sealed" in reason:
            hint = "have the server unsealed; it is tried again by itself"
        return RootUnavailableError(
            f"OpenBao cannot {action} now with {self._root.root_key_id}: {reason}", hint=hint
        )

    # ---- answers ---------------------------------------------------------------------------------

    def _text(self, data: Mapping[str, Any], name: str) -> str:
        text = data.get(name)
        if not isinstance(text, str):
            raise RootError(f"the answer of {self._root.root_key_id} has no {name}")
        return text

    def _data_key(self, data: Mapping[str, Any]) -> SecretBytes:
        try:
            raw = base64.b64decode(self._text(data, "plaintext"), validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != _KEY_BYTES:
            raise RootError(f"{self._root.root_key_id} gave no key of {_KEY_BYTES} bytes")
        return SecretBytes(raw)


def _bound(context: Mapping[str, str]) -> str:
    return base64.b64encode(indirect.context_bytes(context)).decode("ascii")
