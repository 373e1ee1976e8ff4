"""A data directory beside a patched copy of the tree, and the commands of that copy."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.servers import BIN


class Installation:
    """A node, worked on by the commands of a copy of the tree."""

    def __init__(self, home: Path, variables: dict[str, str]) -> None:
        """Make its home, where the commands run, in an environment that leads to the copy."""
        home.mkdir()
        self.home = home
        self._variables = variables

    def made(self) -> "Installation":
        """The same, with a node."""
        (self.home / "password").write_text("correct horse battery\n")
        self.run("strongroom init --admin admin --admin-password-file password")
        return self

    def run(self, line: str, *, code: int = 0) -> str:
        """What a command says, on both ways."""
        done = self._run(line, code)
        return done.stdout + done.stderr

    def told(self, line: str) -> Any:
        """What a command tells as JSON."""
        return json.loads(self._run(f"{line} --json", 0).stdout)

    def _run(self, line: str, code: int) -> subprocess.CompletedProcess[str]:
        tool, *words = line.split()
        done = subprocess.run(
            [BIN / tool, *words],
            cwd=self.home,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"$ {line}\n{done.stdout}{done.stderr}"
        return done
