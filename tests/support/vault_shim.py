"""A program named `vault` for other people's tests: `server -config`, init and unseal on a node, and nothing else.

`program` makes it. The program has a fork (`forked`) be the server, which makes a node in a temporary folder, opens its Vault
door in its process, and passes every request on as it came; the fork ends when those tests kill the program. The beginning
of a Vault, which a node has not, is played here: keys and a root token that are handed out, three of five keys that are
waited for.
"""

import http.client
import json
import os
import select
import signal
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault import server as vault
from strongroom.node import create, opening
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.tokens import Wanted
from strongroom.system.compat import override
from tests.support import forked
from tests.support.servers import ROOT

VERSION = "Vault v1.15.6"
_SHARES = [f"{number:064x}" for number in range(5)]
_ASKED = 10_000
_LOOK_S = 0.2
_PROGRAM = """#!{python} -IS
import os, socket, sys
if sys.argv[1:] in (["-version"], ["--version"]):
    print({version!r})
    sys.exit()
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
    door.connect({address!r})
    socket.send_fds(door, ["\\0".join([os.getcwd(), *sys.argv[1:]]).encode()], [2])
    sys.exit(door.recv(1000).decode() or 1)
"""
_HOP = {"transfer-encoding", "connection", "content-length", "date"}


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    url = root = ""
    is_initialized = False

    @override
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        """Say nothing."""

    def pass_on(self) -> None:
        """Answer init and unseal, and pass all else on."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        if path == "/v1/sys/init":
            self._initialize(body)
        elif path in {"/v1/sys/unseal", "/v1/sys/seal-status"}:
            self._say({"sealed": False, "t": 3, "n": 5, "progress": 0, "initialized": True})
        else:
            self._forward(body)

    def __getattr__(self, name: str) -> Any:
        """Serve every method alike; the base class looks for `do_` and the method's name."""
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)

    def _initialize(self, body: bytes) -> None:
        if not body:
            self._say({"initialized": type(self).is_initialized})
            return
        type(self).is_initialized = True
        keys = {"keys": _SHARES, "keys_base64": _SHARES, "root_token": self.root}
        self._say(keys)

    def _forward(self, body: bytes) -> None:
        to = urlsplit(self.url)
        connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection.request(self.command, self.path, body or None, kept)
        found = connection.getresponse()
        content = found.read()
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self._end(content)

    def _say(self, members: object) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self._end(json.dumps(members).encode())

    def _end(self, content: bytes) -> None:
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def serve(config: Path) -> None:
    """Serve by a configuration of Vault's in JSON, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = json.loads(config.read_text())["listener"]["tcp"]
    host, port = listener["address"].split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(listener["tls_cert_file"], listener["tls_key_file"])
    with tempfile.TemporaryDirectory() as folder:
        create.create_node(folder, "admin", SecretBytes(b"correct horse battery"))
        node = opening.open_node(folder)
        made = node.service_tokens.create(By("os:tester"), Wanted(policies=["root"]))
        _Proxy.root = made.secret.reveal().decode()
        with vault.serving(node, "127.0.0.1", 0) as _Proxy.url:
            server = ThreadingHTTPServer((host, int(port)), _Proxy)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.serve_forever()


@contextmanager
def program(path: Path, address: str) -> Iterator[None]:
    """Make a program that serves so, and says its version.

    Args:
        path: Where the program is to be.
        address: A name for a socket.
    """
    path.write_text(_PROGRAM.format(python=sys.executable, version=VERSION, address=address))
    path.chmod(0o755)
    # what a server imports is there before somebody counts the seconds until it answers
    with Path(os.devnull).open("wb") as nowhere:
        first = _fork([], path.parent, nowhere.fileno())
    if first is not None:
        _end(first)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(address)
        door.listen()
        thread = threading.Thread(target=_attend, args=(door, path.parent))
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def _attend(door: socket.socket, home: Path) -> None:
    """Answer until the door is shut; each caller in a thread of its own."""
    threads: list[threading.Thread] = []
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            break
        threads.append(threading.Thread(target=_serve_as_fork, args=(caller, home)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def _serve_as_fork(caller: socket.socket, home: Path) -> None:
    """Have a fork serve as long as the program goes on that asked for it."""
    with caller:
        packet, (errors,), _, _ = socket.recv_fds(caller, _ASKED, 1)
        folder, *words = packet.decode().split("\0")
        one = _fork(words, home, errors, Path(folder))
        os.close(errors)
        if one is None:
            caller.send(b"no fork can be it")
            return
        while one.poll() is None:
            if select.select([caller], [], [], _LOOK_S)[0]:
                one.terminate()
                break
        _end(one)


def _fork(words: Sequence[str], home: Path, errors: int, folder: Path = ROOT) -> forked.Fork | None:
    line = ["-m", "tests.support.vault_shim", *words]
    environment = {**os.environ, "HOME": str(home)}
    return forked.start(line, folder=folder, environment=environment, errors=errors)


def _end(one: forked.Fork) -> None:
    one.wait()
    if one.stdout is not None:
        one.stdout.close()


def main() -> int:
    """Run as `vault`."""
    if sys.argv[1:2] == ["server"] and sys.argv[2].startswith("-config="):
        serve(Path(sys.argv[2].removeprefix("-config=")))
        return 0
    sys.stderr.write("this vault only serves\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
