"""OpenBao or Vault as the root: a data key of transit seals the RMK; the one door to hvac.

Two paths are ever needed, `datakey/plaintext/<key>` and `decrypt/<key>`. Transit binds no context to a
data key, unless the key is derived: an inner seal does (kms-store.md 1.3, indirect). The context is
sent all the same, so that a derived key works, and binds it once more.
"""

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from strongroom import foreign_words
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
from strongroom.roots import (
    addresses,
    credentials,
    ends,
    indirect,
    names,
    openbao_lease,
    outbound,
    wraps,
)
from strongroom.roots.base import Context, CredentialEnd, RootDescription, WrapRecord
from strongroom.roots.kinds import Given, Option, RootKind
from strongroom.roots.openbao_lease import Lease
from strongroom.roots.settings import RootSettings
from strongroom.system.extras import needed

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
    """Checked settings; sends no request.

    Args:
        address: `https://host:8200`.
        key: Name of the transit key.
        token: A token; or else
        secret_id: The secret id of the AppRole `role_id`.
        options: `mount`, `namespace`, `role_id`, `ca_file`.

    Raises:
        UsageError: A wrong address or name, or not exactly one kind of credential.
    """
    url = addresses.parse(address, what="an OpenBao", example="https://bao.example.org:8200")
    mount, namespace = options.pop("mount", "transit"), options.pop("namespace", "")
    mount = names.path(mount, _PATH, "the path of a mount", hint="for example transit")
    if namespace:
        namespace = names.path(namespace, _PATH, "the path of a namespace", hint="for example team")
    name = names.part(key, _NAME, "the name of a transit key")
    if options.get("role_id"):
        names.label(options["role_id"], "the id of an AppRole")
    by_role = bool(options.get("role_id")) and secret_id is not None
    if (token is not None) is by_role or bool(options.get("role_id")) is not (
        secret_id is not None
    ):
        hint = "give --token-file, or --role-id with --secret-id-file"
        raise UsageError("OpenBao needs one credential", hint=hint)
    present = {"address": url, "mount": mount, "key": name, "namespace": namespace, **options}
    named = {"token": (token, "the token"), "secret_id": (secret_id, "the secret id")}
    within = f"{namespace}/{mount}" if namespace else mount
    return RootSettings(
        KIND,
        f"{url}/v1/{within}/keys/{name}",
        {option: value for option, value in present.items() if value},
        {
            name: credentials.checked(one, what)
            for name, (one, what) in named.items()
            if one is not None
        },
    )


def build(
    root: RootSettings, clock: Clock, monotonic: Callable[[], float] = time.monotonic
) -> "OpenbaoRoot":
    """The root with a client of hvac, which learns of the environment what `outbound` lets in."""
    with needed("the OpenBao root needs hvac", "openbao", RootError):
        import hvac
    token = root.secrets.get("token")
    client_class: Any = hvac.Client  # takes more than its annotations say
    client = client_class(
        url=root.options["address"],
        # never None: hvac would take a token of the environment
        token=token.reveal().decode() if token else "",
        # not None either: it would take a client's certificate of the environment
        cert="",
        session=outbound.session(root.options.get("ca_file", ""), "VAULT_CACERT", "BAO_CACERT"),
        namespace=root.options.get("namespace"),
        timeout=(CONNECT_S, READ_S),
    )
    return OpenbaoRoot(client, root, clock, monotonic)


def of_options(given: Given) -> RootSettings:
    """The settings of a command line.

    Raises:
        UsageError: As `settings`; or two kinds of credential are given.
    """
    by_role = given.text("--role-id") or given.flag("--secret-id-file")
    if by_role and given.flag("--token-file"):
        raise UsageError("--token-file and --role-id exclude each other")
    token = None if by_role else given.needed("--token-file", "the token")
    return settings(
        given.text("--address"),
        given.text("--key"),
        token=token,
        secret_id=given.needed("--secret-id-file", "the secret id") if by_role else None,
        mount=given.text("--mount"),
        namespace=given.text("--namespace"),
        role_id=given.text("--role-id"),
        ca_file=given.certificates("--ca-file"),
    )


def of_backup(root: RootSettings) -> RootSettings:
    """The settings that a backup names."""
    return settings(
        root.options["address"],
        root.options["key"],
        token=root.secrets.get("token"),
        secret_id=root.secrets.get("secret_id"),
        **root.told("mount", "namespace", "role_id", "ca_file"),
    )


ROOT = RootKind(
    KIND,
    build,
    title="OpenBao",
    options=(
        Option("--address", "URL", "https://<host>:8200", required=True),
        Option("--key", "NAME", "a key of the transit engine", required=True),
        Option(
            "--mount", "PATH", "mount of the transit engine; default: transit", default="transit"
        ),
        Option("--namespace", "PATH", "namespace of the mount"),
        Option("--token-file", "FILE", "file with a token; - is stdin"),
        Option("--role-id", "ID", "role id, to sign in by AppRole"),
        Option("--secret-id-file", "FILE", "file with the AppRole's secret id; - is stdin"),
        Option("--ca-file", "FILE", "certificates of your own authority, to trust"),
    ),
    of_options=of_options,
    example="--address URL --key NAME --token-file token",
    of_backup=of_backup,
)


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
            root: The settings of the root.
            clock: For the times in records.
            monotonic: Seconds of a clock that never goes back, for the age of tokens.
        """
        self._client = client
        self._root = root
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lease: Lease | None = None
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
        inner = indirect.seal(key, self._data_key(data), context)
        return wraps.new_record(
            context, KIND, self._root.root_key_id, blob, self._clock, inner=inner
        )

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        """Have the data key decrypted, and open the seal.

        Raises:
            RootRefusedError: Another key made the record, which is seen without a request.
        """
        if not self._root.opens(record):
            raise wraps.other_key(record.root_key_id, self._root.root_key_id)
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
        return indirect.open_(record, self._data_key(data))

    def describe(self) -> RootDescription:
        """Address, mount, key and the identity used."""
        shown = ("address", "namespace", "mount", "key")
        options = self._root.options
        details = {name: options[name] for name in shown if name in options}
        details |= outbound.shown_proxy(options["address"])
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
        """Renew the token before half of its time is over; an AppRole that has not signed in yet has no token to renew.

        Args:
            until_next_s: Seconds until this is called again.

        Raises:
            RootError: The token cannot be renewed now.
        """
        import requests
        from hvac.exceptions import Forbidden, InvalidRequest, VaultError

        try:
            with self._lock:
                lease = self._known_lease()
                if lease is not None and lease.is_due(self._monotonic() + until_next_s):
                    self._keep_lease(self._client.auth.token.renew_self()["auth"], lease)
        except (Forbidden, InvalidRequest) as error:
            raise RootRefusedError(
                f"{self._identity()} cannot renew its token for {self._root.root_key_id}",
                hint="allow it lookup-self and renew-self, as the policy 'default' does; see that the"
                " token has not expired, and set a new one with set-mode if it has",
            ) from self._cause(error)
        except (VaultError, requests.RequestException) as error:
            raise self._unavailable("renew the token", type(error).__name__) from self._cause(error)
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            reason = f"its answer cannot be read ({type(error).__name__})"
            raise self._unavailable("renew the token", reason) from self._cause(error)

    def credential_end(self) -> CredentialEnd | None:
        """The end of the configured token; None for an AppRole, since the server does not report when its secret id ends."""
        if "role_id" in self._root.options:
            return None
        try:
            with self._lock:
                lease = self._known_lease()
        except Exception:  # noqa: BLE001 the end is only an extra; a policy without lookup-self is allowed
            return None
        return lease.end if lease else None

    def _known_lease(self) -> Lease | None:
        """The lease of the present token; asked for, if the token was set and never looked at."""
        token = str(self._client.token or "")
        if not token or (self._lease is not None and self._lease.token == token):
            return self._lease if token else None
        told = self._client.auth.token.lookup_self()["data"]
        ttl_s, renewable = float(told["ttl"]), bool(told["renewable"])
        end = openbao_lease.end_of(told, self._clock.now())
        self._lease = Lease(token, self._monotonic(), ttl_s, renewable, end)
        return self._lease

    def _keep_lease(self, auth: Mapping[str, Any], before: Lease | None = None) -> None:
        ttl_s, renewable = float(auth.get("lease_duration") or 0), bool(auth.get("renewable"))
        end = before.end if before else None
        if before and end is None and 0 < ttl_s < before.ttl_s - openbao_lease.SLACK_S:
            # the renewal gave less than the full time, so the token's maximum, which the server does not report, is
            # near
            whole = timedelta(seconds=before.ttl_s)
            end = ends.of(openbao_lease.NOTICE, self._clock.now() + timedelta(seconds=ttl_s), whole)
        self._lease = Lease(str(self._client.token), self._monotonic(), ttl_s, renewable, end)

    def _identity(self) -> str:
        role = self._root.options.get("role_id")
        return f"AppRole {role}" if role else "the token that was set"

    def _secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The secrets of a call, which no message may show: those of the settings, and a token obtained with them."""
        return (*self._root.secrets.values(), self._client.token, *outbound.secrets())

    def _cause(self, error: Exception) -> Exception:
        return foreign_words.cause(error, *self._secrets())

    # ---- calls -----------------------------------------------------------------------------------

    def _call(self, action: str, call: Callable[[Any, dict[str, str]], Any]) -> Mapping[str, Any]:
        """Run a call and translate what hvac and requests raise."""
        import requests
        from hvac.exceptions import VaultError

        try:
            answer = self._signed_in(call)
            data = answer["data"]
        except VaultError as error:
            raise self._translated(action, error) from self._cause(error)
        except requests.RequestException as error:
            said = foreign_words.named(error, *self._secrets())
            raise self._unavailable(action, said) from self._cause(error)
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            reason = f"its answer cannot be read ({type(error).__name__})"
            raise self._unavailable(action, reason) from self._cause(error)
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

        said = foreign_words.of("; ".join(map(str, error.errors or [])), *self._secrets())
        said = said or foreign_words.of(error.args[0] or "no reason given", *self._secrets())
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
