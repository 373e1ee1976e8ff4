"""A data directory beside a patched copy of the tree, and the commands of that copy, as forks of one process that has it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import forked
from tests.support.servers import BIN


@contextmanager
def forks_of(variables: dict[str, str]) -> Iterator[forked.Forks]:
    """Forks of a process that imports the copy to which an environment leads; the copy may not change any more."""
    forks = forked.Forks(variables)
    try:
        yield forks
    finally:
        forks.end()


class Installation:
    """A node, worked on by the commands of a copy of the tree."""

    def __init__(self, home: Path, variables: dict[str, str], forks: forked.Forks) -> None:
        """Make its home, where the commands run, in an environment that leads to the copy."""
        home.mkdir()
        self.home = home
        self._variables = variables
        self._forks = forks

    def made(self) -> "Installation":
        """The same, with a node."""
        (self.home / "password").write_text("correct horse battery\n")
        self.run("strongroom init --admin admin --admin-password-file password")
        return self

    def run(self, line: str, *, code: int = 0) -> str:
        """What a command says, on both ways."""
        return "".join(self._run(line, code))

    def told(self, line: str) -> Any:
        """What a command tells as JSON."""
        return json.loads(self._run(f"{line} --json", 0)[0])

    def _run(self, line: str, code: int) -> tuple[str, str]:
        tool, *words = line.split()
        assert self._forks.fit(self._variables)
        done = self._forks.run(
            [str(BIN / tool), *words],
            folder=self.home,
            environment=self._variables,
            stdin=b"",
            limit_s=120,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, f"$ {line}\n{out}{err}"
        return out, err
