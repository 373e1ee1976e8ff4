"""Redis 7, a real one, on sockets of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.support.components.process import Component, answer_of, own_folder
from tests.support.emulators import free_port


@dataclass(frozen=True)
class Redis:
    """A Redis 7 whose users stand in an ACL file.

    Attributes:
        component: The process.
        socket: Its Unix socket.
        port: Of 127.0.0.1.
        acl_file: The users and the hashes of their passwords.
    """

    component: Component
    socket: Path
    port: int
    acl_file: Path

    def cli(self, *words: str, user: str, password: str) -> str:
        """What the real redis-cli prints; the password goes by its environment."""
        done = subprocess.run(
            ["redis-cli", "-s", str(self.socket), "--user", user, "--no-auth-warning", *words],
            env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": password},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return (done.stdout + done.stderr).strip()

    def accepts(self, user: str, password: str) -> bool:
        """Whether redis-cli can log in and work."""
        return self.cli("PING", user=user, password=password) == "PONG"


def acl_hash(password: str) -> str:
    """A password as an ACL file has it."""
    return "#" + sha256(password.encode()).hexdigest()


@contextmanager
def running_redis(*acl: str, more: str = "") -> Iterator[Redis]:
    """A Redis with the lines of an ACL file, such as `user default off` (the default), and more settings."""
    with own_folder(None) as folder:
        acl_file, port = folder / "users.acl", free_port()
        acl_file.touch(mode=0o600)
        acl_file.write_text("\n".join(acl or ("user default off",)) + "\n")
        configuration = folder / "redis.conf"
        configuration.write_text(_REDIS_SETTINGS.format(folder=folder, port=port) + more + "\n")
        where = folder / "redis.sock"
        component = Component(
            ["redis-server", configuration], folder, lambda: answer_of(where, b"PING\r\n") != b""
        )
        with component.running():
            yield Redis(component, where, port, acl_file)


_REDIS_SETTINGS = """
bind 127.0.0.1
port {port}
unixsocket {folder}/redis.sock
unixsocketperm 700
aclfile {folder}/users.acl
dir {folder}
loglevel debug
save ""
appendonly no
"""
