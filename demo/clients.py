"""The node's commands, its server, the real tabcmd and the real TSC, as the demo uses them."""

import argparse
import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.show import DemoError, Story

BIN = Path(sys.executable).parent
ADMIN = "admin"
_LIMIT_S = 120
#: lines of tabcmd that are the same before every answer
_NOISE = ("logging:", "=====", "Tabcmd ", "Tableau Server Site:", "Connecting to the server")


class Clients:
    """Runs commands in the demo's folder and prints them with their answers.

    Args:
        folder: Where they run.
        story: What prints.
        variables: Of their environment, beside those of this process.
        commands: The folder that has them.
    """

    def __init__(
        self,
        folder: Path,
        story: Story,
        variables: Mapping[str, str] | None = None,
        commands: Path = BIN,
    ) -> None:
        self.folder = folder
        self.home = folder / "node"
        self.password = folder / "password"
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._story = story
        self._commands = commands
        self.variables = dict(variables or {})

    def run(self, *words: str, expect: int = 0, show: int = 40, quiet: bool = False) -> str:
        """Run one command; returns what it said. Another exit code ends the demo."""
        if not quiet:
            self._story.command(shlex.join(words))
        done = subprocess.run(
            [str(self._commands / words[0]), *words[1:]],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # together, as on a terminal: tabcmd says everything on standard error
            stderr=subprocess.PIPE if quiet else subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if not quiet:
            self._story.answer(_readable(done.stdout), limit=show)
        if done.returncode != expect:
            text = f"'{' '.join(words)}' ended with {done.returncode} instead of {expect}"
            raise DemoError(f"{text}\n{done.stdout}{done.stderr or ''}")
        return done.stdout

    def ask(self, *words: str) -> Any:
        """Run a command with `--json`, unseen, and read its answer."""
        return json.loads(self.run(*words, "--json", quiet=True))

    @contextmanager
    def server(self) -> Iterator[str]:
        """`strongroom serve` for the length of a block."""
        line = "strongroom serve --host 127.0.0.1 --port 0"
        self._story.command(f"{line} &")
        with (self.folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._commands / "strongroom"), *line.split()[1:]],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.process = process
        try:
            ready = process.stdout.readline() if process.stdout else ""
            self._story.answer(ready)
            if not ready.startswith("ready: "):
                raise DemoError(
                    "the server did not start:\n" + (self.folder / "serve.log").read_text()
                )
            self.url = ready.removeprefix("ready: ").strip()
            yield self.url
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(_LIMIT_S)
            if process.stdout is not None:
                process.stdout.close()

    def log_in(self, site: str) -> None:
        """Sign in the real tabcmd."""
        words = ["login", "-s", self.url, "-u", ADMIN, "--password-file", "password", "-t", site]
        self.run("tabcmd", *words, show=3)

    def wait_for(self, jobs: Sequence[str]) -> list[dict[str, Any]]:
        """Wait until jobs ended, and return them with their receipts."""
        for job in jobs:
            self.run("strongroom", "jobs", "wait", job, quiet=True)
        return [self.ask("strongroom", "jobs", "show", job) for job in jobs]

    @contextmanager
    def signed_in(self, site: str) -> Iterator[Any]:
        """The real TSC, signed in."""
        import tableauserverclient as tsc

        server = tsc.Server(self.url, use_server_version=True)
        secret = self.password.read_text().strip()
        # TSC prints ids of its own accord
        with (
            contextlib.redirect_stdout(io.StringIO()),
            server.auth.sign_in(tsc.TableauAuth(ADMIN, secret, site)),
        ):
            yield server

    def _environment(self) -> dict[str, str]:
        mine = {"STRONGROOM_HOME": str(self.home), "HOME": str(self.folder), "NO_COLOR": "1"}
        # TSC warns of options of its own that it has renamed
        return {**os.environ, **mine, "PYTHONWARNINGS": "ignore", **self.variables}


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let whoever starts the demo say where its commands are."""
    parser.add_argument(
        "--commands",
        type=Path,
        metavar="FOLDER",
        default=BIN,
        help="a folder with the commands, in the place of those beside this Python",
    )


def pause_until_idle(clients: Clients, known: set[str]) -> list[str]:
    """Ids of the jobs that appeared since `known`, as soon as there is one."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        new = [
            row["id"] for row in clients.ask("strongroom", "jobs", "list") if row["id"] not in known
        ]
        if new:
            return new
        time.sleep(0.2)
    raise DemoError("no job appeared on the server")


def _readable(text: str) -> str:
    """An answer without tabcmd's banner and without the body of a traceback."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.startswith("Traceback"):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
            kept.append(f"[traceback] {line}")
        elif not inside and not line.startswith(_NOISE):
            kept.append(line)
    return "\n".join(kept)
