"""A mail server that knows one account, and does nothing but let it log in."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from strongroom.system.compat import override


@dataclass
class MailServer:
    """What it accepts, and what is wrong with it.

    Attributes:
        account: The one account.
        password: What it has now.
        tls: Offered by STARTTLS, if there is one.
        from_the_start: Whether TLS begins with the connection.
        refusal: What a wrong password is told.
        greeting: What EHLO and HELO are answered instead, if anything; a 421 ends the conversation.
        ways: The ways of logging in that are offered.
        heard: The commands that came, without their arguments.
        name: What the client called itself.
    """

    account: str = "alerts@example.org"
    password: str = ""
    tls: ssl.SSLContext | None = None
    from_the_start: bool = False
    refusal: bytes = b"535 5.7.8 authentication failed"
    greeting: bytes = b""
    ways: bytes = b"PLAIN"
    name: str = ""
    heard: list[str] = field(default_factory=list)
    port: int = 0
    speaking: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.speaking.set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen on the port, or on one of the kernel's choice the first time."""
        with _Listener(("127.0.0.1", self.port), _Conversation) as listener:
            listener.mail = self
            self.port = listener.server_address[1]
            thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield
            finally:
                listener.shutdown()
                thread.join()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    mail: MailServer


class _Conversation(socketserver.StreamRequestHandler):
    server: Any

    @override
    def handle(self) -> None:
        mail: MailServer = self.server.mail
        mail.speaking.wait(60)
        with suppress(OSError):
            if mail.from_the_start and mail.tls is not None:
                self._encrypt(mail.tls)
            self._say(b"220 ready")
            while line := self.rfile.readline(4096):
                if not self._answer(mail, line.decode("ascii", "replace").strip()):
                    return

    @override
    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the encrypted one is not the one that the listener closes

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        self.connection = tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]

    def _answer(self, mail: MailServer, line: str) -> bool:
        verb = line.split(" ", maxsplit=1)[0].upper()
        mail.heard.append(verb)
        if verb in {"EHLO", "HELO"}:
            mail.name = line.partition(" ")[2]
        if verb in {"EHLO", "HELO"} and mail.greeting:
            self._say(mail.greeting)
            return not mail.greeting.startswith(b"421")
        if verb == "EHLO":
            encrypted = isinstance(self.connection, ssl.SSLSocket)
            offers = mail.tls is not None and not encrypted
            self._say(b"250-here", *([b"250-STARTTLS"] if offers else []), b"250 AUTH " + mail.ways)
        elif verb == "STARTTLS" and mail.tls is not None:
            self._say(b"220 go on")
            self._encrypt(mail.tls)
        elif verb == "AUTH":
            wanted = f"\0{mail.account}\0{mail.password}".encode()
            given = base64.b64decode(line.rpartition(" ")[2])
            self._say(b"235 welcome" if given == wanted else mail.refusal)
        elif verb == "QUIT":
            self._say(b"221 bye")
            return False
        else:
            self._say(b"250 fine")
        return True
