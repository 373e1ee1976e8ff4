"""Calls the control service of a node: as another node, by its certificate, or as a person with a password or a token.

A call is one request of HTTP. The answer is lines of JSON as over the node's Unix socket: what is said meanwhile, then a
result or an error. Each step has a limit, and so has the whole call.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final

from strongroom.doors.control import remote_tls
from strongroom.errors import FormatError, LinkError
from strongroom.system import wire
from strongroom.system.hosts import Endpoint

CALL_PATH: Final = "/control/1/call"
AUTHORITY_PATH: Final = "/control/1/authority"
CONNECT_S: Final = 5.0
ANSWER_S: Final = 600.0
"""The longest silence before a person is told that there is no answer: a change of keys is proved by every node."""
_MOST_AUTHORITY: Final = 64 << 10
Report = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Called:
    """A node that is called.

    Attributes:
        who: The node, in words for messages.
        endpoint: The place of its control service.
        context: The TLS context.
        check: Judges the certificate that it shows, DER, before anything is sent.
    """

    who: str
    endpoint: Endpoint
    context: ssl.SSLContext
    check: Callable[[bytes], None] = lambda _: None

    def ask(
        self,
        request: Mapping[str, Any],
        report: Report = lambda _: None,
        *,
        answer_s: float = ANSWER_S,
    ) -> Mapping[str, Any]:
        """The last line of the answer: a result.

        Args:
            request: The verb, its arguments and who asks.
            report: Called with what is said meanwhile.
            answer_s: The longest silence.

        Raises:
            StrongroomError: The error that the node answered with.
            LinkError: The node cannot be reached, or gave no answer in time.
            PermissionDeniedError: Either certificate is not accepted.
        """
        body = json.dumps(request).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        try:
            with closing(self._connected(answer_s)) as connection:
                self._send(connection, body, headers)
                with connection.getresponse() as answer:
                    return self._last(answer, report)
        except http.client.HTTPException as error:
            raise self._strange() from error
        except OSError as error:
            raise remote_tls.problem(error, self.who, self.endpoint.text) from error

    def _send(
        self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]
    ) -> None:
        try:
            connection.request("POST", CALL_PATH, body, dict(headers))
        except OSError:
            # the other end closed: what it said before tells more than that
            if connection.sock is not None:
                connection.sock.recv(1)
            raise

    def authority(self) -> str:
        """The authorities that the node believes, as it says itself: PEM.

        Raises:
            LinkError: The node cannot be reached, or answers something else.
        """
        try:
            with closing(self._connected(CONNECT_S)) as connection:
                connection.request("GET", AUTHORITY_PATH)
                with connection.getresponse() as answer:
                    found = answer.read(_MOST_AUTHORITY)
        except http.client.HTTPException as error:
            raise self._strange() from error
        except OSError as error:
            raise remote_tls.problem(error, self.who, self.endpoint.text) from error
        if answer.status != http.client.OK:
            raise self._strange()
        return found.decode("ascii", "replace")

    def _connected(self, answer_s: float) -> http.client.HTTPConnection:
        """A connection whose other end was judged."""
        host, port = self.endpoint
        raw = socket.create_connection((host, port), CONNECT_S)
        with ExitStack() as stack:
            stack.callback(raw.close)
            # from here on the TLS connection has the descriptor, and `raw` closes nothing any more
            secured = stack.enter_context(self.context.wrap_socket(raw))
            self.check(secured.getpeercert(binary_form=True) or b"")
            secured.settimeout(answer_s)
            stack.pop_all()
        connection = http.client.HTTPConnection(host, port)
        connection.sock = secured
        return connection

    def _last(self, answer: http.client.HTTPResponse, report: Report) -> Mapping[str, Any]:
        while True:
            try:
                message = wire.receive(answer)
            except FormatError as error:
                raise self._strange() from error
            if message is None:
                raise LinkError(
                    f"{self.who} at {self.endpoint.text} went away before it answered",
                    hint="look at 'tsm status' there, then run the command again",
                )
            if "error" in message:
                raise wire.error_of(message["error"])
            if "say" not in message:
                return message
            report(message)

    def _strange(self) -> LinkError:
        return LinkError(
            f"{self.who} at {self.endpoint.text} answers something else than a control service",
            hint="name the port of its control service; 'strongroom serve --control-port' says it",
        )
