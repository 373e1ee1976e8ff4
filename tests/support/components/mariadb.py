"""MariaDB, a real one with its plugin for keys of a Vault, on a socket of its own, with everything encrypted."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.components.process import Component, as_user, own_folder

SERVER = Path("/usr/sbin/mariadbd")
"""Not in the PATH of everybody."""
_SETTINGS = """\
[mariadbd]
datadir  = {folder}/data
socket   = {folder}/s
pid-file = {folder}/pid
skip-networking
innodb_buffer_pool_size = 16M
innodb_log_file_size    = 8M

plugin-load-add = hashicorp_key_management.so
hashicorp-key-management-vault-url = {url}
hashicorp-key-management-token     = {token}
# a minute is its own default
hashicorp-key-management-cache-version-timeout = 100

innodb_encrypt_tables            = FORCE
innodb_encrypt_log               = ON
innodb_encryption_threads        = 2
innodb_encryption_rotate_key_age = 1
"""


@dataclass(frozen=True)
class Mariadb:
    """A MariaDB, which is started by a test.

    Attributes:
        component: The process.
        folder: Its socket, its settings and its data.
    """

    component: Component
    folder: Path

    def sql(self, statement: str) -> str:
        """What the real client prints for a statement; raises AssertionError if it fails."""
        done = _asked(self.folder, statement)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def holders(self, *texts: str) -> list[str]:
        """Its files that hold one of these texts."""
        seen = [path for path in (self.folder / "data").rglob("*") if path.is_file()]
        assert any(path.suffix == ".ibd" for path in seen)
        sought = [text.encode() for text in texts]
        return [str(path) for path in seen if any(one in path.read_bytes() for one in sought)]


@contextmanager
def mariadb(url: str, token: str) -> Iterator[Mariadb]:
    """An empty one, not yet started, which has its keys of secrets below a URL."""
    user = "mysql" if os.geteuid() == 0 else None
    with own_folder(user) as folder:
        settings = folder / "my.cnf"
        settings.touch(0o600)
        settings.write_text(_SETTINGS.format(folder=folder, url=url, token=token))
        if user is not None:
            shutil.chown(settings, user)
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={folder}/data",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            **as_user(user),
        )
        command = [str(SERVER), f"--defaults-file={settings}"]
        server = Component(
            command, folder, lambda: _asked(folder, "select 1").returncode == 0, user=user
        )
        try:
            yield Mariadb(server, folder)
        finally:
            server.stop()


def _asked(folder: Path, statement: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["mariadb", "--no-defaults", "-BN", "-u", "root", "-S", folder / "s"],
        input=statement,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
