"""Asks a node for data keys over HTTPS, signed in as a server administrator (format/data-keys.md 2)."""

import base64
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from strongroom.client.answers import problem
from strongroom.client.connection import Connection
from strongroom.client.key_service import header_of, key_of
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header
from strongroom.envelope.pages import serialize
from strongroom.errors import AuthenticationError, KeyServiceError, StrongroomError

_API = "/api/3.26"
_MAX_ANSWER_BYTES = 256 * 1024


@dataclass(frozen=True)
class AccessToken:
    """A personal access token of a server administrator (`strongroom tokens create`)."""

    name: str
    secret: SecretBytes

    def fields(self) -> dict[str, str]:
        """As a sign-in has them."""
        return {
            "personalAccessTokenName": self.name,
            "personalAccessTokenSecret": self.secret.reveal().decode(),
        }


@dataclass(frozen=True)
class Password:
    """Name and password of a server administrator."""

    name: str
    secret: SecretBytes

    def fields(self) -> dict[str, str]:
        """As a sign-in has them."""
        return {"name": self.name, "password": self.secret.reveal().decode()}


class HttpKeyService:
    """Asks a node over HTTPS; signs in with the first request, and anew when the session has ended.

    Threads may share a service: their requests run one after the other. Certificates are verified. A redirect, a proxy,
    or a variable of the environment could lead credentials to another server, so none of the three has an effect
    (data-keys.md 1.7).

    Args:
        url: `https://HOST[:PORT]`; `http://` only for an address of this machine.
        credentials: An access token or a password.
        site: The content URL of the site to sign in to; the default site if empty.
        ca_file: A PEM file of the certificates to verify the node's certificate by; the system's certificates if None.
        timeout_s: The number of seconds that each step of a request may take.

    Raises:
        UsageError: The URL is malformed, or would send credentials and keys over a network without encryption.
        KeyServiceError: The file of certificates cannot be read or used.
    """

    def __init__(
        self,
        url: str,
        credentials: AccessToken | Password,
        *,
        site: str = "",
        ca_file: Path | str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._url, self._credentials, self._site = url, credentials, site
        self._connection = Connection(url, ca_file, timeout_s, _MAX_ANSWER_BYTES)
        self._lock = threading.Lock()
        self._token: SecretBytes | None = None

    def generate(self, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> tuple[Header, SecretBytes]:
        """The header and data key of a new file (`KeyService.generate`)."""
        found = self._ask("generate", {"segmentBytes": str(segment_bytes)})
        return header_of(found), key_of(found)

    def unwrap(self, header: Header) -> SecretBytes:
        """The data key of a header (`KeyService.unwrap`)."""
        page = base64.b64encode(serialize(header)).decode()
        return key_of(self._ask("unwrap", {"header": page}))

    def close(self) -> None:
        """Sign out, and close the connection; a further request signs in again."""
        with self._lock:
            if self._token is not None:
                with suppress(StrongroomError):  # the session ends by itself, too
                    self._post("/auth/signout", None)
            self._token = None
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, what: str, fields: dict[str, str]) -> object:
        path, body = f"/strongroom/data-keys/{what}", {"dataKey": fields}
        with self._lock:
            fresh = self._token is None
            if fresh:
                self._sign_in()
            try:
                return self._post(path, body).get("dataKey")
            except AuthenticationError:
                self._token = None
                if fresh:
                    raise
            self._sign_in()  # the earlier session has ended, for instance by its timeout
            return self._post(path, body).get("dataKey")

    def _sign_in(self) -> None:
        credentials = {**self._credentials.fields(), "site": {"contentUrl": self._site}}
        found = self._post("/auth/signin", {"credentials": credentials}).get("credentials")
        token = found.get("token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token.isascii():
            raise KeyServiceError(f"{self._url} answers a sign-in without a token")
        self._token = SecretBytes(token.encode())

    def _post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Send a JSON object, and return the JSON object of the answer; an empty one if the answer has no body.

        Raises:
            KeyServiceError: The node cannot be reached, or answers something else than a JSON object.
            StrongroomError: The node answered with an error, which is translated to the package's exceptions.
        """
        headers: dict[str, str] = {}
        if self._token is not None:
            headers["x-tableau-auth"] = self._token.reveal().decode()
        status, found = self._connection.request("POST", _API + path, headers, body)
        if status not in (200, 204):
            raise problem(self._url, status, found)
        if found is None and status == 200:
            raise KeyServiceError(f"{self._url} answers something else than a message")
        return found or {}
