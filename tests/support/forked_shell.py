"""The product's commands, and tabcmd, for a shell: small programs that have forks (`forked`) do the work, on its streams.

Each begins twenty times sooner than the command. A server is started as ever, and so is a command whose environment no fork
can have, or that is given further descriptors.
"""

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import forked
from tests.support.servers import BIN, FORKED

_MESSAGE = 180_000
_STREAMS = 3
_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys
real = {real!r}
if "serve" in sys.argv or any("/dev/fd/" in word for word in sys.argv):
    os.execv(real, [real, *sys.argv[1:]])
umask = os.umask(0)
os.umask(umask)
asked = {{"words": [real, *sys.argv[1:]], "folder": os.getcwd(), "environment": dict(os.environ), "umask": umask}}
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
    door.connect({address!r})
    socket.send_fds(door, [json.dumps(asked).encode()], [0, 1, 2])
    code = json.loads(door.recv(1000))["code"]
if code is None:
    os.execv(real, [real, *sys.argv[1:]])
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """A folder with the commands, to stand first in a shell's PATH.

    Args:
        folder: An empty folder whose path fits into the name of a socket.
    """
    address = str(folder / "door")
    for name in FORKED:
        program = folder / name
        program.write_text(
            _PROGRAM.format(python=sys.executable, real=str(BIN / name), address=address)
        )
        program.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(address)
        door.listen()
        thread = threading.Thread(target=_attend, args=(door,), daemon=True)
        thread.start()
        try:
            yield folder
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def _attend(door: socket.socket) -> None:
    """Answer until the door is shut; each caller in a thread of its own."""
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(caller,), daemon=True).start()


def _serve(caller: socket.socket) -> None:
    with caller:
        packet, streams, _, _ = socket.recv_fds(caller, _MESSAGE, _STREAMS)
        try:
            code = forked.on_streams(json.loads(packet), streams)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):
            caller.send(json.dumps({"code": code}).encode())
