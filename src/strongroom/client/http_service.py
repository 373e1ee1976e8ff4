"""Asks a node for data keys over HTTPS, signed in as a server administrator (format/data-keys.md 2)."""

import base64
import http.client
import json
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from strongroom.client.answers import problem
from strongroom.client.key_service import header_of, key_of
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header
from strongroom.envelope.pages import serialize
from strongroom.errors import AuthenticationError, KeyServiceError, StrongroomError, UsageError
from strongroom.system import disk, hosts

_API = "/api/3.26"
_MAX_ANSWER_BYTES = 256 * 1024
_TRIES = 2  # the server may have closed a connection that was kept open since the last request


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
        self._connection = _new_connection(_checked(url), ca_file, timeout_s)
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
        try:
            status, raw = self._exchange(path, b"" if body is None else json.dumps(body).encode())
        except ssl.SSLCertVerificationError as error:
            raise KeyServiceError(
                f"the certificate of {self._url} is not trusted: {error.verify_message}",
                hint="give the file of certificates that it is to be verified by: ca_file",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            why = disk.reason(error) if isinstance(error, OSError) else type(error).__name__
            raise KeyServiceError(
                f"{self._url} cannot be asked: {why}", hint="look whether the node is served there"
            ) from error
        found = _message(raw)
        if status not in (200, 204):
            raise problem(self._url, status, found)
        if found is None and status == 200:
            raise KeyServiceError(f"{self._url} answers something else than a message")
        return found or {}

    def _exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"accept": "application/json", "content-type": "application/json"}
        if self._token is not None:
            headers["x-tableau-auth"] = self._token.reveal().decode()
        for left in reversed(range(_TRIES)):
            was_kept = self._connection.sock is not None
            try:
                self._connection.request("POST", _API + path, body, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read(_MAX_ANSWER_BYTES)
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
                if not (left and was_kept):
                    raise
            except BaseException:
                self._connection.close()  # half an answer must not be read as the next one
                raise
        raise AssertionError  # the last try returns or raises


def _checked(url: str) -> SplitResult:
    """The parts of a URL, if keys may be requested from it (data-keys.md 1.7).

    Raises:
        UsageError: The URL is malformed, or would send keys over a network without encryption.
    """
    try:
        parts = urlsplit(url)
        host, _ = hosts.host(parts.hostname or ""), parts.port
    except ValueError as error:
        raise UsageError(f"no URL of a node: {error}", hint="such as https://node:8443") from error
    if parts.scheme not in ("http", "https") or parts.path.strip("/") or "@" in parts.netloc:
        raise UsageError("a node's URL is https://HOST:PORT, without a user and a path")
    if parts.query or parts.fragment:
        raise UsageError("a node's URL is https://HOST:PORT, without parameters")
    if parts.scheme == "http" and not hosts.is_loopback(host):
        raise UsageError(
            "data keys are not sent in clear over a network", hint="use the node's https:// address"
        )
    return parts


def _new_connection(
    parts: SplitResult, ca_file: Path | str | None, timeout_s: float
) -> http.client.HTTPConnection:
    """A connection object; the first request connects it."""
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    # not ssl.create_default_context: it writes session keys to the file that the variable SSLKEYLOGFILE names
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise KeyServiceError(
                f"the certificates in {ca_file} cannot be used: {disk.reason(error)}"
            ) from error
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)


def _message(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
