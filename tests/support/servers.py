"""Starts and stops real commands and real servers for the tests; ends only what it started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import forked

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent.parent
ADMIN = "admin"
PASSWORD = "correct horse battery"
FORKED = ("strongroom", "tsm", "initialize-tsm", "tabcmd")
_STOP_LIMIT_S = 120
Process = subprocess.Popen[str] | forked.Fork


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def last_word(self) -> str:
        return self.out.split()[-1]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class TestNode:
    """A node in a temporary directory, its commands, and its server while one runs.

    Attributes:
        folder: The test's folder; the node is in it.
        url: Where the server answers.
        environment: Variables of its commands and its server, besides those of the tests.
    """

    __test__ = False

    folder: Path
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "node"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    def run(
        self,
        *words: str | Path,
        stdin: str | None = None,
        check: bool = True,
        limit: float = 120,
    ) -> Answer:
        """Run a command of `.venv/bin`; its home directory is the test's folder.

        The product's own commands, and those of tabcmd, are forks of a process that has their modules (`forked`).
        """
        line, environment = [str(BIN / words[0]), *map(str, words[1:])], self.variables()
        given = (stdin if stdin is not None else "").encode()
        if words[0] in FORKED:
            done = forked.run(
                line, folder=self.folder, environment=environment, stdin=given, limit_s=limit
            )
        else:
            done = subprocess.run(
                line,
                cwd=self.folder,
                env=environment,
                input=given,
                capture_output=True,
                timeout=limit,
                check=False,
            )
        answer = Answer(done.returncode, _text(done.stdout), _text(done.stderr))
        if check and answer.code != 0:
            raise AssertionError(f"{words} ended with {answer.code}: {answer.err or answer.out}")
        return answer

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every process of this node."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("STRONGROOM")}
        home = {"STRONGROOM_HOME": str(self.home), "HOME": str(self.folder)}
        return {**kept, **home, **self.environment, **(more or {})}

    def tabcmd(self, *words: str | Path, check: bool = True) -> Answer:
        """Run the real tabcmd against the server."""
        return self.run("tabcmd", *words, check=check)

    def login(self, site: str = "") -> None:
        """Sign in the real tabcmd; the session file lands in the test's folder."""
        options = ["-t", site] if site else []
        self.tabcmd(
            "login", "-s", self.url, "-u", ADMIN, "--password-file", self.password_file, *options
        )


def create_node(folder: Path, password: str = PASSWORD) -> TestNode:
    """A new node with an administrator."""
    node = TestNode(folder)
    node.password_file.write_text(password + "\n")
    node.password_file.chmod(0o600)
    node.run("strongroom", "init", "--admin", ADMIN, "--admin-password-file", node.password_file)
    return node


@contextmanager
def serving(node: TestNode, *options: str) -> Iterator[TestNode]:
    """Serve a node on a port that the kernel picks, until the end of the block.

    The server is a fork (`forked`).
    """
    command = [str(BIN / "strongroom"), "serve", "--host", "127.0.0.1", "--port", "0", *options]
    errors = node.folder / "serve.err"
    with ready(command, errors, node.folder, node.variables(), forks=True) as (_, url):
        node.url = url
        try:
            yield node
        finally:
            node.url = ""


@contextmanager
def ready(
    command: Sequence[str],
    errors: Path,
    folder: Path,
    variables: Mapping[str, str],
    *,
    forks: bool = False,
) -> Iterator[tuple[Process, str]]:
    """A server that has said that it is ready, and its URL; stopped at the end of the block, if it still runs.

    Args:
        command: What starts it.
        errors: Where its stderr is added.
        folder: Where it runs.
        variables: Its whole environment.
        forks: Whether it may be a fork (`forked`); `command` is one of the product's scripts then.
    """
    with errors.open("ab") as file:
        process = _fork(command, file.fileno(), folder, variables) if forks else None
        process = process or subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("ready: "):
            raise AssertionError(f"the server did not start: {line!r} {errors.read_text()}")
        yield process, line.removeprefix("ready: ").strip()
    finally:
        stop(process)


def _fork(
    command: Sequence[str], errors: int, folder: Path, variables: Mapping[str, str]
) -> Process | None:
    return forked.start(command, folder=folder, environment=variables, errors=errors)


def _text(output: bytes) -> str:
    """As `subprocess` reads it in text mode."""
    return output.decode().replace("\r\n", "\n").replace("\r", "\n")


def stop(process: Process) -> int:
    """End a server as an operator does; returns its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
