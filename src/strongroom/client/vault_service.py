"""Asks a node for what its service keys do and for its secrets, over the interface of Vault (docs/howto/vault-wire.md).

`strongroom_client.parquet`, the backend of keyring and `strongroom run --url` ask in this way.
"""

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote

from strongroom.client.connection import Connection
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    INTEGRITY_MESSAGE,
    AuthenticationError,
    IntegrityError,
    KeyServiceError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    StrongroomError,
)
from strongroom.system import disk

_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_MAX_FILE_BYTES = 4096
_MOST = 300  # characters of a server's sentence
_EMPTY: Mapping[str, object] = {}
_INVALID = frozenset({"permission denied", "invalid token"})
"""How a node refuses a token that it does not know; what a token may not do, it refuses with more words."""
_BUILT_IN = {"secret": True, "kv": False}
"""The mounts that every node has, and whether they keep versions."""

Read = Callable[[Path | str], SecretBytes]


class Identity(Protocol):
    """The identity as which a program asks."""

    @property
    def described(self) -> str:
        """The identity in words, without its secret."""
        ...

    def token(self, service: "VaultService", *, anew: bool) -> SecretBytes:
        """The token to send.

        Args:
            service: The service, for a sign-in.
            anew: Whether the last one was refused, so that another one is wanted.

        Raises:
            AuthenticationError: No further token can be had.
            KeyServiceError: The node cannot be asked, or a file cannot be read.
        """
        ...


class Token:
    """A token from a file, which is read at the first request and again after a refusal.

    Args:
        path: The file.
        read: Reads it.
    """

    def __init__(self, path: Path | str, *, read: Read | None = None) -> None:
        self._path, self._read = path, read or read_secret_file
        self._token: SecretBytes | None = None

    @property
    def described(self) -> str:
        """The identity in words."""
        return f"the token in {self._path}"

    def token(self, service: "VaultService", *, anew: bool) -> SecretBytes:
        """The token in the file (`Identity.token`)."""
        del service
        if self._token is None or anew:
            before, self._token = self._token, self._read(self._path)
            if anew and before == self._token:
                raise AuthenticationError(f"{self.described} is not valid")
        return self._token


class AppRole:
    """A role, whose role id and secret id are exchanged for a token at the first request, and anew when that has ended.

    Args:
        role_id: The role id.
        secret_id_path: The file with the secret id.
        mount: The path at which the role signs in, below `auth/`.
        read: Reads the file.
    """

    def __init__(
        self,
        role_id: str,
        secret_id_path: Path | str,
        *,
        mount: str = "approle",
        read: Read | None = None,
    ) -> None:
        self._role_id, self._path, self._mount = role_id, secret_id_path, mount
        self._read = read or read_secret_file
        self._token: SecretBytes | None = None

    @property
    def described(self) -> str:
        """The identity in words."""
        return f"the role {self._role_id}"

    def token(self, service: "VaultService", *, anew: bool) -> SecretBytes:
        """The token of a sign-in (`Identity.token`)."""
        if self._token is None or anew:
            secret = self._read(self._path)
            body = {"role_id": self._role_id, "secret_id": secret.reveal().decode()}
            status, found = service.send("POST", f"auth/{self._mount}/login", body)
            if status != 200:
                raise AuthenticationError(
                    f"{service.url} refuses the sign-in of {self.described}: {_words(found)}",
                    hint=f"look at the role id, and at the secret id in {self._path}",
                )
            self._token = _token_in(found)
        return self._token


class Versioned(NamedTuple):
    """A secret, and its version; 0 where the mount keeps none."""

    data: Mapping[str, object]
    version: int


class VaultService:
    """Asks a node over the interface of Vault; threads may share a service: their requests run one after the other.

    A redirect, a proxy, or a variable of the environment has no effect, and a certificate is always verified.

    Args:
        url: `https://HOST[:PORT]`; `http://` only for an address of this machine.
        identity: The identity as which the program asks.
        ca_file: A PEM file of the certificates to verify the node's certificate by; the system's certificates if None.
        timeout_s: The number of seconds that each step of a request may take.

    Raises:
        UsageError: The URL is malformed, or would send credentials and keys over a network without encryption.
        KeyServiceError: The file of certificates cannot be read or used.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        ca_file: Path | str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.url = url
        self._identity = identity
        self._connection = Connection(url, ca_file, timeout_s, _MAX_ANSWER_BYTES)
        self._lock = threading.RLock()  # an identity signs in within a request

    # ---- keys ------------------------------------------------------------------------------------

    def encrypt(self, key: str, plain: SecretBytes, *, mount: str = "transit") -> str:
        """The ciphertext of some bytes, as `vault:v1:…`.

        Raises:
            NotFoundError: The node has no such key.
            PermissionDeniedError: The identity may not encrypt by the key.
            AuthenticationError: The identity is not valid.
            StateError: The key is disabled, or is of a kind that encrypts nothing.
            KeyServiceError: The node cannot be asked, or its answer cannot be understood.
        """
        body = {"plaintext": base64.b64encode(plain.reveal()).decode()}
        found = self._use(f"{mount}/encrypt", key, body).get("ciphertext")
        if not isinstance(found, str):
            raise KeyServiceError(f"{self.url} answers without a ciphertext")
        return found

    def decrypt(self, key: str, text: str, *, mount: str = "transit") -> SecretBytes:
        """The bytes of a ciphertext.

        Raises:
            IntegrityError: The ciphertext was made by another key, or was changed.
            StrongroomError: As `encrypt`.
        """
        found = self._use(f"{mount}/decrypt", key, {"ciphertext": text}).get("plaintext")
        try:
            return SecretBytes(base64.b64decode(str(found or ""), validate=True))
        except (binascii.Error, ValueError):
            raise KeyServiceError(f"{self.url} answers without a plaintext") from None

    def _use(self, how: str, key: str, body: Mapping[str, object]) -> Mapping[str, object]:
        status, found = self.ask("POST", f"{how}/{quote(key, safe='')}", body)
        if status == 200:
            return _data(found)
        raise self._refused(status, found, f"{how}/{key}", f"the key {key!r}", "update")

    # ---- secrets ---------------------------------------------------------------------------------

    def read_secret(self, path: str) -> Versioned:
        """The latest version of a secret.

        Args:
            path: The path of the mount and of the secret in it, such as `secret/app/db`.

        Raises:
            NotFoundError: No secret is there, or its latest version was deleted.
            PermissionDeniedError: The identity may not read the secret.
            AuthenticationError: The identity is not valid.
            KeyServiceError: The node cannot be asked, or its answer cannot be understood.
        """
        mount, rest, versioned = self._placed(path)
        where = f"{mount}/data/{rest}" if versioned else f"{mount}/{rest}"
        status, found = self.ask("GET", quote(where))
        if status != 200:
            raise self._refused(status, found, where, f"the secret {path!r}", "read")
        data = _data(found)
        inner = data.get("data") if versioned else data
        if not isinstance(inner, dict):
            raise KeyServiceError(f"{self.url} answers without a secret")
        metadata = data.get("metadata")
        version = metadata.get("version") if versioned and isinstance(metadata, dict) else 0
        return Versioned(inner, version if isinstance(version, int) else 0)

    def write_secret(self, path: str, data: Mapping[str, object]) -> None:
        """Write a new version of a secret, which is made if there is none.

        Raises:
            StrongroomError: As `read_secret`.
        """
        mount, rest, versioned = self._placed(path)
        where = f"{mount}/data/{rest}" if versioned else f"{mount}/{rest}"
        status, found = self.ask("POST", quote(where), {"data": data} if versioned else data)
        if status not in (200, 204):
            raise self._refused(status, found, where, f"the secret {path!r}", "create, update")

    def remove_secret(self, path: str) -> None:
        """Remove a secret with all its versions; one that does not exist is removed already.

        Raises:
            StrongroomError: As `read_secret`.
        """
        mount, rest, versioned = self._placed(path)
        where = f"{mount}/metadata/{rest}" if versioned else f"{mount}/{rest}"
        status, found = self.ask("DELETE", quote(where))
        if status not in (200, 204, 404):
            raise self._refused(status, found, where, f"the secret {path!r}", "delete")

    def list_secrets(self, path: str) -> list[str]:
        """The names below a path; a name with a slash at its end has names below it. Empty for a path without any.

        Raises:
            StrongroomError: As `read_secret`.
        """
        mount, rest, versioned = self._placed(path)
        where = f"{mount}/metadata/{rest}" if versioned else f"{mount}/{rest}"
        status, found = self.ask("GET", f"{quote(where)}?list=true")
        if status == 404:
            return []
        if status != 200:
            raise self._refused(status, found, where, f"the names below {path!r}", "list")
        keys = _data(found).get("keys")
        return [str(one) for one in keys] if isinstance(keys, list) else []

    def _placed(self, path: str) -> tuple[str, str, bool]:
        """The mount of a path, the rest of the path, and whether the mount keeps versions."""
        head, _, rest = path.partition("/")
        if head in _BUILT_IN:
            return head, rest, _BUILT_IN[head]
        status, found = self.ask("GET", f"sys/internal/ui/mounts/{quote(path)}")
        if status != 200:
            raise self._refused(status, found, path, f"the path {path!r}", "read")
        data = _data(found)
        mount, options = str(data.get("path", "")).strip("/"), data.get("options")
        versioned = isinstance(options, dict) and str(options.get("version")) == "2"
        if data.get("type") not in {"kv", "generic"} or not mount:
            raise NotFoundError(f"no secrets lie at {path!r} of {self.url}")
        return mount, path.removeprefix(mount).strip("/"), versioned

    # ---- calls -----------------------------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, Any] | None]:
        """Send a call as the identity, once more with a new token if the first one is not valid.

        Raises:
            AuthenticationError: The identity has no further token.
            KeyServiceError: The node cannot be asked, or is busy.
        """
        with self._lock:
            token = self._identity.token(self, anew=False)
            status, found = self.send(method, path, body, token)
            if status == 403 and _words(found) in _INVALID:
                token = self._identity.token(self, anew=True)
                status, found = self.send(method, path, body, token)
        return status, found

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        token: SecretBytes | None = None,
    ) -> tuple[int, dict[str, Any] | None]:
        """Send a call; the status, and the JSON object of the answer.

        Raises:
            KeyServiceError: The node cannot be asked, or is busy.
        """
        headers = {} if token is None else {"X-Vault-Token": _in_header(token)}
        with self._lock:
            status, found = self._connection.request(method, f"/v1/{path}", headers, body)
        if status == 429:
            raise KeyServiceError(f"{self.url} is busy", hint="ask again in some seconds")
        if status >= 500 or (found is None and status != 204):
            raise KeyServiceError(f"{self.url} answers {status}: {_words(found)}")
        return status, found

    def close(self) -> None:
        """Close the connection; a further request connects anew."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refused(
        self, status: int, found: dict[str, Any] | None, path: str, what: str, needed: str
    ) -> StrongroomError:
        """The exception for an answer that reports a failure."""
        who, words = self._identity.described, _words(found)
        if status == 404:
            made = "'strongroom keys create' makes a key" if "key" in what.split() else ""
            return NotFoundError(f"{what} is not at {self.url}", hint=made)
        if status == 403:
            return PermissionDeniedError(
                f"{who} may not use {what} of {self.url}",
                hint=f'its policy needs: path "{path}" {{ capabilities = [{_quoted(needed)}] }}',
            )
        if words.startswith(INTEGRITY_MESSAGE):
            return IntegrityError(hint=f"{what} of {self.url} did not make this")
        return StateError(f"{self.url} refuses {what} to {who}: {words}")


def read_secret_file(path: Path | str) -> SecretBytes:
    """The one line of a file with a token or secret id.

    Raises:
        KeyServiceError: The file cannot be read, or is none of those.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 the name stays as given
            raw = file.read(_MAX_FILE_BYTES + 1).strip()
    except OSError as error:
        raise KeyServiceError(f"{path} cannot be read: {disk.reason(error)}") from error
    if not raw or len(raw) > _MAX_FILE_BYTES or not raw.isascii() or len(raw.split()) != 1:
        raise KeyServiceError(
            f"{path} does not hold a token or secret id", hint="one line, with nothing else in it"
        )
    return SecretBytes(raw)


def _in_header(token: SecretBytes) -> str:
    text = token.reveal().decode("ascii", "replace")
    if not text.isprintable() or not text.isascii():
        raise AuthenticationError("a token is one word of ASCII")
    return text


def _token_in(found: Mapping[str, Any] | None) -> SecretBytes:
    auth = (found or {}).get("auth")
    token = auth.get("client_token") if isinstance(auth, dict) else None
    if not isinstance(token, str) or not token.isascii():
        raise KeyServiceError("the answer to a sign-in holds no token")
    return SecretBytes(token.encode())


def _data(found: Mapping[str, Any] | None) -> Mapping[str, object]:
    data = (found or {}).get("data")
    return data if isinstance(data, dict) else _EMPTY


def _words(found: Mapping[str, Any] | None) -> str:
    """The sentences of a refusal, in one line."""
    errors = (found or {}).get("errors")
    sentences = [str(one) for one in errors] if isinstance(errors, list) else []
    return " ".join(" ".join(sentences).split())[:_MOST] or "no node answers there"


def _quoted(capabilities: str) -> str:
    return ", ".join(f'"{one}"' for one in capabilities.split(", "))
