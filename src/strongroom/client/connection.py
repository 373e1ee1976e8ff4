"""A kept connection to a node over HTTP(S), as every client of this package makes it (format/data-keys.md 1.7).

Certificates are verified. A redirect, a proxy, or a variable of the environment could lead credentials to another server,
so none of the three has an effect.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from strongroom.errors import KeyServiceError, UsageError
from strongroom.system import disk, hosts

_TRIES = 2  # the server may have closed a connection that was kept open since the last request


class Connection:
    """A connection object, which its first request connects; not for two threads at once.

    Args:
        url: `https://HOST[:PORT]`; `http://` only for an address of this machine.
        ca_file: A PEM file of the certificates to verify the node's certificate by; the system's certificates if None.
        timeout_s: The number of seconds that each step of a request may take.
        most_bytes: The length at which an answer is cut, so that no server fills the memory.

    Raises:
        UsageError: The URL is malformed, or would send credentials and keys over a network without encryption.
        KeyServiceError: The file of certificates cannot be read or used.
    """

    def __init__(
        self, url: str, ca_file: Path | str | None, timeout_s: float, most_bytes: int
    ) -> None:
        self.url = url
        self._most_bytes = most_bytes
        self._connection = _new_connection(_checked(url), ca_file, timeout_s)

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None
    ) -> tuple[int, dict[str, Any] | None]:
        """Send a request with a body of JSON; the status, and the JSON object of the answer or None.

        Args:
            method: The method.
            path: The path, with its percent signs.
            headers: Further headers.
            body: The value that is sent as JSON; None for an empty body.

        Raises:
            KeyServiceError: The node cannot be reached, or its certificate is not trusted.
        """
        try:
            status, raw = self._exchange(
                method, path, headers, b"" if body is None else json.dumps(body).encode()
            )
        except ssl.SSLCertVerificationError as error:
            raise KeyServiceError(
                f"the certificate of {self.url} is not trusted: {error.verify_message}",
                hint="give the file of certificates that it is to be verified by: ca_file",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            why = disk.reason(error) if isinstance(error, OSError) else type(error).__name__
            raise KeyServiceError(
                f"{self.url} cannot be asked: {why}", hint="look whether the node is served there"
            ) from error
        return status, _message(raw)

    def close(self) -> None:
        """Close the connection; a further request connects anew."""
        self._connection.close()

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        sent = {"accept": "application/json", "content-type": "application/json", **headers}
        for left in reversed(range(_TRIES)):
            was_kept = self._connection.sock is not None
            try:
                self._connection.request(method, path, body, sent)
                answer = self._connection.getresponse()
                return answer.status, answer.read(self._most_bytes)
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
